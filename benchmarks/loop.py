"""A small run in a folder of its own, up to where a policy can learn: what several benchmarks time."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count, pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console

from cluster.config import RunSettings, SplitSettings
from cluster.data.making import Executor, OneByOne, making
from cluster.data.sources import open_sources
from cluster.data.splits import SPLITS, write_split
from cluster.run import opened
from cluster.runs import RunFolder, link_model
from cluster.session import ray_session
from cluster.stages import Job, train_policy
from learner.scratch import create_model, train_tokenizer
from learner.settings import ScratchModel
from reward.settings import sandbox_limits
from reward.slots import Slots
from rl.problems import Problem
from rl.prompts import prompt
from rl.synthesis.candidates import Rejected

_SPREAD = 3.0
"""Deviation of the untrained model's logits: the end is then drawn once in about ninety vocabularies of tokens."""

_GRAMMAR = {"statements": [3, 4], "largest": 9, "longest": 4, "list_length": [2, 3]}
_WARM = 2
"""Steps that make buffers and caches, and are not timed."""


def talkative_model(settings: ScratchModel, texts: list[str], folder: Path) -> None:
    """An untrained model that hardly ever ends a response by itself, so that every response is as long as it may be.

    Its logits are spread out, but for that of the end, which is always 0, and so are those of tokens that are no text by
    themselves: a model that has learned anything writes few broken characters, which cost more to decode.
    """
    tokenizer = train_tokenizer(texts, settings.vocabulary)
    model = create_model(settings, tokenizer, seed=0)
    model.resize_token_embeddings(settings.vocabulary, mean_resizing=False)
    with torch.no_grad():
        head = model.get_output_embeddings().weight
        # Behind its norm a hidden state's entries have unit size.
        head.normal_(std=_SPREAD / settings.hidden**0.5)
        for token in range(settings.vocabulary):
            text = tokenizer.decode([token])
            if token == tokenizer.eos_token_id or not text or "\ufffd" in text:
                head[token] = 0.0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def run_settings(problems: int, rl: dict[str, Any], **parts: Any) -> RunSettings:
    """Settings of a run whose problems are the demo's."""
    few = {"problems": 4, "chains": True, "grammar": _GRAMMAR}
    data = {"sft": few, "validation": few, "heldout": few, "rl": {"problems": problems, "grammar": _GRAMMAR}}
    return RunSettings.model_validate(
        {
            "name": "bench",
            "data": data,
            "rl": {"lr": 1e-6, "warmup_steps": 0, "checkpoint_every": 10**6, "mismatch_tolerance": 1e-2, **rl},
            "cluster": {"dashboard": False},
            **parts,
        }
    )


@contextmanager
def prepared(settings: RunSettings, stages: Sequence[str] = ("data", "rl")) -> Iterator[Job]:
    """A Ray session with room for the stages' workers, the run's data and its untrained model; all is gone afterwards.

    Raises:
        BadInput: this machine has no place for the workers.
    """
    with (
        tempfile.TemporaryDirectory(prefix="codereason-bench-") as folder,
        opened(settings, Path(folder) / "run", Console(quiet=True)) as job,
    ):
        try:
            with ray_session(settings, stages), job.guard:
                problems = _write_problems(settings, job.run)
                made = Path(folder) / "model"
                talkative_model(settings.model, [prompt(problem) + problem.chain for problem in problems], made)
                link_model(made, job.run.model("base"))
                yield job
        finally:
            shutil.rmtree(job.weights, ignore_errors=True)


def _write_problems(settings: RunSettings, run: RunFolder) -> list[Problem]:
    """The splits that training reads, made here: the factory's workers would take longer to start than this takes."""
    sources = open_sources(settings.data, settings.seed)
    found: dict[str, list[Problem]] = {}
    with Slots(2, sandbox_limits(settings.reward), settings.reward.mode) as pool:
        executor = Executor(OneByOne(pool), OneByOne(pool))
        for name in SPLITS:
            wanted: SplitSettings = getattr(settings.data, name)
            found[name] = []
            for index in count():
                if len(found[name]) == wanted.problems:
                    break
                (candidate,) = sources[name].candidates(index, index + 1)
                with suppress(Rejected):
                    found[name].append(executor.one(making(candidate, wanted, ours=sources[name].ours)))
            write_split(run.split(name), found[name])
    return found["sft"]


def train(job: Job, stage: str, **changes: Any) -> list[dict[str, Any]]:
    """Let the policy learn from the untrained model on, by the run's settings but for `changes`; its rows of metrics."""
    train_policy(job, stage, "base", job.settings.rl.model_copy(update=changes))
    return job.run.rows(stage)


def step_seconds(rows: list[dict[str, Any]], ahead: int = 0) -> float:
    """Median wall clock of a step, from the end of one weight update to the end of the next.

    Args:
        rows: of all steps, in order.
        ahead: steps by which sampling ran ahead; during so many last ones nothing is sampled any more, so they do not count.
    """
    ends = [row["seconds"] for row in rows][_WARM - 1 : len(rows) - ahead]
    return median(after - before for before, after in pairwise(ends))
