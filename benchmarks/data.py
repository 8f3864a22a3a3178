"""How fast finished problems come out of the factory, against bare sandbox runs: `codereason bench data`."""

import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cluster.config import BadInput, RunSettings
from cluster.data.factory import build
from cluster.data.sources import open_sources
from cluster.data.splits import SPLITS, read_split
from cluster.runs import RunFolder
from cluster.session import ray_session
from reward.programs import Program
from reward.settings import sandbox_limits
from reward.slots import Slots


def measure(settings: RunSettings, *, slots: int) -> dict[str, Any]:
    """Build the data of a configuration in a folder of its own, then run its programs bare.

    Args:
        settings: whose `data` is built.
        slots: bare runs at a time; the factory has as many workers as Ray has cores.

    Raises:
        BadInput: the configuration asks a teacher or a model: its speed would be theirs.
    """
    if settings.data.filters.difficulty is not None:
        raise BadInput("data.filters.difficulty: asks a model, and none is asked here; leave it out")
    sources = open_sources(settings.data, settings.seed)
    kept: list[float] = []
    """When each problem was kept."""
    starting = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ray_session(settings, ["data"]):
        run = RunFolder(Path(folder))
        began = time.monotonic()
        build(settings, sources, run, lambda done: kept.extend([time.monotonic()] * done))
        ended = time.monotonic()
        problems = [problem for name in SPLITS for problem in read_split(run.split(name))]
    programs = [Program(problem.code, problem.call) for problem in problems]
    with Slots(slots, sandbox_limits(settings.reward), settings.reward.mode) as pool, ThreadPoolExecutor(slots) as threads:
        list(threads.map(pool.run, programs[: 10 * slots]))
        bare = time.monotonic()
        list(threads.map(pool.run, programs))
        runs_per_s = len(programs) / (time.monotonic() - bare)
    return {"problems": len(problems), "ray_start_s": began - starting} | speed(began, kept, ended, runs_per_s)


def speed(began: float, kept: Sequence[float], ended: float, runs_per_s: float) -> dict[str, float]:
    """The rates of a build, whole and without its start, which counts for less the more problems are made.

    Args:
        began: when it began, in seconds of a monotonic clock.
        kept: when each problem was kept; the first comes when the workers are there and have made their first share.
        ended: when everything was written.
        runs_per_s: bare sandbox runs a second.
    """
    whole, running = len(kept) / (ended - began), (len(kept) - 1) / (ended - kept[0])
    return {
        "first_problem_s": kept[0] - began,
        "problems_per_s": whole,
        "problems_per_s_after_the_first": running,
        "bare_runs_per_s": runs_per_s,
        "share_of_bare_runs": whole / runs_per_s,
        "share_of_bare_runs_after_the_first": running / runs_per_s,
    }
