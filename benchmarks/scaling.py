"""How a run would go on more machines: its own measured times, in a simulation from 1 to 1,000 rollout replicas."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

from benchmarks.simulation import Cluster, Simulation, Times, capacities, solved

SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
GROWING = (("rollout",), ("rollout", "reward"), ("rollout", "reward", "learner"))
"""What has more machines; the rest is as it was measured."""

_STEPS = 3
"""Rows of a run that are too few to take times from."""
_KEYS = ("group_s", "rollout_s", "reward_s", "stream_s", "wait_s", "update_s", "sync_s", "response_tokens")


class Unmeasured(ValueError):
    """A run's rows lack what a simulation needs."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run was and how long its parts took."""

    cluster: Cluster
    times: Times
    step_s: float
    tokens: float
    """Response tokens of a group."""
    steps: int


def measured(rows: Sequence[Mapping[str, Any]], cluster: Cluster) -> Measured:
    """Take the times of a run from its rows of `metrics.jsonl`, each as the median over its steps.

    Args:
        rows: those of its stage `rl`.
        cluster: how much it had of everything.

    Raises:
        Unmeasured: there are too few rows, or they lack a figure.
    """
    if len(rows) < _STEPS:
        raise Unmeasured(f"has {len(rows)} rows of the stage rl; {_STEPS} steps at least are needed to take times from")
    for row in rows:
        missing = [key for key in _KEYS if key not in row]
        if missing:
            raise Unmeasured(f"step {row['step']} has no {missing[0]}; measure with this version of codereason")
    middle = {key: median(row[key] for row in rows) for key in _KEYS}
    times = Times(
        generate=middle["group_s"],
        generate_longest=middle["rollout_s"],
        score=0.0,
        handle=middle["stream_s"] / cluster.groups,
        learn=middle["update_s"] * cluster.learners / cluster.groups,
        sync=middle["sync_s"],
    )
    step_s = median(row["wait_s"] + row["update_s"] + row["sync_s"] for row in rows)
    tokens = middle["response_tokens"] / cluster.groups
    return Measured(cluster, calibrated(times, cluster, middle["reward_s"]), step_s, tokens, len(rows))


def calibrated(times: Times, cluster: Cluster, scoring_s: float) -> Times:
    """The times with the `score` for which groups wait for their scores `scoring_s` seconds in the measured cluster.

    What is measured is the time at the pool, waiting for a slot included; it grows with the work, so halving finds that.
    """

    def waited(score: float) -> float:
        return Simulation(replace(times, score=score), cluster).settle().scoring_s

    return replace(times, score=solved(waited, scoring_s, scoring_s))


def grown(cluster: Cluster, replicas: int, growing: Sequence[str], loads: int | None) -> Cluster:
    """The cluster with other replicas, a batch in proportion, and as much more of what grows with them.

    Args:
        cluster: the measured one.
        replicas: rollout replicas.
        growing: the stations that have more machines.
        loads: replicas that load weights at a time; None is all of them.
    """

    def in_proportion(count: int) -> int:
        return max(1, round(count * replicas / cluster.replicas))

    return replace(
        cluster,
        replicas=replicas,
        groups=in_proportion(cluster.groups),
        slots=in_proportion(cluster.slots) if "reward" in growing else cluster.slots,
        learners=in_proportion(cluster.learners) if "learner" in growing else cluster.learners,
        loads=loads or replicas,
    )


def measure(run: Measured, loads: int | None = None, sizes: Sequence[int] = SIZES) -> dict[str, Any]:
    """Simulate the run at each size, and compare the simulation of what was measured with the measurement.

    Args:
        run: what was measured.
        loads: replicas that load weights at a time; None is all of them.
        sizes: numbers of rollout replicas.

    Returns:
        For each way of growing a row a size, and where more replicas stop to pay (`first_bottleneck`).
    """
    again = Simulation(run.times, run.cluster).settle()
    found: dict[str, Any] = {
        "measured": {"steps": run.steps, "step_s": run.step_s, "tokens_per_group": run.tokens, **asdict(run.cluster)},
        "times_s": asdict(run.times),
        "check": {"measured_step_s": run.step_s, "simulated_step_s": again.step_s, "ratio": again.step_s / run.step_s},
        "loads_at_a_time": loads or "all",
        "growing": {},
    }
    for growing in GROWING:
        rows = [_row(run, grown(run.cluster, size, growing, loads)) for size in sizes]
        for row in rows:
            row["efficiency"] = row["groups_per_s"] / row["replicas"] / (rows[0]["groups_per_s"] / rows[0]["replicas"])
        found["growing"]["+".join(growing)] = {"rows": rows, "first_bottleneck": first_bottleneck(rows)}
    return found


def _row(run: Measured, cluster: Cluster) -> dict[str, Any]:
    result = Simulation(run.times, cluster).settle()
    pace = result.groups_per_s(cluster)
    busy = {station: pace / most for station, most in capacities(run.times, cluster).items()}
    return {
        "replicas": cluster.replicas,
        "groups": cluster.groups,
        "slots": cluster.slots,
        "learners": cluster.learners,
        "step_s": result.step_s,
        "groups_per_s": pace,
        "tokens_per_s": pace * run.tokens,
        "busy": busy,
        "bottleneck": max(busy, key=lambda station: busy[station]),
    }


def first_bottleneck(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The first size at which a replica brings less than half of what the first ones did, and what is busiest there.

    None where every size pays.
    """
    for row in rows:
        if row["efficiency"] < 0.5:
            return {"replicas": row["replicas"], "station": row["bottleneck"]}
    return None
