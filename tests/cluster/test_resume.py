"""A run some part of which is killed without warning, against one that was left alone: both end alike."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cluster.runs import read_jsonl

ROOT = Path(__file__).parents[2]
SMOKE = str(ROOT / "configs" / "smoke.yaml")
CLOCKS = {"seconds", "tokens_per_s", "restarts"}
PARTS = {
    "experience": "ray::ExperienceStream",
    "learner": "ray::RayTrainWorker",
    "rollout": "ray::ServeReplica:killed-rollout",
    "engine": "VLLM::EngineCore",
    "reward": "ray::ServeReplica:killed-reward",
    "zygote": "from zygote.serve import main",
    "controller": "ray::ServeController",
}
"""What the command lines of a run's processes hold."""


def start(runs, name):
    command = [sys.executable, "-m", "cluster", "run", SMOKE, f"name={name}", "--runs", str(runs), "evaluation.every=null"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process):
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err[-3000:]
    return out


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    finished(start(runs, "whole"))
    return runs / "whole"


def rows(run, stage):
    """The stage's metrics by step, those of a step that was done twice but once, without clocks."""
    found = {row["step"]: row for row in read_jsonl(run / "metrics.jsonl") if row["stage"] == stage}
    return [{key: row[key] for key in row if key not in CLOCKS and not key.endswith("_s")} for row in found.values()]


def reached(process, run, stage, count):
    deadline = time.monotonic() + 600
    while len(rows(run, stage)) < count:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "it got nowhere"
        time.sleep(0.05)


def same(run, whole):
    for stage in ("sft", "rl"):
        assert rows(run, stage) == rows(whole, stage)
    for step in range(1, len(rows(whole, "rl")) + 1):
        file = Path("rollouts") / "rl" / f"step-{step:05d}.jsonl"
        found, wanted = ([(row["problem_id"], row["text"]) for row in read_jsonl(one / file)] for one in (run, whole))
        assert found == wanted


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "count"), [("sft", 1), ("rl", 3)])
def test_a_run_whose_driver_is_killed_goes_on_when_it_is_started_again(tmp_path, watched, whole, stage, count):
    run = tmp_path / "killed"
    with watched(60) as left:
        process = start(tmp_path, "killed")
        reached(process, run, stage, count)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    assert not left
    finished(start(tmp_path, "killed"))
    same(run, whole)


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_a_run_part_of_which_is_killed_goes_on_by_itself(tmp_path, watched, whole, part):
    run, shared = tmp_path / "killed", set(os.listdir("/dev/shm"))
    with watched(60) as left:
        process = start(tmp_path, "killed")
        reached(process, run, "rl", 2)
        victims = [
            one for one in psutil.Process(process.pid).children(recursive=True) if PARTS[part] in " ".join(one.cmdline())
        ]
        assert victims
        victims[0].kill()
        finished(process)
    assert not left
    assert not set(os.listdir("/dev/shm")) - shared
    same(run, whole)
