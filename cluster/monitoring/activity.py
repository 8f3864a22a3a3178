"""What a run is busy with: how much is in each phase now, and for how long each phase has been busy so far."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PHASES = ("waiting", "generating", "scoring", "training", "syncing")
"""The learner waits for a batch, trains on it, syncs its weights; groups are generated and scored meanwhile."""


class Activity:
    """Counts for one event loop; nothing here waits or locks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = dict.fromkeys(PHASES, 0.0)
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self.now = dict.fromkeys(PHASES, 0)
        """So many are in a phase: groups in `generating` and `scoring`, the learner in the others."""
        self.lost: Counter[str] = Counter()
        """Calls, by pool, that were lost with their replica and made again."""

    def begin(self, phase: str) -> None:
        """One more is in this phase."""
        if not self.now[phase]:
            self._began[phase] = self._clock()
        self.now[phase] += 1

    def end(self, phase: str) -> None:
        """One less is."""
        self.now[phase] -= 1
        if not self.now[phase]:
            self._seconds[phase] += self._clock() - self._began[phase]

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """One more is in this phase for the length of the block."""
        self.begin(phase)
        try:
            yield
        finally:
            self.end(phase)

    def seconds(self) -> dict[str, float]:
        """For how long each phase has been busy, the present included."""
        return {
            phase: total + (self._clock() - self._began[phase] if self.now[phase] else 0.0)
            for phase, total in self._seconds.items()
        }
