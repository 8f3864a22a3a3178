"""The pool of rollout workers: one vLLM engine a replica, run by Ray Serve.

Serve restarts a replica that dies or turns unhealthy, and spreads groups over replicas. The learner's weights reach all of
them by broadcast; a replica that starts later takes the newest published weights before it reports healthy.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import LoggingConfig

from rl.published_weights import newest
from rl.trajectories import Completion
from rollout.engine import Engine, Sampling, SyncDeadline
from rollout.settings import Load, RolloutSettings


class RolloutWorker:
    """One replica: asks the model."""

    def __init__(self, name: str, model_path: str, weights_folder: str, settings: RolloutSettings, seed: int) -> None:
        self._engine = Engine(model_path, settings, seed, name)
        self._weights_folder = Path(weights_folder)
        self._starting, self._loading = asyncio.Lock(), asyncio.Lock()
        self._ready = False
        self._failure = ""

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
        await self._start()
        if wanted is not None and self._engine.version != wanted:
            await self._catch_up()
        return await self._engine.generate(prompt_ids, sampling)

    async def _catch_up(self) -> None:
        async with self._loading:
            published = newest(self._weights_folder)
            if published is not None and self._engine.version != published[1]:
                await self._take(*published)

    async def update_weights(self, path: str, version: int) -> int:
        """Take new weights; afterwards every sampled token carries `version`.

        Raises:
            SyncDeadline: too slow; Serve then replaces this replica.
        """
        await self._start()
        async with self._loading:
            await self._take(path, version)
        return self._engine.version

    async def load(self) -> Load:
        """What the engine is at."""
        await self._start()
        return self._engine.load()

    async def _take(self, path: str, version: int) -> None:
        try:
            await self._engine.update_weights(path, version)
        except SyncDeadline as error:
            self._failure = str(error)
            raise

    async def kv_cache(self) -> float | None:
        """See `Engine.kv_cache`."""
        return self._engine.kv_cache()

    async def check_health(self) -> None:
        """Called by Serve: raises if this replica must be replaced."""
        if self._failure:
            raise RuntimeError(self._failure)
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
