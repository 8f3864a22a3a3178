"""The pool of rollout workers: one vLLM engine a replica, run by Ray Serve.

Serve restarts a replica that dies or turns unhealthy, and spreads groups over replicas. The learner's weights reach all of
them by broadcast; a replica that starts later takes the newest published weights before it reports healthy.
"""

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import LoggingConfig

from rl.published_weights import newest
from rl.trajectories import Completion
from rollout.engine import Engine, Sampling, SyncDeadline
from rollout.log_handlers import targets_kept
from rollout.settings import Load, RolloutSettings

_LOOK_EVERY_S = 0.2
"""Between looks for weights that are on their way."""


class RolloutWorker:
    """One replica: asks the model."""

    def __init__(self, name: str, model_path: str, weights_folder: str, settings: RolloutSettings, seed: int) -> None:
        with targets_kept():
            self._engine = Engine(model_path, settings, seed, name)
        self._settings = settings
        self._weights_folder = Path(weights_folder)
        self._starting, self._loading = asyncio.Lock(), asyncio.Lock()
        self._ready = False
        self._failure = ""
        self._round: asyncio.TimerHandle | None = None

    async def _start(self) -> None:
        """The part of starting that needs the event loop: done once, before the first answer of any kind."""
        async with self._starting:
            if self._ready:
                return
            await self._engine.start(version=0)
            published = newest(self._weights_folder)
            if published is not None:
                await self._take(*published)
            self._ready = True

    async def generate(self, prompt_ids: Sequence[int], sampling: Sampling, wanted: int | None = None) -> list[Completion]:
        """Sample one group of responses to a prompt.

        A replica that started while version `wanted` was on its way to the others has other weights, and takes those that
        are published first.
        """
        with self._engine_or_end():
            await self._start()
            if wanted is not None and self._engine.version != wanted:
                await self._catch_up(wanted)
            return await self._engine.generate(prompt_ids, sampling)

    async def prove(
        self, prompt_ids: Sequence[int], sampling: Sampling, version: int, places: Mapping[str, int]
    ) -> list[Completion]:
        """Sample by weights `version` that the learner has just sent to the replicas in `places`.

        One that has started since has nothing to prove, and answers at once: it waits for the file, and the file for this.
        """
        return await self.generate(prompt_ids, sampling, version) if await self.name() in places else []

    @contextmanager
    def _engine_or_end(self) -> Iterator[None]:
        """End this replica where a call fails since the engine's process has died.

        Callers then see a replica that is gone, whose calls they make again; Serve's health checks would take half a minute.
        """
        try:
            yield
        except Exception as error:
            if self._engine.died:
                sys.stderr.write(f"the engine's process has died ({' '.join(str(error).split())}); this replica ends too\n")
                sys.stderr.flush()
                os._exit(1)
            raise

    async def _catch_up(self, wanted: int) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._settings.sync_deadline_s
        # Weights that a learner sends are in the file a moment later.
        while ((published := newest(self._weights_folder)) is None or published[1] < wanted) and clock() < deadline:
            await asyncio.sleep(_LOOK_EVERY_S)
        async with self._loading:
            if published is not None and self._engine.version != published[1]:
                await self._take(*published)

    async def update_weights(self, path: str, version: int) -> int:
        """Take new weights; afterwards every sampled token carries `version`.

        Raises:
            SyncDeadline: too slow; Serve then replaces this replica.
        """
        with self._engine_or_end():
            await self._start()
            async with self._loading:
                await self._take(path, version)
            return self._engine.version

    async def name(self) -> str:
        """What this replica is called among the others."""
        return serve.get_replica_context().replica_id.unique_id

    async def transfer(self, phase: str, argument: Any, places: Mapping[str, int]) -> None:
        """A phase of an update whose weights the learner sends: `join`, `start`, `receive` or `finish`.

        Args:
            phase: which.
            argument: what goes with it; for `finish` the version.
            places: the replicas that take part, and for `join` the first rank of each. One that has started since does not,
                and loads the file that follows.

        Raises:
            SyncDeadline: too slow; Serve then replaces this replica.
        """
        place = places.get(await self.name())
        if place is None:
            return
        with self._in_time():
            if phase == "join":
                ranks = {"rank_offset": place} if "rank_offset" in argument else {}
                await self._engine.join({**argument, **ranks})
            elif phase == "start":
                await self._loading.acquire()
                self._round = asyncio.get_running_loop().call_later(self._settings.round_deadline_s, self._left_alone)
                await self._engine.start_update()
            elif phase == "receive":
                await self._engine.receive(argument)
            elif self._round is not None:
                await self._engine.finish_update(argument)
                self._round.cancel()
                self._round = None
                self._loading.release()

    def _left_alone(self) -> None:
        """The learner has not finished what it began, and this engine holds its responses."""
        self._failure = f"an update of the weights was not finished within {self._settings.round_deadline_s:.0f} s"

    async def sleep(self) -> None:
        """See `Engine.sleep`."""
        await self._start()
        with self._in_time():
            await self._engine.sleep()

    async def load(self) -> Load:
        """What the engine is at."""
        await self._start()
        return self._engine.load()

    async def _take(self, path: str, version: int) -> None:
        with self._in_time():
            await self._engine.update_weights(path, version)

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        """Turn unhealthy, and so be replaced, if the engine takes too long over the block."""
        try:
            yield
        except SyncDeadline as error:
            self._failure = str(error)
            raise

    async def check_health(self) -> None:
        """Called by Serve: raises if this replica must be replaced."""
        if self._failure:
            raise RuntimeError(self._failure)
        with self._engine_or_end():
            await self._start()
            await self._engine.check_health()


def deploy(
    name: str, model_path: str, weights_folder: str, settings: RolloutSettings, seed: int, environment: dict[str, str]
) -> DeploymentHandle[Any]:
    """Let Serve start the pool as the application `name`; returns at once, calls wait for the first replica."""
    deployment = serve.deployment(
        name="rollout",
        num_replicas=settings.replicas,
        # The stream bounds what is in flight; a low limit here would only make Serve's router sleep.
        max_ongoing_requests=100_000,
        health_check_timeout_s=120,
        graceful_shutdown_timeout_s=settings.drain_s,
        ray_actor_options={
            "num_cpus": settings.num_cpus,
            "num_gpus": settings.num_gpus,
            "resources": settings.resources,
            "runtime_env": {"env_vars": environment},
        },
        logging_config=LoggingConfig(enable_access_log=False),
    )(RolloutWorker)
    application = deployment.bind(name, model_path, weights_folder, settings, seed)
    target = serve.RunTarget(application, name=name, route_prefix=None, external_scaler_enabled=True)
    # Serve itself would wait for ever.
    (handle,) = serve.run_many([target], wait_for_applications_running=False)
    return handle
