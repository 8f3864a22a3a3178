"""The simulation against closed forms, and what is taken from a run."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scaling import GROWING, Measured, Unmeasured, calibrated, first_bottleneck, grown, measure, measured
from benchmarks.simulation import Cluster, Simulation, Times, capacities, rounds, spread, sync_s, update_s
from cluster.config import load
from cluster.runs import RunFolder

ROOT = Path(__file__).parents[2]

ONE = Cluster(replicas=1, places=1, slots=1, learners=1, loads=1, groups=1)
TIMES = Times(generate=4.0, generate_longest=4.0, score=1.0, handle=0.25, learn=2.0, sync=0.5)


def step_s(times, cluster):
    return Simulation(times, cluster).settle().step_s


def test_one_of_everything_takes_the_sum_of_all_stages():
    assert step_s(TIMES, ONE) == pytest.approx(4 + 1 + 0.25 + 2 + 0.5)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        # Eight groups at once; eight slots score them at once; the stream takes one after the other; 2 s of learning each.
        ({"slots": 8}, 4 + 1 + 8 * 0.25 + 8 * 2 + 0.5),
        # Three slots: rounds of 3, 3 and 2 groups, and the stream is done with a round before the next is scored.
        ({"slots": 3}, 4 + 3 * 1 + 2 * 0.25 + 8 * 2 + 0.5),
        ({"slots": 8, "learners": 4}, 4 + 1 + 8 * 0.25 + 2 * 2 + 0.5),
        # Two places: four rounds of generation, and scores of the last two.
        ({"slots": 8, "places": 2}, 4 * 4 + 1 + 2 * 0.25 + 8 * 2 + 0.5),
        ({"slots": 8, "replicas": 4, "places": 2, "loads": 1}, 4 + 1 + 8 * 0.25 + 8 * 2 + 4 * 0.5),
        ({"slots": 8, "replicas": 4, "places": 2, "loads": 3}, 4 + 1 + 8 * 0.25 + 8 * 2 + 2 * 0.5),
    ],
)
def test_a_batch_on_policy_takes_its_rounds_one_stage_after_another(change, expected):
    cluster = replace(ONE, **{"places": 8, "groups": 8, **change})
    assert step_s(TIMES, cluster) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("times", "station"),
    [
        (replace(TIMES, generate=40.0, generate_longest=40.0), "rollout"),
        (replace(TIMES, score=30.0), "reward"),
        (replace(TIMES, handle=20.0), "stream"),
        (replace(TIMES, learn=30.0), "learner"),
    ],
)
def test_with_batches_enough_ahead_the_slowest_stage_alone_sets_the_pace(times, station):
    cluster = replace(ONE, groups=4, ahead=40)
    slowest = min(capacities(times, cluster), key=lambda one: capacities(times, cluster)[one])
    assert slowest == station
    batch_s = max(4 * times.generate, 4 * times.score, 4 * times.handle, update_s(times, cluster) + sync_s(times, cluster))
    assert step_s(times, cluster) == pytest.approx(batch_s)


def test_one_batch_ahead_training_hides_behind_generating():
    # A batch takes 7.75 s from its begin to its weights, and two are under way: half of that, but for the engine's 4 s.
    assert step_s(TIMES, replace(ONE, ahead=1)) == pytest.approx(4.0)
    assert step_s(replace(TIMES, score=2.0), replace(ONE, ahead=1)) == pytest.approx((4 + 2 + 0.25 + 2.5) / 2)
    assert step_s(replace(TIMES, learn=6.0), replace(ONE, ahead=1)) == pytest.approx(6.5)


CLUSTERS = st.builds(
    Cluster, replicas=st.integers(1, 6), places=st.integers(1, 6), slots=st.integers(1, 8), learners=st.integers(1, 4),
    loads=st.integers(1, 6), groups=st.integers(1, 12), ahead=st.integers(0, 4),
)  # fmt: skip
SECONDS = st.floats(0.01, 20)
WORK = st.builds(
    lambda generate, more, score, handle, learn, sync: Times(generate, generate * more, score, handle, learn, sync),
    SECONDS, st.floats(1, 5), SECONDS, SECONDS, SECONDS, SECONDS,
)  # fmt: skip


@given(WORK, CLUSTERS)
def test_no_cluster_is_faster_than_its_slowest_stage_nor_slower_than_all_in_turn(times, cluster):
    found = Simulation(times, cluster).settle()
    longest = max(spread(times.generate, times.generate_longest, cluster.groups))
    generated = sum(spread(times.generate, times.generate_longest, cluster.groups)) / cluster.groups
    bounds = capacities(replace(times, generate=generated), cluster)
    bounds["learner"] = cluster.groups / (update_s(times, cluster) + sync_s(times, cluster))
    # What was begun before the counting and ended in it is one part in `rounds`.
    assert found.groups_per_s(cluster) <= min(bounds.values()) * (1 + 1 / rounds(cluster))
    waves = math.ceil(cluster.groups / (cluster.replicas * cluster.places))
    in_turn = waves * longest + math.ceil(cluster.groups / cluster.slots) * times.score + cluster.groups * times.handle
    assert found.step_s <= in_turn + update_s(times, cluster) + sync_s(times, cluster) + 1e-6
    assert found.scoring_s >= times.score - 1e-9


@given(WORK, CLUSTERS)
def test_a_batch_more_ahead_never_makes_it_slower(times, cluster):
    further = replace(cluster, ahead=cluster.ahead + 1)
    assert step_s(times, further) <= step_s(times, cluster) * (1 + 1 / rounds(further))


@given(st.floats(0.1, 10), st.floats(1.0, 8), st.integers(8, 300))
def test_durations_have_their_mean_and_their_largest(mean, more, count):
    found = spread(mean, mean * more, count)
    assert len(found) == count
    assert max(found) == pytest.approx(mean * more)
    assert sum(found) / count == pytest.approx(mean, rel=1e-6)


ROW = {
    "group_s": 2.0, "rollout_s": 3.0, "reward_s": 0.5, "stream_s": 0.4, "wait_s": 4.0, "update_s": 1.0, "sync_s": 0.2,
    "response_tokens": 800.0,
}  # fmt: skip
SMALL = Cluster(replicas=2, places=4, slots=2, learners=2, loads=2, groups=8)


def rows(*changes):
    return [{"step": step, **ROW, **change} for step, change in enumerate(changes or ({},) * 5, 1)]


def test_times_are_the_runs_own():
    found = measured(rows({}, {"update_s": 99.0}, {}, {"group_s": 99.0}, {}), SMALL)
    assert found.times.generate == 2.0
    assert found.times.generate_longest == 3.0
    assert found.times.handle == pytest.approx(0.05)
    assert found.times.learn == pytest.approx(0.25)
    assert (found.times.sync, found.tokens, found.steps) == (0.2, 100.0, 5)
    assert found.step_s == pytest.approx(5.2)
    again = Simulation(found.times, SMALL).settle()
    assert again.scoring_s == pytest.approx(0.5, rel=1e-3)
    assert 0 < found.times.score < 0.5


@pytest.mark.parametrize("score", [0.01, 0.3, 2.0])
def test_scoring_is_found_again_from_how_long_groups_waited_for_it(score):
    times = replace(TIMES, generate=2.0, generate_longest=3.0, score=score)
    waited = Simulation(times, SMALL).settle().scoring_s
    assert calibrated(times, SMALL, waited).score == pytest.approx(score, rel=1e-3)


def test_what_was_not_measured_is_named():
    with pytest.raises(Unmeasured, match=r"^has 2 rows of the stage rl; 3 steps at least"):
        measured(rows({}, {}), SMALL)
    with pytest.raises(Unmeasured, match=r"^step 1 has no stream_s"):
        measured([{key: value for key, value in row.items() if key != "stream_s"} for row in rows()], SMALL)


def test_what_grows_grows_in_proportion():
    assert grown(SMALL, 20, ("rollout",), None) == replace(SMALL, replicas=20, groups=80, loads=20)
    assert grown(SMALL, 20, ("rollout", "reward"), 3) == replace(SMALL, replicas=20, groups=80, slots=20, loads=3)
    assert grown(SMALL, 1, GROWING[-1], None) == Cluster(1, 4, 1, 1, 1, 4)


def test_more_engines_alone_end_at_the_stage_that_did_not_grow():
    times = Times(generate=10.0, generate_longest=10.0, score=0.1, handle=0.001, learn=0.01, sync=0.1)
    found = measure(Measured(SMALL, times, 11.0, 100.0, 5), sizes=(1, 10, 1000))
    alone, pools, everything = found["growing"].values()
    assert [row["replicas"] for row in alone["rows"]] == [1, 10, 1000]
    assert alone["rows"][0]["efficiency"] == 1.0
    assert alone["first_bottleneck"] == {"replicas": 1000, "station": "reward"}
    assert alone["rows"][-1]["groups_per_s"] < 2 / 0.1
    assert pools["first_bottleneck"] == {"replicas": 1000, "station": "learner"}
    assert everything["rows"][-1]["bottleneck"] in ("rollout", "stream")
    assert everything["rows"][-1]["groups_per_s"] > pools["rows"][-1]["groups_per_s"]
    assert first_bottleneck([{"efficiency": 1.0}, {"efficiency": 0.5}]) is None
    json.dumps(found)


def test_weights_that_few_load_at_a_time_become_the_bottleneck():
    times = Times(generate=10.0, generate_longest=10.0, score=0.001, handle=1e-6, learn=0.001, sync=0.5)
    found = measure(Measured(SMALL, times, 11.0, 100.0, 5), loads=2, sizes=(1, 1000))
    assert found["growing"]["rollout+reward+learner"]["first_bottleneck"] == {"replicas": 1000, "station": "sync"}


def bench(run, *arguments):
    command = [sys.executable, "-m", "cluster", "bench", "scaling", str(run), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def test_the_command_reads_a_run(tmp_path):
    run = RunFolder(tmp_path / "smoke")
    run.open(load(ROOT / "configs" / "smoke.yaml", []))
    few = bench(run.path)
    assert (few.returncode, few.stderr) == (
        2, f"codereason: {run.metrics}: has 0 rows of the stage rl; 3 steps at least are needed to take times from\n"
    )  # fmt: skip
    for row in rows():
        run.log("rl", row)
    done = bench(run.path, "--loads", "4")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["loads_at_a_time"] == 4
    assert found["measured"]["groups"] == 4
    assert {row["replicas"] for row in found["growing"]["rollout"]["rows"]} >= {1, 1000}
    absent = bench(tmp_path / "absent")
    assert (absent.returncode, absent.stderr.count("\n")) == (2, 1)
