"""A small run in a folder of its own, up to where a policy can learn: what several benchmarks time."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console

from cluster.config import RunSettings
from cluster.data.factory import build
from cluster.data.sources import open_sources
from cluster.data.splits import read_split
from cluster.run import Job, opened, train_policy
from cluster.runs import link_model
from cluster.session import ray_session
from learner.scratch import create_model, train_tokenizer
from learner.settings import ScratchModel
from rl.prompts import prompt

_SPREAD = 3.0
"""Deviation of the untrained model's logits: the end is then drawn once in about ninety vocabularies of tokens."""

_GRAMMAR = {"statements": [3, 4], "largest": 9, "longest": 4, "list_length": [2, 3]}
_WARM = 2
"""Steps that make buffers and caches, and are not timed."""


def talkative_model(settings: ScratchModel, texts: list[str], folder: Path) -> None:
    """An untrained model that hardly ever ends a response by itself, so that every response is as long as it may be.

    Its logits are spread out, but for that of the end, which is always 0.
    """
    tokenizer = train_tokenizer(texts, settings.vocabulary)
    model = create_model(settings, tokenizer, seed=0)
    model.resize_token_embeddings(settings.vocabulary, mean_resizing=False)
    with torch.no_grad():
        head = model.get_output_embeddings().weight
        # Behind its norm a hidden state's entries have unit size.
        head.normal_(std=_SPREAD / settings.hidden**0.5)
        head[tokenizer.eos_token_id] = 0.0
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
    with tempfile.TemporaryDirectory(prefix="codereason-bench-") as folder:
        with opened(settings, Path(folder) / "run", Console(quiet=True)) as job:
            try:
                with ray_session(settings, stages), job.guard:
                    build(settings, open_sources(settings.data, settings.seed), job.run, lambda done: None)
                    problems = read_split(job.run.split("sft"))
                    made = Path(folder) / "model"
                    talkative_model(settings.model, [prompt(problem) + problem.chain for problem in problems], made)
                    link_model(made, job.run.model("base"))
                    yield job
            finally:
                shutil.rmtree(job.weights, ignore_errors=True)


def train(job: Job, stage: str, **changes: Any) -> list[dict[str, Any]]:
    """Let the policy learn from the untrained model on, by the run's settings but for `changes`; its rows of metrics."""
    train_policy(job, stage, "base", job.settings.rl.model_copy(update=changes))
    return job.run.rows(stage)


def step_seconds(rows: list[dict[str, Any]]) -> float:
    """Median wall clock of a step, from the end of one weight update to the end of the next."""
    ends = [row["seconds"] for row in rows][_WARM - 1 :]
    return median(after - before for before, after in pairwise(ends))
