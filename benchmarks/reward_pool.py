"""How much of the bare sandbox's speed is left when programs are run through Ray Serve, a group of eight a call."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

import ray
from ray import serve

from benchmarks.sandbox import ROUNDS, check, program, run_all
from cluster.session import ASKING_FROM_ITS_LOOP, worker_environment
from reward.deployment import deploy
from reward.sandbox import Level
from reward.settings import RewardSettings, sandbox_limits
from reward.slots import Slots

_GROUP = 8
_IN_FLIGHT = 8
_DEADLINE_S = 600


def measure(rows: Sequence[dict[str, str]], *, runs: int, slots: int, mode: Level | None = None) -> dict[str, Any]:
    """Runs per second of one worker with `slots` slots, behind a local Serve, in turns with as many bare sandboxes."""
    wanted = [rows[index % len(rows)] for index in range(runs)]
    settings = RewardSettings(replicas=1, slots=slots, num_cpus=1, mode=mode, wall_s=5, cpu_s=2)
    environment = worker_environment()
    runtime = {"env_vars": environment}
    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, runtime_env=runtime)
    bare_s = through_s = 0.0
    try:
        serve.start(proxy_location="Disabled", logging_config={"log_level": "WARNING"})
        actor: Any = ray.remote(_Caller)
        pool = deploy("bench-reward", settings, environment)
        caller = actor.options(num_cpus=0, runtime_env=ASKING_FROM_ITS_LOOP).remote(pool)

        def through(part: Sequence[dict[str, str]]) -> float:
            return float(ray.get(caller.seconds.remote(part), timeout=_DEADLINE_S))

        with Slots(slots, sandbox_limits(settings), mode) as bare:
            through(wanted[: runs // 10])
            for turn in range(ROUNDS):
                through_s += through(wanted[turn::ROUNDS])
                bare_s += run_all(bare, wanted[turn::ROUNDS], slots)
        return {
            "through_serve_per_s": runs / through_s,
            "group": _GROUP,
            "bare_beside_serve_per_s": runs / bare_s,
            "share_of_bare_sandbox": bare_s / through_s,
        }
    finally:
        serve.shutdown()
        ray.shutdown()


class _Caller:
    """An actor that asks the pool, as a run's experience actor does."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def seconds(self, rows: Sequence[dict[str, str]]) -> float:
        """Seconds in which the pool runs all rows, `_IN_FLIGHT` groups at a time."""
        programs = [program(row) for row in rows]
        room = asyncio.Semaphore(_IN_FLIGHT)

        async def group(begin: int) -> None:
            async with room:
                executions = await self._pool.execute.remote(programs[begin : begin + _GROUP])
            for row, execution in zip(rows[begin : begin + _GROUP], executions, strict=True):
                check(row, execution)

        began = time.perf_counter()
        async with asyncio.timeout(_DEADLINE_S):
            await asyncio.gather(*(group(begin) for begin in range(0, len(programs), _GROUP)))
        return time.perf_counter() - began
