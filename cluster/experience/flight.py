"""How many groups are in flight: as many as the engines can work on, found by trying.

Too few, and engines decode half-empty batches. Too many, and what waits in their queues grows stale, or their caches fill
up and responses are thrown out half-made to be computed again. So the number grows by a little while nothing waits and
falls by a share as soon as an engine is crowded: additive increase, multiplicative decrease, as a network's senders do.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from heapq import heappop, heappush

from rollout.settings import Load, RolloutSettings

_SHRINK = 0.75
_FULL = 0.9
"""Share of the cache in use from which an engine is crowded."""
_ROOMY = 0.7
"""Share up to which more groups may come."""


def first_in_flight(settings: RolloutSettings, group_size: int) -> int | None:
    """Groups that may be in flight at first: as many as the engines can decode at a time, where load decides later on."""
    if settings.in_flight == "adaptive":
        return max(settings.replicas * settings.max_sequences // group_size, 1)
    return settings.in_flight


class Flight:
    """A limit on groups in flight that follows the engines' load. For one event loop."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.now = 0
        self._asked = 0
        self._turns: list[tuple[int, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def turn(self, batch: int) -> AsyncIterator[None]:
        """A place for the length of the block: that of the earliest batch first, then first come, first served."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked += 1
        heappush(self._turns, (batch, self._asked, turn))
        self._hand_out()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._leave()
            raise
        try:
            yield
        finally:
            self._leave()

    def adjust(self, loads: Sequence[Load]) -> None:
        """Move the limit, once for all that the engines tell at one time.

        It falls if an engine has more waiting than it decodes, or its cache is nearly full. It grows by a group for each
        engine if groups wait here and none there.
        """
        if any(load.waiting > load.running or load.cache >= _FULL for load in loads):
            self.limit = max(int(self.limit * _SHRINK), 1)
        elif self._turns and all(load.waiting == 0 and load.cache <= _ROOMY for load in loads):
            self.limit += len(loads)
        self._hand_out()

    def _leave(self) -> None:
        self.now -= 1
        self._hand_out()

    def _hand_out(self) -> None:
        """Let in whoever there is a place for."""
        while self._turns and self.now < self.limit:
            _, _, turn = heappop(self._turns)
            if not turn.done():
                self.now += 1
                turn.set_result(None)
