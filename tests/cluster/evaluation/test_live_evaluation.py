"""Evaluation beside training: when it is due, that it never overlaps, and what it says; the real loop: `test_run.py`."""

import asyncio
from types import SimpleNamespace

import pytest

from cluster.config import EvaluationSettings
from cluster.evaluation.live import LiveEvaluation, measured
from cluster.experience.collection import PoolUnresponsive, Seconds
from rl.problems import Problem
from rl.trajectories import Completion, Score, Trajectory
from rl.verdicts import Verdict

PROBLEMS = [Problem(str(number), "", "f()", "", [], "1") for number in range(5)]


def trajectory(final, steps, versions):
    score = Score(Verdict.OK if final else Verdict.WRONG, final, steps, ["s"] * len(steps))
    return Trajectory("p", [1], Completion([5] * len(versions), [], versions, True), "", score, [])


class Pool:
    """Answers when it is let, with the version that is the newest then."""

    def __init__(self, failure=None):
        self.tokenizer = SimpleNamespace(eos_token_id=0)
        self.let, self.asked, self.failure, self.version = asyncio.Event(), [], failure, 0

    async def collect(self, problem, sampling, wanted):
        self.asked.append((problem.id, sampling))
        first = self.version
        await self.let.wait()
        if self.failure:
            raise self.failure
        return [trajectory(1.0, [1.0], [first, self.version])], Seconds(0.0, 0.0)


def live(pool, rows, **settings):
    wanted = EvaluationSettings(
        **{"every": 2, "every_problems": 3, "every_samples": 2, "every_temperature": 0.5, **settings}
    )
    return LiveEvaluation(wanted, PROBLEMS, pool, 32, rows.append)


def test_it_is_begun_when_due_and_goes_on_beside_newer_versions():
    async def training():
        pool, rows = Pool(), []
        evaluation = live(pool, rows)
        for version in range(6):
            pool.version = version
            evaluation.consider(version)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert rows == []
        pool.let.set()
        await evaluation.settled()
        evaluation.consider(6)
        await evaluation.settled()
        return pool, rows

    pool, rows = asyncio.run(training())
    # Version 4 was due while 2 was being measured, and is left out.
    assert [row["step"] for row in rows] == [2, 6]
    assert (rows[0]["problems"], rows[0]["own_tokens"]) == (3, 0.5)
    assert [name for name, _ in pool.asked] == ["0", "1", "2"] * 2
    assert {(one.samples, one.temperature, one.max_tokens) for _, one in pool.asked} == {(2, 0.5, 32)}
    assert pool.asked[0][1].seed == pool.asked[3][1].seed


def test_without_a_step_nothing_is_asked():
    async def training():
        pool = Pool()
        evaluation = live(pool, [], every=None)
        evaluation.consider(2)
        await evaluation.settled()
        return pool.asked

    assert asyncio.run(training()) == []


def test_a_failure_is_not_lost():
    async def training():
        pool = Pool(PoolUnresponsive("gone"))
        pool.let.set()
        evaluation = live(pool, [])
        evaluation.consider(2)
        await evaluation.settled()

    with pytest.raises(PoolUnresponsive, match="gone"):
        asyncio.run(training())


def test_measures_are_means_over_problems():
    groups = [
        [trajectory(1.0, [1.0, 0.0], [4, 4]), trajectory(0.0, [0.0, 0.0], [4, 5])],
        [trajectory(1.0, [1.0], [4, 4])],
    ]
    assert measured(groups, 4) == {
        "final_accuracy": 0.75,
        "step_accuracy": 0.625,
        "trace_accuracy": 0.5,
        "problems": 2.0,
        "own_tokens": 5 / 6,
    }
