"""The pool of reward workers: one sandbox a replica, run by Ray Serve.

A whole group is scored per call, because the router costs more than a run. Programs are deterministic and truths are asked
for again and again, so each replica remembers the traces it has seen.
"""

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from reward.sandbox import Program, Sandbox
from reward.scoring import score_group
from reward.settings import RewardSettings, sandbox_limits
from reward.tracing import Trace, trace
from rl.anchors import Instrumented
from rl.problems import Problem
from rl.trajectories import Score
from rl.verdicts import Verdict

_BY_CHANCE = (Verdict.SANDBOX_ERROR, Verdict.TIMEOUT, Verdict.MEMORY, Verdict.CRASHED, Verdict.NO_RESULT)
"""What a busy machine can make of a good program: asked again rather than remembered as a truth."""


class _NotToRemember(Exception):
    """Carries a trace past the memory of traces."""

    def __init__(self, found: Trace) -> None:
        self.trace = found


class RewardWorker:
    """One replica: asks Python."""

    def __init__(self, settings: RewardSettings) -> None:
        self._sandbox = Sandbox(sandbox_limits(settings), settings.mode)
        self._one_at_a_time = asyncio.Lock()
        self._remembered = lru_cache(maxsize=10_000)(self._run)

    def _run(self, instrumented: Instrumented) -> Trace:
        found = trace(self._sandbox, instrumented)
        if found.verdict in _BY_CHANCE:
            raise _NotToRemember(found)
        return found

    def _trace(self, instrumented: Instrumented) -> Trace:
        try:
            return self._remembered(instrumented)
        except _NotToRemember as chance:
            return chance.trace

    async def score(self, problem: Problem, responses: Sequence[str]) -> list[Score]:
        """Score the responses to one problem."""
        async with self._one_at_a_time:
            return await asyncio.to_thread(score_group, problem, responses, self._trace)

    async def check_health(self) -> None:
        """Called by Serve: raises if this replica's sandbox no longer runs a trivial program."""
        async with self._one_at_a_time:
            execution = await asyncio.to_thread(self._sandbox.run, Program("", "1 + 1"))
        if execution.verdict is not Verdict.OK or execution.value != "2":
            raise RuntimeError(f"the sandbox no longer works: {execution.verdict}: {execution.exception}")


def deploy(name: str, settings: RewardSettings, environment: dict[str, str]) -> DeploymentHandle[Any]:
    """Start the pool as the Serve application `name`; returns when every replica is healthy."""
    deployment = serve.deployment(
        name="reward",
        num_replicas=settings.replicas,
        # The stream bounds what is in flight; a low limit here would only make Serve's router sleep.
        max_ongoing_requests=100_000,
        graceful_shutdown_timeout_s=5,
        ray_actor_options={"num_cpus": settings.num_cpus, "runtime_env": {"env_vars": environment}},
    )(RewardWorker)
    return serve.run(deployment.bind(settings), name=name, route_prefix=None)
