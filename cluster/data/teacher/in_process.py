"""A teacher without an endpoint: vLLM engines in Ray Data's workers, to which a round of questions goes at once."""

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from math import ceil
from pathlib import Path
from typing import Any

import ray
from ray.data import ActorPoolStrategy

from cluster.config import TeacherSettings
from cluster.data.teacher.answers import Answer, Question
from rl.tokens import load_tokenizer
from rollout.engine import Engine, Sampling

_ROUNDS_OF_SEQUENCES = 4
"""A worker is handed so many times the questions that its engine decodes at a time; their answers come back together."""


def answered_in_process(settings: TeacherSettings, questions: Mapping[str, Question]) -> Iterator[tuple[str, Answer]]:
    """The answer to every question, by its key, a batch after the other.

    Raises:
        RayError: the engines do not start, or fail.
    """
    engines = settings.in_process
    if engines is None:
        raise ValueError("data.teacher.in_process is not given")
    rows = [{"key": key, "question": json.dumps(asdict(question))} for key, question in questions.items()]
    most = max(engines.replicas, ceil(len(rows) / (_ROUNDS_OF_SEQUENCES * engines.max_sequences)))
    answered = ray.data.from_items(rows, override_num_blocks=min(most, len(rows))).map_batches(
        _Answering,
        fn_constructor_args=(settings.model_copy(update={"model": str(Path(settings.model).resolve())}),),
        batch_size=None,
        compute=ActorPoolStrategy(size=engines.replicas),
        num_cpus=engines.num_cpus,
        num_gpus=engines.num_gpus,
    )
    for row in answered.iter_rows():
        yield row["key"], Answer(row["text"], row["finish"])


class _Answering:
    """One worker: an engine and its model's own tokenizer and chat template."""

    def __init__(self, settings: TeacherSettings) -> None:
        assert settings.in_process is not None
        self._engines = settings.in_process
        self._tokenizer = load_tokenizer(settings.model)
        self._loop = asyncio.new_event_loop()
        self._engine = self._loop.run_until_complete(self._opened(settings.model))

    async def _opened(self, model: str) -> Engine:
        engine = Engine(model, self._engines, seed=0)
        await engine.start(version=0)
        return engine

    def __call__(self, batch: Any) -> dict[str, list[str]]:
        """Answers to a batch of questions."""
        answers = self._loop.run_until_complete(self._all(map(json.loads, batch["question"])))
        return {
            "key": [str(key) for key in batch["key"]],
            "text": [answer.text for answer in answers],
            "finish": [answer.finish for answer in answers],
        }

    async def _all(self, questions: Iterable[dict[str, Any]]) -> list[Answer]:
        return await asyncio.gather(*map(self._answer, questions))

    async def _answer(self, question: Mapping[str, Any]) -> Answer:
        prompt = self._prompt([{"role": role, "content": content} for role, content in question["messages"]])
        room = self._engines.max_length - len(prompt)
        if question["max_tokens"] > room:
            told = f"{len(prompt)} tokens, and {question['max_tokens']} for the answer, in {self._engines.max_length}"
            return Answer(told, "too long")
        sampling = Sampling(
            samples=1,
            temperature=question["temperature"],
            top_p=question["top_p"],
            max_tokens=question["max_tokens"],
            stop_token_id=self._tokenizer.eos_token_id,
            seed=question["seed"],
            logprobs=False,
        )
        (completion,) = await self._engine.generate(prompt, sampling)
        text = self._tokenizer.decode(completion.token_ids, skip_special_tokens=True)
        return Answer(str(text), "stop" if completion.finished else "length")

    def _prompt(self, messages: list[dict[str, str]]) -> list[int]:
        """The messages as the model's chat template writes them; a model without one gets their bare text."""
        if self._tokenizer.chat_template is None:
            text = "".join(f"{message['content']}\n" for message in messages)
        else:
            text = str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=self._tokenizer.chat_template is None)
        return ids
