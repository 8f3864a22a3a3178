"""Shows every few seconds what a stage of a run is doing: phases, queues, workers, restarts."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from ray import serve
from ray.exceptions import RayError

from cluster.monitoring.activity import Activity
from cluster.monitoring.metrics import LOST, PHASE, PHASE_SECONDS, QUEUE, RESTARTS, WORKERS, Monitor

_EVERY_S = 5.0
_REPLICA_STATES = ("RUNNING", "STARTING", "STOPPING")
"""Shown even where no replica is in them."""

_log = logging.getLogger(__name__)


def beside(*works: Coroutine[Any, Any, None]) -> list[asyncio.Task[None]]:
    """Do these beside everything else. What fails is told in the log, and nothing else ends with it."""

    def tell(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            _log.error("%s has ended", task.get_coro(), exc_info=task.exception())

    tasks = [asyncio.create_task(work) for work in works]
    for task in tasks:
        task.add_done_callback(tell)
    return tasks


@dataclass(frozen=True, slots=True)
class Situation:
    """What only the stream knows."""

    ready: int
    """Finished batches that the learner has not taken yet."""
    ranks: int
    restarts: int


class Watch:
    """Tells the monitor of one stage."""

    def __init__(self, monitor: Monitor, activity: Activity, applications: Mapping[str, str]) -> None:
        """Watch the Serve application of each pool."""
        self._monitor = monitor
        self._activity = activity
        self._applications = applications

    async def go_on(self, situation: Callable[[], Situation]) -> None:
        """Tell every few seconds, until cancelled."""
        while True:
            self.tell(situation())
            await self._tell_pools()
            await asyncio.sleep(_EVERY_S)

    def tell(self, found: Situation) -> None:
        """Tell what this process knows."""
        monitor, activity = self._monitor, self._activity
        queues = {"rollout": activity.now["generating"], "reward": activity.now["scoring"], "ready": found.ready}
        for queue, length in queues.items():
            monitor.set(QUEUE, length, queue=queue)
        for phase, seconds in activity.seconds().items():
            monitor.set(PHASE, activity.now[phase], phase=phase)
            monitor.count_to(PHASE_SECONDS, seconds, phase=phase)
        for pool, calls in activity.lost.items():
            monitor.count_to(LOST, calls, pool=pool)
        monitor.count_to(RESTARTS, found.restarts, pool="learner")
        monitor.set(WORKERS, found.ranks, pool="learner", state="RUNNING")

    async def _tell_pools(self) -> None:
        try:
            there = (await asyncio.to_thread(serve.status)).applications
        except RayError:
            # The controller is on its way back; it is asked again in a moment.
            return
        for pool, application in self._applications.items():
            states: Counter[str] = Counter(dict.fromkeys(_REPLICA_STATES, 0))
            if application in there:
                for deployment in there[application].deployments.values():
                    states.update({str(state): count for state, count in deployment.replica_states.items()})
            for state, count in states.items():
                self._monitor.set(WORKERS, count, pool=pool, state=state)
