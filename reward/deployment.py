"""The pool of reward workers, run by Ray Serve: each has a few sandboxes, and answers a whole group a call.

The router costs more than a run, hence groups. Programs are deterministic and truths are asked for again and again, so each
replica remembers the traces it has seen. Scoring changes nothing: a call that was lost with its replica may be made again.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from ray import serve
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import LoggingConfig

from reward.meter import Meter
from reward.programs import Execution, Limits, Program
from reward.scoring import score_group
from reward.settings import RewardSettings, sandbox_limits
from reward.slots import Slots
from reward.tally import Tally
from reward.tracing import trace
from reward.truths import Truths
from rl.problems import Problem, Task
from rl.trajectories import Score
from rl.verdicts import Verdict

_TELL_EVERY_S = 5.0
_HEALTH_S = 30.0

Result = TypeVar("Result")

_log = logging.getLogger("ray.serve")
"""The log of a replica."""


class _Metered:
    """Slots whose runs are counted."""

    def __init__(self, slots: Slots, tally: Tally) -> None:
        self._slots = slots
        self._tally = tally
        self.worked_at = time.monotonic()
        """When a run ended that the machinery did not fail on; at first when the sandboxes had tested themselves."""

    def run(self, program: Program, limits: Limits | None = None) -> Execution:
        began = time.monotonic()
        execution = self._slots.run(program, limits)
        ended = time.monotonic()
        self._tally.count(execution, ended - began)
        if not execution.verdict.is_fault:
            self.worked_at = ended
        return execution


class RewardWorker:
    """One replica: asks Python."""

    def __init__(self, pool: str, settings: RewardSettings) -> None:
        limits = sandbox_limits(settings)
        self._slots = Slots(settings.slots, limits, settings.mode, settings.packages)
        layers = self._slots.layers
        _log.log(logging.WARNING if layers.missing else logging.INFO, "%d sandboxes ready: %s", settings.slots, layers)
        self._threads = ThreadPoolExecutor(settings.slots, "slot")
        self._meter = Meter(pool, serve.get_replica_context().replica_id.unique_id)
        self._longest_s = limits.wall_s
        self._metered = _Metered(self._slots, self._meter.tally)
        self._truths = Truths(partial(trace, self._metered), limits, settings.packages)
        self._queued: deque[None] = deque()
        """As long as there are jobs that wait for a slot."""
        self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def score(self, problem: Problem, responses: Sequence[str]) -> list[Score]:
        """Score the responses to one problem.

        Proposed inputs are each run for themselves, side by side; where outputs are predicted there is one run for all.
        """
        parts = [responses] if problem.task is Task.OUTPUT else [[response] for response in responses]
        found = await self._side_by_side([partial(score_group, problem, part, self._truths) for part in parts])
        return [score for scores in found for score in scores]

    async def execute(self, programs: Sequence[Program], limits: Limits | None = None) -> list[Execution]:
        """Run programs side by side; what became of each, in their order."""
        return await self._side_by_side([partial(self._metered.run, program, limits) for program in programs])

    async def check_health(self) -> None:
        """Called by Serve: raises if this replica's sandboxes no longer run a trivial program.

        In a busy one it would wait behind all calls taken before it. There any run that ended of late tells the same.
        """
        if self._queued and time.monotonic() - self._metered.worked_at < _HEALTH_S + self._longest_s:
            return
        async with asyncio.timeout(_HEALTH_S):
            (execution,) = await self.execute([Program("", "1 + 1")])
        if execution.verdict is not Verdict.OK or execution.value != "2":
            why = f"{execution.verdict}: {execution.exception}"
            raise RuntimeError(f"the sandbox no longer works: {why}; {self._slots.layers}")

    def __del__(self) -> None:
        """Called by Serve when the replica ends: takes the sandboxes with it."""
        self._telling.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._slots.close()

    async def _side_by_side(self, jobs: Sequence[Callable[[], Result]]) -> list[Result]:
        """What each of the jobs returns; those of all calls stand in one line before the slots.

        The loop is woken once, by the last job, since to wake it costs more than to hand a job over.

        Raises:
            Exception: what a job raises; those that have not begun are left out then.
        """
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        found: dict[int, Result] = {}
        unfinished = list(jobs)

        def work(index: int, job: Callable[[], Result]) -> None:
            self._queued.popleft()
            if over.done():  # The caller has hung up, or another job has failed.
                return
            try:
                found[index] = job()
            except Exception as error:
                loop.call_soon_threadsafe(end, error)
                return
            unfinished.pop()
            if not unfinished:
                loop.call_soon_threadsafe(end)

        def end(error: Exception | None = None) -> None:
            if over.done():
                return
            if error is None:
                over.set_result(None)
            else:
                over.set_exception(error)

        for index, job in enumerate(jobs):
            self._queued.append(None)
            self._threads.submit(work, index, job)
        if jobs:
            await over
        return [found[index] for index in range(len(jobs))]

    async def _tell(self) -> None:
        """Hands the meter's counts to Ray now and then."""
        known = 0
        while True:
            await asyncio.sleep(_TELL_EVERY_S)
            if self._slots.restarts > known:
                died, known = self._slots.restarts - known, self._slots.restarts
                _log.warning("%d zygotes died: others took their place, and their programs were run again", died)
            busy, queued = len(self._slots) - self._slots.free, len(self._queued)
            self._meter.tell(in_flight=busy, queued=queued, restarts=self._slots.restarts, truths=len(self._truths))


def deploy(name: str, settings: RewardSettings, environment: dict[str, str]) -> DeploymentHandle[Any]:
    """Let Serve start the pool as the application `name`; returns at once, calls wait for the first replica."""
    deployment = serve.deployment(
        name="reward",
        num_replicas=settings.replicas,
        max_ongoing_requests=settings.max_in_flight,
        max_queued_requests=settings.max_waiting,
        graceful_shutdown_timeout_s=5,
        ray_actor_options={
            "num_cpus": settings.num_cpus,
            "resources": settings.resources,
            # Its methods only wait, so they need no thread of their own to be handed to.
            "runtime_env": {"env_vars": {**environment, "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0"}},
        },
        logging_config=LoggingConfig(enable_access_log=False),
    )(RewardWorker)
    application = deployment.bind(name, settings)
    target = serve.RunTarget(application, name=name, route_prefix=None, external_scaler_enabled=True)
    # Serve itself would wait for ever.
    (handle,) = serve.run_many([target], wait_for_applications_running=False)
    # Straight to the replica: half the cost of the way through the object store, where what is sent is as small as here.
    # Both sides have these types, so none needs to go by value, which cloudpickle would ask of every object.
    return handle.options(_by_reference=False, request_serialization="pickle", response_serialization="pickle")
