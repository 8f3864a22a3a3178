"""A whole RL step against TRL's GRPO trainer on the same model and prompts: `codereason bench trl`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.loop import prepared, step_seconds, train
from benchmarks.step import loop_settings
from cluster.config import BadInput
from cluster.data.splits import read_split
from cluster.stages import Job
from learner.settings import ScratchModel
from rl.prompts import prompt_ids
from rl.tokens import load_tokenizer

_STEPS = Path(__file__).parent / "trl_steps.py"
_WARM = 1
"""TRL's steps that are not counted, beside its first."""
_DEADLINE_S = 1800


def measure(
    *,
    folder: Path,
    model: ScratchModel,
    groups: int,
    group_size: int,
    tokens: int,
    steps: int,
    threads: int,
    accumulation: int,
) -> dict[str, Any]:
    """TRL's steps, then as many of ours, on-policy, both with all that a step takes but that TRL's reward costs nothing.

    Args:
        folder: where TRL is installed.
        model: the architecture, made from nothing.
        groups: problems in a batch.
        group_size: responses to each.
        tokens: of a response; the model hardly ever ends one itself.
        steps: of either; the median counts, without the first ones.
        threads: of either; ours has engine and learner take turns with as many.
        accumulation: parts in which TRL goes over a batch.

    Raises:
        BadInput: TRL is not there, or this machine has no place for the workers.
    """
    if not (folder / "trl" / "__init__.py").is_file():
        raise BadInput(f"--trl {folder}: TRL is not there; `make bench-trl` installs it into .bench")
    if groups * group_size % accumulation:
        raise BadInput(f"--accumulation {accumulation}: must divide the {groups * group_size} responses of a batch")
    settings = loop_settings(model, groups, group_size, tokens, steps, threads)
    with prepared(settings) as job:
        theirs = _theirs(job, folder, threads, accumulation)
        rows = train(job, "ours")
    their_step, our_step = median(theirs["seconds"][_WARM:]), step_seconds(rows)
    their_tokens, our_tokens = mean(theirs["tokens"]), mean(row["response_tokens"] for row in rows)
    return {
        "groups": groups,
        "group_size": group_size,
        "tokens": tokens,
        "threads": threads,
        "trl": {"step_s": their_step, "tokens_a_step": their_tokens, "tokens_per_s": their_tokens / their_step},
        "ours": {
            "step_s": our_step,
            "tokens_a_step": our_tokens,
            "tokens_per_s": our_tokens / our_step,
            **{phase: median(row[phase] for row in rows[_WARM:]) for phase in ("wait_s", "update_s", "sync_s")},
        },
        "ours_over_trl": (our_tokens / our_step) / (their_tokens / their_step),
    }


def _theirs(job: Job, folder: Path, threads: int, accumulation: int) -> dict[str, Any]:
    """Steps of TRL in a process that finds it, and all else where this one finds it."""
    settings = job.settings.rl
    tokenizer = load_tokenizer(job.run.model("base"))
    prompts = [tokenizer.decode(prompt_ids(problem, tokenizer)) for problem in read_split(job.run.split("rl"))]
    asked = {
        "model": str(job.run.model("base")),
        "prompts": prompts,
        "groups": settings.groups,
        "group_size": settings.group_size,
        "tokens": settings.max_tokens,
        "steps": settings.steps,
        "threads": threads,
        "accumulation": accumulation,
    }
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder.resolve()),
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    done = subprocess.run(
        [sys.executable, "-P", str(_STEPS)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=_DEADLINE_S,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise BadInput(f"--trl {folder}: TRL failed: {(done.stderr.strip().splitlines() or ['without a word'])[-1]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
