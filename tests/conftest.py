"""What the tests of the real engines share: one tiny model, one run of the whole loop."""

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil
import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parent.parent

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# As the commands set it: Ray reads it once, and tests call commands and Ray in one process.
os.environ.setdefault("RAY_AUTH_MODE", "token")

# How long an example takes says something about the machine, not about the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A scratch model and its tokenizer in a Hugging Face folder."""
    from learner.scratch import write_scratch_model
    from learner.settings import ScratchModel

    folder = tmp_path_factory.mktemp("tiny") / "model"
    texts = ["def f(a, b):\n    c = a + b\n    return c\nassert f(1, 2) == ????\n<print>c: 3</print>"]
    settings = ScratchModel(layers=2, hidden=64, heads=2, intermediate=128, vocabulary=300, init_std=0.1)
    write_scratch_model(settings, texts, seed=0, folder=folder)
    return folder


class SharedDearly(LoadScopeScheduling):
    """Where tests run side by side (`pytest -n 2`): those that share something dear share a process, a file at least."""

    def _split_scope(self, nodeid):
        return shared(nodeid.partition("::")[0])


@cache
def shared(file):
    """What a file's tests share with those of other files: the smoke run, the data tests' cluster; or nothing."""
    if Path(file).parent.name == "data":
        return "data"
    return "smoke_run" if re.search(r"def test_\w+\(.*\bsmoke_run\b", (ROOT / file).read_text()) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return SharedDearly(config, log)


# A shell's background jobs ignore Ctrl-C and so would the commands that tests start and then stop by it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class SmokeRun:
    """The whole loop, stopped once by Ctrl-C in the middle of RL and started again; then its only engine is killed."""

    folder: Path
    command: list[str]
    steps_when_stopped: int
    stopped: subprocess.CompletedProcess
    finished: subprocess.CompletedProcess
    left_behind: set[str]
    """Processes and files that are there after the stop and the end, and were not before the start."""


@contextmanager
def watched(patience_s=30):
    """Gives a set that holds, after the block, the processes that the block started and that do not end.

    This process becomes the parent of whatever below it loses its own, so that nothing escapes.
    """
    prctl, set_child_subreaper = ctypes.CDLL(None).prctl, 36
    assert prctl(set_child_subreaper, 1, 0, 0, 0) == 0
    left = set()
    try:
        before = _descendants()
        yield left
        deadline = time.monotonic() + patience_s
        while (found := _descendants() - before) and time.monotonic() < deadline:
            time.sleep(0.5)
        left |= found
    finally:
        prctl(set_child_subreaper, 0, 0, 0, 0)


@pytest.fixture(scope="session", name="watched")
def watched_processes():
    return watched


def _descendants():
    """Living processes that stem from this one, by id and command line."""
    command = ["ps", "-eo", "pid=,ppid=,stat=,args="]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [row for row in (line.split(None, 3) for line in listing.splitlines()) if row[-1] != " ".join(command)]
    found = {os.getpid()}
    while more := {int(pid) for pid, parent, *_ in rows if int(parent) in found} - found:
        found |= more
    return {f"{pid} {args}" for pid, _, state, args in rows if int(pid) in found and not state.startswith("Z")}


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory):
    """`codereason run configs/smoke.yaml`, interrupted after a few RL steps, then run to its end, which a kill delays."""
    runs = tmp_path_factory.mktemp("runs")
    command = [sys.executable, "-m", "cluster", "run", str(ROOT / "configs" / "smoke.yaml"), "--runs", str(runs)]
    metrics = runs / "smoke" / "metrics.jsonl"
    with watched() as left:
        process = _at_step(command, metrics, 2)
        process.send_signal(signal.SIGINT)
        stopped = _ended(process, patience_s=120)
        steps = _steps(metrics)
        process = _at_step(command, metrics, steps + 1)
        _kill_below(process.pid, "VLLM::EngineCore")
        finished = _ended(process, patience_s=900)
    left |= {name for name in os.listdir("/dev/shm") if runs.name in name and runs.parent.name in name}
    return SmokeRun(metrics.parent, command, steps, stopped, finished, left)


def _at_step(command, metrics, step):
    """A run that was started and has got so far in RL, or has ended before."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 600
    while process.poll() is None and _steps(metrics) < step and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


def _steps(metrics):
    return metrics.read_text().count('"stage": "rl"') if metrics.exists() else 0


def _ended(process, patience_s):
    out, err = process.communicate(timeout=patience_s)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _kill_below(pid, words):
    """Kill the processes below this one that are called so."""
    for one in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error):
            if words in " ".join(one.cmdline()):
                one.kill()
