"""A replica that starts late, or beside an update, answers with the weights that are wanted."""

import asyncio

import pytest
import torch

import rollout.deployment
from rl.published_weights import point, publish
from rollout.deployment import RolloutWorker
from rollout.engine import Sampling, SyncDeadline
from rollout.settings import RolloutSettings

SAMPLING = Sampling(samples=1, temperature=1.0, max_tokens=1, stop_token_id=0, seed=0, logprobs=False)


class Engine:
    """Tells which weights it has; loads slowly, and never two at a time."""

    def __init__(self, *_):
        self.version, self.loaded, self.loading = -1, [], False

    async def start(self, version):
        self.version = version

    async def update_weights(self, path, version):
        assert not self.loading
        if version == 13:
            raise SyncDeadline("too slow")
        self.loading = True
        await asyncio.sleep(0.01)
        self.loading = False
        self.loaded.append(version)
        self.version = version

    async def generate(self, prompt_ids, sampling):
        return [self.version]


@pytest.fixture
def worker(tmp_path, monkeypatch):
    monkeypatch.setattr(rollout.deployment, "Engine", Engine)
    return RolloutWorker("pool", "model", str(tmp_path), RolloutSettings(), 0)


def published(folder, version):
    return str(publish(folder, version, {"w": torch.zeros(1)}))


def test_it_starts_with_the_newest(worker, tmp_path):
    published(tmp_path, 4)
    assert asyncio.run(worker.generate([1], SAMPLING)) == [4]


def test_one_that_missed_an_update_takes_it_when_it_is_asked_for_it(worker, tmp_path):
    async def ask():
        published(tmp_path, 4)
        first = await worker.generate([1], SAMPLING, 4)
        published(tmp_path, 5)
        unasked = await worker.generate([1], SAMPLING)
        return first, unasked, await asyncio.gather(*(worker.generate([1], SAMPLING, 5) for _ in range(3)))

    assert asyncio.run(ask()) == ([4], [4], [[5]] * 3)
    assert worker._engine.loaded == [4, 5], "once for all that wait for it"


def test_one_that_is_ahead_stays_there(worker, tmp_path):
    async def ask():
        published(tmp_path, 7)
        return await worker.generate([1], SAMPLING, 6)

    assert asyncio.run(ask()) == [7]
    assert worker._engine.loaded == [7]


def test_weights_that_are_measured_are_wanted_too_and_those_of_training_come_back(worker, tmp_path):
    async def ask():
        published(tmp_path, 80)
        await worker.generate([1], SAMPLING, 80)
        point(tmp_path, tmp_path / "model.safetensors", 1_000_000_000)
        measured = await worker.generate([1], SAMPLING, 1_000_000_000)
        published(tmp_path, 0)
        return measured, await worker.generate([1], SAMPLING, 0)

    assert asyncio.run(ask()) == ([1_000_000_000], [0])


def test_an_update_and_a_late_question_do_not_load_at_once(worker, tmp_path):
    async def ask():
        await worker.generate([1], SAMPLING)
        path = published(tmp_path, 3)
        return await asyncio.gather(worker.update_weights(path, 3), worker.generate([1], SAMPLING, 3))

    assert asyncio.run(ask()) == [3, [3]]


def test_one_that_loads_too_slowly_turns_unhealthy(worker, tmp_path):
    async def ask():
        await worker.generate([1], SAMPLING)
        published(tmp_path, 13)
        with pytest.raises(SyncDeadline):
            await worker.generate([1], SAMPLING, 13)
        with pytest.raises(RuntimeError, match="too slow"):
            await worker.check_health()

    asyncio.run(ask())
