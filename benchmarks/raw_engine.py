"""vLLM as its offline interface has it, with nothing of ours around it: what the rollout service is held against."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rl.trajectories import Completion
from rollout.engine import Sampling, arguments, completion, environment, request
from rollout.settings import RolloutSettings


@dataclass(frozen=True)
class Timed:
    """How long something took."""

    wall_s: float
    cpu_s: float
    """Of all threads of the process."""


class Clock:
    """Starts when it is made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> Timed:
        """Time since then."""
        return Timed(time.perf_counter() - self._wall, time.process_time() - self._cpu)


class RawEngine:
    """One `vllm.LLM`, built as the pool's engines are; to be an actor's."""

    def __init__(self, model_path: str, settings: RolloutSettings, seed: int) -> None:
        os.environ.update(environment(settings))
        from vllm import LLM

        self._llm: Any = LLM(**arguments(model_path, settings, seed))
        self._llm.init_weight_transfer_engine({"init_info": {}})
        # Until it is told one, the engine calls its version by a word.
        self._llm.update_weight_version("0")

    def generate(
        self, prompts: Sequence[Sequence[int]], samplings: Sequence[Sampling]
    ) -> tuple[Timed, list[list[Completion]]]:
        """A group for each prompt, all asked in one call."""
        requests = [request(sampling) for sampling in samplings]
        clock = Clock()
        answers = self._llm.generate(_asked(prompts), requests, use_tqdm=False)
        took = clock.read()
        return took, [
            [completion(output, sampling) for output in answer.outputs]
            for answer, sampling in zip(answers, samplings, strict=True)
        ]

    def generate_plain(self, prompts: Sequence[Sequence[int]], samplings: Sequence[Sampling]) -> tuple[Timed, int]:
        """The same without log-probabilities and seeds, which RL needs and vLLM leaves out by default; and the tokens."""
        requests = [request(sampling) for sampling in samplings]
        for one in requests:
            one.logprobs = one.seed = None
        clock = Clock()
        answers = self._llm.generate(_asked(prompts), requests, use_tqdm=False)
        took = clock.read()
        return took, sum(len(output.token_ids) for answer in answers for output in answer.outputs)

    def load(self, path: str) -> Timed:
        """Take new weights."""
        clock = Clock()
        self._llm.start_weight_update()
        self._llm.update_weights({"update_info": {"path": path}})
        self._llm.finish_weight_update()
        self._llm.reset_prefix_cache()
        return clock.read()


def _asked(prompts: Sequence[Sequence[int]]) -> list[dict[str, list[int]]]:
    return [{"prompt_token_ids": list(prompt)} for prompt in prompts]
