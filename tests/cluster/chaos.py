"""Runs that are disturbed on purpose, and what is asked of them afterwards."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from cluster.runs import read_jsonl

ROOT = Path(__file__).parents[2]
SMOKE = str(ROOT / "configs" / "smoke.yaml")
CLOCKS = {"seconds", "tokens_per_s", "restarts"}
MARK = "CODEREASON_TEST"


@contextmanager
def nothing_left():
    """No process, no file in shared memory and no socket of an engine is left behind by the block.

    What the block starts bears a mark. To adopt what loses its parent would not do: Ray's workers see by their parent, which
    is then the first process, that their raylet has died.
    """
    before = passing_files()
    os.environ[MARK] = uuid.uuid4().hex
    try:
        yield
    except BaseException:
        for one in marked(os.environ[MARK]):
            with suppress(psutil.Error):
                one.kill()
        raise
    deadline = time.monotonic() + 60
    while (left := marked(os.environ[MARK])) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not left
    assert not passing_files() - before


def passing_files():
    """What is in shared memory, and the sockets of vLLM, which bear random names, or folders of such."""
    temporary = tempfile.gettempdir()
    sockets = {name for name in os.listdir(temporary) if re.match("vllm-|[0-9a-f]{8}-[0-9a-f]{4}-4", name)}
    return {f"/dev/shm/{name}" for name in os.listdir("/dev/shm")} | {f"{temporary}/{name}" for name in sockets}


def marked(mark):
    """The living processes that were started with this mark."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.pid != os.getpid() and process.cmdline():
                found.append(process)
    return found


def start(runs, name, *overrides, inside=(), env=None):
    command = [*inside, sys.executable, "-m", "cluster", "run", SMOKE]
    command += [f"name={name}", "--runs", str(runs), "evaluation.every=null"]
    command += overrides
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process):
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err[-3000:]
    return out


def rows(run, stage):
    """The stage's metrics by step, those of a step that was done twice but once, without clocks."""
    found = {row["step"]: row for row in read_jsonl(run / "metrics.jsonl") if row["stage"] == stage}
    return [{key: row[key] for key in row if key not in CLOCKS and not key.endswith("_s")} for row in found.values()]


def reached(process, run, stage, count):
    deadline = time.monotonic() + 900
    while len(rows(run, stage)) < count:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "it got nowhere"
        time.sleep(0.05)


def same(run, whole):
    for stage in ("sft", "rl"):
        assert rows(run, stage) == rows(whole, stage)
    for step in range(1, len(rows(whole, "rl")) + 1):
        file = Path("rollouts") / "rl" / f"step-{step:05d}.jsonl"
        # Groups are written in the order in which they are finished.
        found, wanted = (sorted((row["problem_id"], row["text"]) for row in read_jsonl(one / file)) for one in (run, whole))
        assert found == wanted


def commands_below(pid):
    """The living processes below this one, with what each is called."""
    for one in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error):
            yield one, " ".join(one.cmdline())


def victim(process, words):
    """A process below this one that is called so, as soon as there is one."""
    deadline = time.monotonic() + 60
    while True:
        for one, command in commands_below(process.pid):
            if words in command:
                return one
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"there is no {words}"
        time.sleep(0.05)


def failures(run):
    """What the summary says of what broke: seconds until it worked again, by part."""
    return {one["part"]: one["recovery_s"] for one in json.loads((run / "summary.json").read_text())["failures"]}
