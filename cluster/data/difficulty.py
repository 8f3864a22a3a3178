"""How hard problems are to a given model: sampled a few times each, kept where few or enough responses are right.

Sampling is training's own: the rollout pool asks the model, the reward pool asks Python. The pools stand only while a wave
is measured, so that the making of the next has the machine to itself. What was measured is on disk at once; a build that
was interrupted asks for none of it again.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ray.serve.handle import DeploymentHandle

from cluster.config import DifficultySettings
from cluster.experience.collection import Collector
from cluster.runs import read_jsonl, write_jsonl
from rl.problems import Problem
from rl.prompts import leaves_room
from rl.seeds import derived_seed
from rl.synthesis.candidates import Rejected
from rollout.engine import Sampling


@dataclass(frozen=True, slots=True)
class Measured:
    """What became of a problem's samples."""

    right: int
    judged: int
    """Samples that the machinery could score."""
    room: bool = True
    """Whether the prompt left room for a response; without it nothing was sampled."""


Note = Callable[[Problem, Measured], None]
"""Told of each problem as soon as it is measured."""


class Difficulty:
    """Keeps the problems in the band, and what was measured of all."""

    def __init__(self, settings: DifficultySettings, measure: Callable[[Sequence[Problem], Note], None]) -> None:
        self.settings = settings
        self._measure = measure

    def outcomes(self, problems: Sequence[Problem], known: Path) -> list[tuple[Problem, Rejected | None]]:
        """Each problem, its count among its tags, and why it is set aside, if it is.

        Args:
            problems: with ids of their own.
            known: the file of what was measured before; what is measured now is added to it.
        """
        rows = read_jsonl(known)
        # Written anew, because an interrupted build may have left half a line at its end.
        write_jsonl(known, rows)
        measured = {row["id"]: Measured(**row["measured"]) for row in rows}
        missing = [problem for problem in problems if problem.id not in measured]
        with known.open("a") as file:

            def note(problem: Problem, found: Measured) -> None:
                measured[problem.id] = found
                file.write(json.dumps({"id": problem.id, "measured": asdict(found)}) + "\n")
                file.flush()

            if missing:
                self._measure(missing, note)
        return [self._outcome(problem, measured[problem.id]) for problem in problems]

    def _outcome(self, problem: Problem, measured: Measured) -> tuple[Problem, Rejected | None]:
        wanted = self.settings
        if not measured.room:
            return problem, Rejected("difficulty not measured", "the prompt leaves no room for a response")
        tagged = replace(problem, tags={**problem.tags, "passes": f"{measured.right}/{measured.judged}"})
        if measured.judged < wanted.samples:
            return tagged, Rejected(
                "difficulty not measured", f"{measured.judged} of {wanted.samples} responses were scored"
            )
        if not wanted.at_least <= measured.right <= wanted.at_most:
            told = f"{measured.right} of {wanted.samples} right, {wanted.at_least} to {wanted.at_most} are wanted"
            return tagged, Rejected("difficulty", told)
        return tagged, None


@dataclass(frozen=True, slots=True)
class PoolMeasure:
    """Measures by sampling the model through the pools."""

    settings: DifficultySettings
    pools: Callable[[], AbstractContextManager[tuple[DeploymentHandle[Any], DeploymentHandle[Any]]]]
    """Brings up the rollout pool of `settings.model` and the reward pool, for the length of the block."""
    max_length: int
    """Tokens of a prompt and its response together."""
    seed: int

    def __call__(self, problems: Sequence[Problem], note: Note) -> None:
        """Measure problems side by side.

        Raises:
            PoolUnresponsive: a pool did not answer; what was measured until then is noted.
            PoolNotStarted: the model cannot be served.
        """
        with self.pools() as (rollout, reward):
            asyncio.run(self._all(problems, Collector(rollout, reward, str(self.settings.model)), note))

    async def _all(self, problems: Sequence[Problem], collector: Collector, note: Note) -> None:
        free = asyncio.Semaphore(self.settings.in_flight)

        async def ask(problem: Problem) -> None:
            async with free:
                note(problem, await self._asked(problem, collector))

        await asyncio.gather(*map(ask, problems))

    async def _asked(self, problem: Problem, collector: Collector) -> Measured:
        if not leaves_room(problem, collector.tokenizer, self.max_length, self.settings.max_tokens):
            return Measured(0, 0, room=False)
        sampling = Sampling(
            samples=self.settings.samples,
            temperature=self.settings.temperature,
            max_tokens=self.settings.max_tokens,
            stop_token_id=collector.tokenizer.eos_token_id,
            seed=derived_seed(self.seed, f"difficulty/{problem.id}"),
            logprobs=False,
        )
        group, _ = await collector.collect(problem, sampling)
        judged = [trajectory.score for trajectory in group if not trajectory.score.verdict.is_fault]
        return Measured(sum(score.final_reward == 1.0 for score in judged), len(judged))
