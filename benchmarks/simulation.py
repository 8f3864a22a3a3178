"""A run of the whole loop in simulated time: engines, reward slots, the stream, the learner, and weights on their way.

Every service time is a constant, so a simulation is exact and needs no repetition. The stations serve in order of arrival.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import NamedTuple

WARM_UP = 3
"""Batches beyond those in flight that are not counted."""
_STEEPEST, _HALVINGS = 100.0, 40
_GROUPS = 2000
"""About as many groups are simulated for each batch that may be in flight, where the batch is no larger."""


@dataclass(frozen=True, slots=True)
class Times:
    """How long each kind of work takes, in seconds."""

    generate: float
    """Generating a group, on average; so long a group has one of the places of a replica."""
    generate_longest: float
    """Generating the group of a batch that takes longest."""
    score: float
    """Scoring a group, on one slot."""
    handle: float
    """The stream's own work on a group."""
    learn: float
    """One learner worker's work on a group."""
    sync: float
    """Bringing new weights to as many replicas as load at a time."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """How much there is of everything."""

    replicas: int
    """Rollout replicas."""
    places: int
    """Groups that each works on at a time."""
    slots: int
    """Sandboxes of all reward workers together."""
    learners: int
    """Learner workers."""
    loads: int
    """Replicas that load weights at a time."""
    groups: int
    """Prompt groups of a batch."""
    ahead: int = 0
    """Policy versions that a batch may lag behind (`rl.max_staleness`)."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a simulation shows, once it has settled."""

    step_s: float
    """Seconds from one update of the weights to the next."""
    scoring_s: float
    """Mean seconds from a group's asking for scores to its having them."""

    def groups_per_s(self, cluster: Cluster) -> float:
        """Groups learned from a second."""
        return cluster.groups / self.step_s


def capacities(times: Times, cluster: Cluster) -> dict[str, float]:
    """The most groups a second that each station could do by itself; the learner trains and waits for the sync by turns."""
    batch_s = {"learner": update_s(times, cluster), "sync": sync_s(times, cluster)}
    return {
        "rollout": _rate(cluster.replicas * cluster.places, times.generate),
        "reward": _rate(cluster.slots, times.score),
        "stream": _rate(1, times.handle),
        **{station: _rate(cluster.groups, seconds) for station, seconds in batch_s.items()},
    }


def update_s(times: Times, cluster: Cluster) -> float:
    """Seconds of one batch's optimizer steps."""
    return times.learn * cluster.groups / cluster.learners


def sync_s(times: Times, cluster: Cluster) -> float:
    """Seconds until every replica has new weights."""
    return times.sync * ceil(cluster.replicas / cluster.loads)


def rounds(cluster: Cluster) -> int:
    """How often as many batches as are in flight are counted; a pace is at most so much off: one part in this many."""
    return max(2, min(20, _GROUPS // cluster.groups))


def _rate(servers: int, seconds: float) -> float:
    return servers / seconds if seconds else float("inf")


class _Station:
    """Servers that take work in the order in which it is brought."""

    def __init__(self, servers: int) -> None:
        self._free = [0.0] * servers

    def serve(self, now: float, seconds: float) -> float:
        """When work brought now is done."""
        end = max(now, self._free[0]) + seconds
        heapq.heapreplace(self._free, end)
        return end


class _Event(NamedTuple):
    at: float
    order: int
    kind: str
    batch: int
    since: float


class Simulation:
    """One cluster at work."""

    def __init__(self, times: Times, cluster: Cluster) -> None:
        self._times, self._cluster = times, cluster
        self._engines = _Station(cluster.replicas * cluster.places)
        self._slots, self._stream = _Station(cluster.slots), _Station(1)
        self._durations = spread(times.generate, times.generate_longest, cluster.groups)
        self._events: list[_Event] = []
        self._orders = 0
        self._left: Counter[int] = Counter()
        """Groups of each batch in flight that are not there yet."""
        self._begun, self._version, self._learning = 0, 0, False
        self._scored: list[float] = []

    def settle(self) -> Found:
        """Go on until the pace is that of the long run, and tell it."""
        in_flight = self._cluster.ahead + 1
        # The pace repeats itself after as many batches as are in flight, or nearly so.
        first, counted = in_flight + WARM_UP, in_flight * rounds(self._cluster)
        ends: list[float] = []
        scored = 0
        for end in self._syncs():
            ends.append(end)
            if len(ends) == first:
                scored = len(self._scored)
            if len(ends) == first + counted:
                break
        seen = self._scored[scored:]
        return Found((ends[-1] - ends[first - 1]) / counted, sum(seen) / len(seen))

    def _syncs(self) -> Iterator[float]:
        """When each version of the weights had reached every replica."""
        times = self._times
        self._begin(0.0)
        while True:
            now, _, kind, batch, since = heapq.heappop(self._events)
            if kind == "generated":
                self._at(self._slots.serve(now, times.score), "scored", batch, now)
            elif kind == "scored":
                self._scored.append(now - since)
                self._at(self._stream.serve(now, times.handle), "there", batch, now)
            elif kind == "there":
                self._left[batch] -= 1
                self._learn(now)
            else:
                self._version, self._learning = self._version + 1, False
                yield now
                self._begin(now)
                self._learn(now)

    def _begin(self, now: float) -> None:
        """Ask for the batches that the present weights may sample."""
        while self._begun <= self._version + self._cluster.ahead:
            self._left[self._begun] = self._cluster.groups
            for seconds in self._durations:
                self._at(self._engines.serve(now, seconds), "generated", self._begun, now)
            self._begun += 1

    def _learn(self, now: float) -> None:
        """Take the next batch, if it is there and the learner is free."""
        if self._learning or self._left[self._version]:
            return
        self._learning = True
        del self._left[self._version]
        self._at(
            now + update_s(self._times, self._cluster) + sync_s(self._times, self._cluster), "synced", self._version, now
        )

    def _at(self, time: float, kind: str, batch: int, since: float) -> None:
        heapq.heappush(self._events, _Event(time, self._orders, kind, batch, since))
        self._orders += 1


@lru_cache
def spread(mean: float, longest: float, count: int) -> tuple[float, ...]:
    """So many durations with this mean and this largest, shuffled: powers of evenly spaced shares of the largest.

    A mean that they cannot have, below `longest / count` or above `longest`, is taken for the nearest that they can.
    """

    def durations(power: float) -> list[float]:
        return [longest * ((place + 1) / count) ** power for place in range(count)]

    def shortfall(power: float) -> float:
        return longest - sum(durations(power)) / count

    found = durations(solved(shortfall, longest - mean, _STEEPEST))
    random.Random(count).shuffle(found)
    return tuple(found)


def solved(rising: Callable[[float], float], target: float, most: float) -> float:
    """Where from 0 to `most` a rising function has the value `target`, or the nearest to it; found by halving."""
    least = 0.0
    for _ in range(_HALVINGS):
        middle = (least + most) / 2
        if rising(middle) > target:
            most = middle
        else:
            least = middle
    return least
