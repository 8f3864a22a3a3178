"""The stream between pools that are played here: which policy samples which batch, how many groups fly, what is kept."""

import asyncio
import random
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from cluster.config import EvaluationSettings
from cluster.data.splits import write_split
from cluster.experience.stream import ExperienceStream, StreamJob
from cluster.runs import RunFolder
from cluster.scaling.scaler import Autoscaling
from cluster.settings import ClusterSettings
from learner.settings import PolicySettings
from reward.settings import RewardSettings
from rl.problems import Problem
from rl.trajectories import Completion, Score
from rl.verdicts import Verdict
from rollout.settings import Load, RolloutSettings

GROUPS, SIZE, STEPS = 4, 2, 6


class Pools:
    """Both pools: answers after a moment, in an order of its own, with the version it has then."""

    def __init__(self, seed):
        self.version, self.flying, self.most, self.begun = 0, 0, 0, []
        self.lags, self.load, self._rng = 0, Load(1, 0, 0.1), random.Random(seed)
        self.generate, self.score = (SimpleNamespace(remote=method) for method in (self._generate, self._score))

    async def _generate(self, prompt_ids, sampling, wanted=None):
        is_group = sampling.samples == SIZE
        if is_group:
            self.begun.append(self.version)
        self.flying += is_group
        self.most = max(self.most, self.flying)
        version = self.version
        await asyncio.sleep(self._rng.random() / 200)
        self.flying -= is_group
        drawn = random.Random(sampling.seed)
        ids = [[drawn.randrange(10, 200) for _ in range(5)] for _ in range(sampling.samples)]
        return [Completion(one, [-1.0] * 5, [version - self.lags] * 5, True) for one in ids]

    async def _score(self, problem, texts):
        await asyncio.sleep(self._rng.random() / 200)
        finals = [float(index % 2) for index in range(len(texts))]
        return [Score(Verdict.OK if final else Verdict.WRONG, final, [], []) for final in finals]

    def broadcast(self, method, *arguments):
        async def results(return_exceptions):
            if method == "update_weights":
                self.version = arguments[1]
            return [await self._generate(*arguments) if method == "generate" else self.load]

        return SimpleNamespace(results_async=results)


@pytest.fixture
def streams(tmp_path, tiny_model, monkeypatch):
    """Makes streams over the same twelve problems, outside of any actor."""
    monkeypatch.setattr("cluster.experience.stream._was_replaced", lambda: False)
    code = "def f(a):\n    b = a\n    return b\n"
    problems = [Problem(f"p{index}", code, f"f({index})", code, [], str(index)) for index in range(12)]
    run = RunFolder(tmp_path)
    for split in ("rl", "heldout"):
        write_split(run.split(split), problems)

    def make(seed=0, max_staleness=0, in_flight=None, adaptive=False):
        pools = Pools(seed)
        settings = PolicySettings(
            steps=STEPS, groups=GROUPS, group_size=SIZE, max_staleness=max_staleness, algorithm="terminal", max_tokens=16
        )
        job = StreamJob(
            name="n", run_folder=tmp_path, stage="rl", model_folder=str(tiny_model), rollout=pools, reward=pools,
            settings=settings, seed=1, token_budget=64, packing=True, max_length=512, sync_deadline_s=5, in_flight=in_flight,
            adaptive=adaptive, evaluation=EvaluationSettings(), applications={}, loggers=[], shown={},
            autoscaling=Autoscaling(
                "n", "", run.scalings, ClusterSettings(), RolloutSettings(), RewardSettings(), max_staleness > 0
            ),
        )  # fmt: skip
        return ExperienceStream(job), pools

    return make


@asynccontextmanager
async def untold(stream):
    """Without what shows Ray Serve's state: there is none here."""
    beside = [stream._adapt()] if stream._job.adaptive else [asyncio.sleep(0)]
    stream._watching = [asyncio.create_task(work) for work in beside]
    yield
    for task in (*stream._watching, *stream._batches.values()):
        task.cancel()


def learned(stream):
    """Takes every batch as a learner would; for each its tokens and metrics."""

    async def run():
        found = []
        async with untold(stream), asyncio.timeout(60):
            await stream.sync("weights", 0)
            for step in range(STEPS):
                share = await stream.batch(step, 0, 1)
                examples = [one for part in share.mini_batches for cut in part.micro_batches for one in cut]
                found.append(([(one.prompt_ids, one.response_ids, one.advantages) for one in examples], share.metrics))
                # Long enough for the next batch to be sampled, were that allowed.
                await asyncio.sleep(0.03)
                await stream.sync("weights", step + 1)
        return found

    return asyncio.run(run())


def test_on_policy_every_batch_is_sampled_by_the_policy_it_trains(streams):
    stream, pools = streams()
    batches = learned(stream)
    assert pools.begun == [step for step in range(STEPS) for _ in range(GROUPS)]
    assert [metrics["staleness"] for _, metrics in batches] == [0] * STEPS


@pytest.mark.parametrize("most", [1, 2])
def test_overlapped_a_batch_is_begun_as_early_as_it_may(streams, most):
    stream, pools = streams(max_staleness=most)
    batches = learned(stream)
    assert pools.begun == [max(step - most, 0) for step in range(STEPS) for _ in range(GROUPS)]
    assert [metrics["staleness"] for _, metrics in batches] == [min(step, most) for step in range(STEPS)]
    assert all(len(examples) == GROUPS * SIZE for examples, _ in batches)


def test_the_order_in_which_groups_finish_changes_nothing(streams):
    first, again = (learned(streams(seed)[0]) for seed in (1, 2))
    assert [examples for examples, _ in first] == [examples for examples, _ in again]


def test_samples_that_are_too_old_are_left_out_and_the_learner_goes_on(streams):
    stream, pools = streams()
    pools.lags = 1

    async def run():
        async with untold(stream), asyncio.timeout(60):
            stream._version = 0
            return await stream.batch(0, 0, 1)

    share = asyncio.run(run())
    assert share.metrics["masked"] == GROUPS * SIZE
    assert [part.micro_batches for part in share.mini_batches] == [[[]]]


def test_no_more_groups_fly_than_may(streams):
    stream, pools = streams(in_flight=2, max_staleness=2)
    learned(stream)
    assert pools.most == 2
    assert stream._flight.now == 0


def test_crowded_engines_get_fewer_groups_and_idle_ones_more(streams, monkeypatch):
    monkeypatch.setattr("cluster.experience.stream._LOOK_EVERY_S", 0.001)
    limits = {}
    for load in (Load(8, 9, 0.5), Load(8, 0, 0.1)):
        stream, pools = streams(in_flight=2, adaptive=True, max_staleness=2)
        pools.load = load
        learned(stream)
        limits[load.waiting] = stream._flight.limit
    assert limits[9] == 1
    assert limits[0] > 2
