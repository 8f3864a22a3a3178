"""What a run is busy with: how much is in each phase now, and for how long each phase has been busy so far."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PHASES = ("waiting", "generating", "scoring", "training", "syncing")
"""The learner waits for a batch, trains on it, syncs its weights; groups are generated and scored meanwhile."""


@dataclass(frozen=True, slots=True)
class Account:
    """What a phase has come to so far."""

    seconds: float = 0.0
    """For how long anything was in it."""
    spent: float = 0.0
    """Seconds that all that were in it spent there, added up."""
    done: int = 0
    """How many have left it."""


class Activity:
    """Counts for one event loop; nothing here waits or locks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked = dict.fromkeys(PHASES, clock())
        self._accounts = dict.fromkeys(PHASES, Account())
        self.now = dict.fromkeys(PHASES, 0)
        """So many are in a phase: groups in `generating` and `scoring`, the learner in the others."""
        self.lost: Counter[str] = Counter()
        """Calls, by pool, that were lost with their replica and made again."""

    def begin(self, phase: str) -> None:
        """One more is in this phase."""
        self._count(phase, 0)
        self.now[phase] += 1

    def end(self, phase: str) -> None:
        """One less is."""
        self._count(phase, 1)
        self.now[phase] -= 1

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """One more is in this phase for the length of the block."""
        self.begin(phase)
        try:
            yield
        finally:
            self.end(phase)

    def accounts(self) -> dict[str, Account]:
        """What each phase has come to, the present included."""
        for phase in PHASES:
            self._count(phase, 0)
        return dict(self._accounts)

    def seconds(self) -> dict[str, float]:
        """For how long each phase has been busy, the present included."""
        return {phase: account.seconds for phase, account in self.accounts().items()}

    def _count(self, phase: str, leaving: int) -> None:
        """Bring a phase's account to the present."""
        now, old = self._clock(), self._accounts[phase]
        passed, self._looked[phase] = now - self._looked[phase], now
        busy = passed if self.now[phase] else 0.0
        self._accounts[phase] = Account(old.seconds + busy, old.spent + self.now[phase] * passed, old.done + leaving)
