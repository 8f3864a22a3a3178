"""What was seen of a run's pools, look by look, and the load that follows from the looks of the last while.

A while begins anew whenever the pool's size changes, so what is decided next rests on the new size alone: that is the pause
between two decisions.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from cluster.monitoring.activity import Account
from cluster.scaling.policy import RewardLoad, RolloutLoad


@dataclass(frozen=True, slots=True)
class Sight:
    """One look."""

    at: float
    """Seconds, by a clock that never goes back."""
    updates: int
    """Batches that the learner has taken."""
    phases: Mapping[str, Account]
    kv_cache: float | None = None
    """Share of its key-value cache that the fullest engine uses; None if none told."""


class Sights:
    """The looks of one pool since its size last changed."""

    def __init__(self, longest_s: float, updates: int = 0) -> None:
        """Keep what a while of `longest_s` seconds needs; in each there must be so many updates of the learner."""
        self._longest_s = longest_s
        self._updates = updates
        self._size: tuple[int, int] | None = None
        self._seen: deque[Sight] = deque()

    def add(self, sight: Sight, size: tuple[int, int]) -> None:
        """Take a look at the pool when it had this size, wanted and running."""
        if size != self._size:
            self._seen.clear()
            self._size = size
        self._seen.append(sight)
        while len(self._seen) > 2 and self._covers(self._seen[1], self._longest_s):
            self._seen.popleft()

    def last(self, seconds: float) -> list[Sight]:
        """The looks of the shortest while up to now that is so long and has enough updates in it; none if none is."""
        for place in range(len(self._seen) - 1, -1, -1):
            if self._covers(self._seen[place], seconds):
                return list(self._seen)[place:]
        return []

    def _covers(self, first: Sight, seconds: float) -> bool:
        last = self._seen[-1]
        return last.at - first.at >= seconds and last.updates - first.updates >= self._updates


def reward_load(looks: list[Sight]) -> RewardLoad | None:
    """What they say of the reward pool; None if they are none, or saw nothing scored."""
    scoring = _between(looks, "scoring")
    if not scoring.done or not scoring.seconds:
        return None
    return RewardLoad(in_flight=scoring.spent / scoring.seconds, latency_s=scoring.spent / scoring.done)


def rollout_load(looks: list[Sight]) -> RolloutLoad | None:
    """What they say of the rollout pool; None if they are none, or saw nothing generated.

    The learner's waiting is shared between the pools by the groups that were at each.
    """
    generating, scoring, waiting = (_between(looks, phase) for phase in ("generating", "scoring", "waiting"))
    if not generating.done or not generating.seconds:
        return None
    elapsed = looks[-1].at - looks[0].at
    told = [sight.kv_cache for sight in looks[1:] if sight.kv_cache is not None]
    return RolloutLoad(
        waiting=min(1.0, waiting.seconds / elapsed * generating.spent / (generating.spent + scoring.spent)),
        generating=min(1.0, generating.seconds / elapsed),
        in_flight=generating.spent / generating.seconds,
        kv_cache=max(told, default=None),
    )


def _between(looks: list[Sight], phase: str) -> Account:
    """What a phase came to between the first and the last of them."""
    if not looks:
        return Account()
    first, last = looks[0].phases[phase], looks[-1].phases[phase]
    return Account(last.seconds - first.seconds, last.spent - first.spent, last.done - first.done)
