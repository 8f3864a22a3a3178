"""A run that is killed without warning, and started again, against one that was left alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.runs import read_jsonl

ROOT = Path(__file__).parents[2]
SMOKE = str(ROOT / "configs" / "smoke.yaml")
CLOCKS = {"seconds", "tokens_per_s"}


def start(runs, name):
    command = [sys.executable, "-m", "cluster", "run", SMOKE, f"name={name}", "--runs", str(runs), "evaluation.every=null"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def rows(runs, name, stage):
    found = [row for row in read_jsonl(runs / name / "metrics.jsonl") if row["stage"] == stage]
    return [{key: row[key] for key in row if key not in CLOCKS and not key.endswith("_s")} for row in found]


def finished(process):
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err[-3000:]
    return out


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "count"), [("sft", 1), ("rl", 3)])
def test_a_run_killed_anywhere_ends_as_if_nothing_had_happened(tmp_path, watched, stage, count):
    finished(start(tmp_path, "whole"))
    with watched(60) as left:
        process = start(tmp_path, "killed")
        deadline = time.monotonic() + 600
        while len(rows(tmp_path, "killed", stage)) < count:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, "it got nowhere"
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    assert not left
    finished(start(tmp_path, "killed"))
    for name in ("sft", "rl"):
        assert rows(tmp_path, "killed", name) == rows(tmp_path, "whole", name)
    for step in range(1, 7):
        file = f"step-{step:05d}.jsonl"
        whole, killed = (read_jsonl(tmp_path / name / "rollouts" / "rl" / file) for name in ("whole", "killed"))
        assert [row["tokens"] for row in killed] == [row["tokens"] for row in whole]
