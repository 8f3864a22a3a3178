"""How many replicas a pool should have, by the load that was seen: a pure function for each.

Both forecast the load at other sizes. A pool grows to the smallest size at which no threshold is passed, at most to its
double at a time. It shrinks only to a size at which every forecast stays below `SLACK` of its threshold, at most by half at
a time. So a size that was left is not wanted again while the load is the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Literal

Cause = Literal["queue", "latency", "waiting", "kv_cache", "idle", "bounds"]

SLACK = 0.7
"""Share of a threshold below which a smaller pool must stay by its forecast."""

_NOTICEABLE = 0.05
"""Share of its time that a learner must wait before full engines matter to it."""


@dataclass(frozen=True, slots=True)
class Size:
    """A pool's size and what it may be."""

    wanted: int
    """Replicas it should have at present."""
    running: int
    """Replicas that take calls."""
    least: int
    most: int

    def within(self, replicas: int) -> int:
        """The nearest size that it may have."""
        return min(max(replicas, self.least), self.most)


@dataclass(frozen=True, slots=True)
class RewardLoad:
    """What was seen of the reward pool over a while."""

    in_flight: float
    """Mean number of groups at the pool, waiting or being scored, while there were any."""
    latency_s: float
    """Mean time from asking for a group's scores to having them."""


@dataclass(frozen=True, slots=True)
class RewardRule:
    """When the reward pool is too small."""

    in_flight: float
    """Groups at each replica: more are too many."""
    latency_s: float
    """Longer is too long, where calls of a replica wait for one another."""
    slots: int
    """Groups that a replica can work on at a time."""


@dataclass(frozen=True, slots=True)
class RolloutLoad:
    """What was seen of the rollout pool over some whole updates of the learner."""

    waiting: float
    """Share of the time that the learner waited for responses."""
    generating: float
    """Share of the time that responses were being generated."""
    in_flight: float
    """Mean number of groups at the pool while there were any."""
    kv_cache: float | None
    """Largest share of its key-value cache that an engine used; None if none told."""


@dataclass(frozen=True, slots=True)
class RolloutRule:
    """When the rollout pool is too small."""

    waiting: float
    """Share of its time that the learner may wait."""
    kv_cache: float
    """Share of their cache that engines may use."""
    samples_ahead: bool
    """Whether responses are generated while the learner trains (`rl.max_staleness` above 0)."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Another size."""

    replicas: int
    cause: Cause
    reason: str


def reward_decision(size: Size, load: RewardLoad | None, rule: RewardRule) -> Decision | None:
    """Whether the reward pool should have another size; None leaves it, as does a load that nobody saw."""
    if load is None:
        return None

    def queue(replicas: int) -> float:
        return load.in_flight / replicas / rule.in_flight

    def latency(replicas: int) -> float:
        # Where no call waits for another, a further replica makes none faster.
        crowded = load.in_flight > replicas * rule.slots
        return load.latency_s * size.running / replicas / rule.latency_s if crowded else 0.0

    def seen(replicas: int) -> dict[Cause, float]:
        return {"queue": queue(replicas), "latency": latency(replicas)}

    told = (
        f"{load.in_flight:.1f} groups at {size.running} (limit {rule.in_flight:g} each), "
        f"{load.latency_s:.2f} s a group (limit {rule.latency_s:g} s)"
    )
    return _decide(size, seen, told)


def rollout_decision(size: Size, load: RolloutLoad | None, rule: RolloutRule) -> Decision | None:
    """Whether the rollout pool should have another size; None leaves it, as does a load that nobody saw."""
    if load is None:
        return None

    def kv_cache(replicas: int) -> float:
        if load.kv_cache is None:
            # Unseen: no reason to grow, and none to believe that fewer would do.
            return 0.0 if replicas >= size.running else float("inf")
        grows = replicas >= size.running
        return 0.0 if grows and load.waiting < _NOTICEABLE else load.kv_cache * size.running / replicas / rule.kv_cache

    def seen(replicas: int) -> dict[Cause, float]:
        return {"waiting": waiting_at(replicas, size.running, load, rule) / rule.waiting, "kv_cache": kv_cache(replicas)}

    full = "unknown" if load.kv_cache is None else f"{load.kv_cache:.0%}"
    told = (
        f"the learner waited for responses {load.waiting:.0%} of the time (limit {rule.waiting:.0%}), "
        f"{load.in_flight:.1f} groups at {size.running}, KV cache {full} (limit {rule.kv_cache:.0%})"
    )
    return _decide(size, seen, told)


def waiting_at(replicas: int, running: int, load: RolloutLoad, rule: RolloutRule) -> float:
    """Share of the time that the learner would wait for `replicas`, where with `running` it was `load.waiting`.

    Generating takes time in inverse proportion to the replicas that have a group to work on. What it takes less comes off
    the waiting; what it takes more is waited for, but for the part that fits beside training where the stream samples ahead.
    """
    groups = max(load.in_flight, 1.0)
    change = load.generating * (min(running, groups) / min(replicas, groups) - 1)
    if change > 0 and rule.samples_ahead:
        change = max(0.0, change - (1 - load.generating))
    works = 1 - load.waiting
    cycle = max(works, 1 + change)
    return 1 - works / cycle


def _decide(size: Size, seen: Callable[[int], dict[Cause, float]], told: str) -> Decision | None:
    """Apply the module's rule to `seen`, which forecasts for a size each load as a share of its threshold."""
    if size.running < 1:
        return None
    if size.within(size.wanted) != size.wanted:
        return Decision(size.within(size.wanted), "bounds", f"{size.wanted} is outside {size.least} to {size.most}")
    now = seen(size.running)
    if max(now.values()) > 1:
        # While one of its replicas is still on its way, what it will do is not seen yet.
        if size.running < size.wanted:
            return None
        cause = max(now, key=lambda one: now[one])
        replicas = _enough(size, seen)
        return Decision(replicas, cause, told) if replicas > size.wanted else None
    smaller = range(size.within(ceil(size.wanted / 2)), min(size.wanted, size.running + 1))
    for replicas in smaller:
        if max(seen(replicas).values()) <= SLACK:
            return Decision(replicas, "idle", told)
    return None


def _enough(size: Size, seen: Callable[[int], dict[Cause, float]]) -> int:
    """The smallest size without too much load; the smallest with the least, where the bounds have none."""
    able = range(size.wanted, size.within(2 * size.wanted) + 1)
    return min(able, key=lambda replicas: (max(1.0, round(max(seen(replicas).values()), 6)), replicas))
