"""How fast finished problems come out of the factory, against bare sandbox runs: `codereason bench data`."""

import tempfile
import time
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
    with tempfile.TemporaryDirectory() as folder, ray_session(settings, ["data"]):
        run = RunFolder(Path(folder))
        began = time.monotonic()
        build(settings, sources, run, lambda done: None)
        seconds = time.monotonic() - began
        problems = [problem for name in SPLITS for problem in read_split(run.split(name))]
    programs = [Program(problem.code, problem.call) for problem in problems]
    with Slots(slots, sandbox_limits(settings.reward), settings.reward.mode) as pool, ThreadPoolExecutor(slots) as threads:
        list(threads.map(pool.run, programs[: 10 * slots]))
        began = time.monotonic()
        list(threads.map(pool.run, programs))
        bare = time.monotonic() - began
    problems_per_s, runs_per_s = len(problems) / seconds, len(programs) / bare
    return {
        "problems": len(problems),
        "problems_per_s": problems_per_s,
        "bare_runs_per_s": runs_per_s,
        "share_of_bare_runs": problems_per_s / runs_per_s,
    }
