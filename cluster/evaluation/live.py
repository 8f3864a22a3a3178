"""Evaluation while a policy trains: held-out problems through the pools that training samples with, without waiting for it.

Training goes on meanwhile, so new weights may arrive in the middle of an answer. How many of the tokens the version that was
to be measured did sample is told with each figure; an evaluation that falls due while one is still running is left out.
"""

import asyncio
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from cluster.config import EvaluationSettings
from cluster.experience.collection import Collector
from rl.benchmarks.accuracy import MEASURES, response_accuracy
from rl.problems import Problem
from rl.seeds import derived_seed
from rl.trajectories import Trajectory
from rollout.engine import Sampling

LONGEST_WAIT_S = 600.0
"""How long the end of training waits for an evaluation that is still running."""


class LiveEvaluation:
    """Measures policy versions as they come. For use inside one event loop."""

    def __init__(
        self,
        settings: EvaluationSettings,
        problems: Sequence[Problem],
        collector: Collector,
        max_tokens: int,
        log: Callable[[dict[str, Any]], None],
    ) -> None:
        self._settings = settings
        self._problems = problems[: settings.every_problems]
        self._collector = collector
        self._max_tokens = max_tokens
        self._log = log
        self._running: asyncio.Task[None] | None = None

    def consider(self, version: int) -> None:
        """Begin to measure this version if it is due and none is being measured.

        Raises:
            PoolUnresponsive: the one before failed so.
        """
        every = self._settings.every
        if every is None or version == 0 or version % every or not self._problems:
            return
        if self._running is not None:
            if not self._running.done():
                return
            self._running.result()
        self._running = asyncio.create_task(self._measure(version))

    async def settled(self) -> None:
        """Wait for the one that is being measured.

        Raises:
            PoolUnresponsive: it failed so.
            TimeoutError: it took too long.
        """
        if self._running is not None:
            await asyncio.wait_for(self._running, LONGEST_WAIT_S)

    async def _measure(self, version: int) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        free = asyncio.Semaphore(self._settings.every_in_flight)

        async def ask(problem: Problem) -> list[Trajectory]:
            async with free:
                group, _ = await self._collector.collect(problem, self._sampling(problem), version)
            return [trajectory for trajectory in group if not trajectory.score.verdict.is_fault]

        groups = [group for group in await asyncio.gather(*map(ask, self._problems)) if group]
        if groups:
            self._log({"step": version, **measured(groups, version), "evaluation_s": clock() - began})

    def _sampling(self, problem: Problem) -> Sampling:
        return Sampling(
            samples=self._settings.every_samples,
            temperature=self._settings.every_temperature,
            max_tokens=self._max_tokens,
            stop_token_id=self._collector.tokenizer.eos_token_id,
            seed=derived_seed(self._settings.seed, f"live/{problem.id}"),
            logprobs=False,
        )


def measured(groups: Sequence[Sequence[Trajectory]], version: int) -> dict[str, float]:
    """Each measure's mean over problems, how many there were, and the share of tokens that this version sampled."""
    accuracies = [[response_accuracy(t.score.final_reward, t.score.step_rewards) for t in group] for group in groups]
    versions = [one for group in groups for trajectory in group for one in trajectory.completion.policy_versions]
    return {
        **{f"{name}_accuracy": fmean(fmean(one[name] for one in group) for group in accuracies) for name in MEASURES},
        "problems": float(len(groups)),
        "own_tokens": fmean(one == version for one in versions) if versions else 0.0,
    }
