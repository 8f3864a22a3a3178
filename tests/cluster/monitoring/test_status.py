"""`codereason status RUN`, from run folders made by hand."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from cluster.config import BadInput, load
from cluster.events import Events
from cluster.jobs.scaling import PoolState
from cluster.monitoring.status import health, phases, shown, status_of
from cluster.runs import RunFolder

ROOT = Path(__file__).parents[3]


def step(number, **changes):
    row = {
        "step": number, "seconds": 10.0 * number, "wait_s": 6.0, "update_s": 3.0, "sync_s": 1.0, "rollout_s": 5.0,
        "reward_s": 0.5, "response_tokens": 1000.0, "final_reward": 0.25, "step_accuracy": 0.5, "staleness": 0.0,
    }  # fmt: skip
    return row | changes


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path / "smoke")
    folder.open(load(ROOT / "configs" / "smoke.yaml", ["rl.steps=20", "controls=[terminal]"]))
    for stage in ("data", "base", "sft", "sft_evaluation"):
        folder.finish_stage(stage, 2.0)
    for number in range(1, 6):
        folder.log("rl", step(number))
    return folder


def test_progress_and_rates(run):
    found = status_of(run.path, now=run.metrics.stat().st_mtime + 3)
    assert found["stage"] == "rl"
    assert list(found["stages"])[-2:] == ["terminal", "terminal_evaluation"]
    assert found["seconds_since_last_step"] == pytest.approx(3)
    assert found["progress"] == {
        "unit": "steps", "done": 5, "of": 20, "seconds_each": 10.0, "seconds_left": 150.0, "tokens_per_s": 100.0,
    }  # fmt: skip
    assert found["health"] == []
    text = shown(found)
    assert "stage    rl: 5 of 20 steps, 10.0 s each, 0:02:30 left, 100 tokens/s" in text
    assert "slowest  waiting (60%)" in text


def test_the_last_sizes_that_load_set_are_told_with_their_reasons(run):
    assert status_of(run.path)["scalings"] == []
    row = {"time": "2026-01-01T00:00:00+00:00", "pool": "reward", "from": 1, "cause": "queue", "reason": "40.0 groups at 1"}
    run.scalings.write_text("".join(json.dumps(row | {"to": to}) + "\n" for to in (2, 3, 4, 5)))
    found = status_of(run.path)
    assert [one["to"] for one in found["scalings"]] == [3, 4, 5]
    assert "scaled   reward from 1 to 5 (queue), 2026-01-01T00:00:00+00:00: 40.0 groups at 1" in shown(found)


def test_replicas_are_told_beside_those_that_there_should_be(run):
    pools = {"rollout": PoolState(2, 2, 0, ""), "reward": PoolState(4, 3, 1, "1 replica\n has no place")}
    told = shown(status_of(run.path) | {"workers": {pool: asdict(state) for pool, state in pools.items()}}).splitlines()
    place = told.index("workers  rollout 2 of 2")
    assert told[place + 1] == "         reward 3 of 4, 1 starting or draining; Serve says: 1 replica has no place"


def test_what_broke_is_told(run):
    now = 100.0
    events = Events(run.events, lambda: now)
    events.broke("rollout", "a1b2 is gone", "another one starts")
    events.broke("learner", "rank 0: it died", "it starts again")
    now = 107.5
    events.recovered("rollout", "c3d4 works")
    text = shown(status_of(run.path)).splitlines()
    assert "broke    rollout: a1b2 is gone; recovered after 7.5 s" in text
    assert "broke    learner: rank 0: it died; not yet recovered" in text


def test_a_control_is_measured_by_the_time_it_has(run):
    run.log("rl", step(20))
    for stage in ("rl", "rl_evaluation"):
        run.finish_stage(stage, 2.0)
    for number in (1, 2, 30):
        run.log("terminal", step(number, seconds=2.0 * number))
    found = status_of(run.path)["progress"]
    assert (found["unit"], found["done"], found["of"]) == ("seconds", 60, 200)
    assert (found["seconds_each"], found["seconds_left"]) == (2.0, 140.0)


@pytest.mark.parametrize(
    ("changes", "slowest", "why"),
    [
        ({}, "waiting", "more rollout.replicas"),
        ({"reward_s": 5.5}, "waiting", "more reward.replicas"),
        ({"update_s": 9.0}, "training", "learner"),
        ({"sync_s": 9.0}, "syncing", "weights"),
    ],
)
def test_the_slowest_phase_and_why(changes, slowest, why):
    found = phases([step(1, **changes)])
    assert found["slowest"] == slowest
    assert why in found["why"]


def test_what_looks_ill_is_said():
    rows = [step(1), step(2)]
    assert health(rows, 119) == []
    assert health(rows, 600) == ["no step for 0:10:00, where one takes 10.0 s: stopped, or stuck"]
    (line,) = health([step(1, verdicts={"sandbox_error": 0.125})], 0)
    assert line.startswith("sandboxes failed on 12.5%")


def test_a_run_without_rows_and_a_finished_one(run, tmp_path):
    fresh = RunFolder(tmp_path / "fresh")
    fresh.open(load(ROOT / "configs" / "smoke.yaml", ["name=fresh"]))
    assert status_of(fresh.path)["stage"] == "data"
    assert "done     nothing yet" in shown(status_of(fresh.path))
    for stage in ("rl", "rl_evaluation", "terminal", "terminal_evaluation"):
        run.finish_stage(stage, 1.0)
    found = status_of(run.path)
    assert found["finished"]
    assert "stage    finished" in shown(found)


@pytest.mark.parametrize(
    ("text", "told"),
    [("", "must hold a mapping"), ("a: [1", "not YAML"), ("name: smoke\n", "data: Field required"), ("- 1", "must hold")],
)
def test_a_damaged_configuration_is_named(run, text, told):
    (run.path / "config.yaml").write_text(text)
    with pytest.raises(BadInput, match=f"config.yaml: {told}"):
        status_of(run.path)


def test_the_command_takes_a_name_or_a_folder(run):
    environment = {**os.environ, "RAY_ADDRESS": "http://127.0.0.1:9"}
    for arguments in ([run.path], ["smoke", "--runs", run.path.parent]):
        command = [sys.executable, "-m", "cluster", "status", *map(str, arguments), "--json"]
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=environment, check=True)
        assert json.loads(found.stdout)["progress"]["done"] == 5
    command = [sys.executable, "-m", "cluster", "status", "nobody"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert found.returncode == 2
    assert found.stderr.startswith("codereason: nobody: no run there")
