"""A reward worker by itself, without Serve around it."""

import asyncio
import time
from types import SimpleNamespace

import pytest
from ray import serve

from reward import deployment
from reward.deployment import RewardWorker
from reward.programs import Program
from reward.settings import RewardSettings
from rl.verdicts import Verdict

NAP = Program("import time\ntime.sleep(0.3)", "1")


@pytest.fixture
def within(monkeypatch):
    """Runs a coroutine function with a worker of one sandbox."""
    context = SimpleNamespace(replica_id=SimpleNamespace(unique_id="one"))
    monkeypatch.setattr(serve, "get_replica_context", lambda: context)

    def run(work):
        async def with_a_worker():
            worker = RewardWorker("alone", RewardSettings(slots=1, wall_s=1))
            try:
                return await asyncio.wait_for(work(worker), 60)
            finally:
                worker._telling.cancel()
                worker._threads.shutdown()

        return asyncio.run(with_a_worker())

    return run


def test_what_nobody_waits_for_any_more_is_not_run(within):
    async def hang_up(worker) -> float:
        call = asyncio.ensure_future(worker.execute([NAP] * 20))
        await asyncio.sleep(0.1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        began = time.monotonic()
        (execution,) = await worker.execute([Program("", "2")])
        assert execution.value == "2"
        return time.monotonic() - began

    assert within(hang_up) < 2


def test_a_backlog_is_no_illness(within, monkeypatch):
    monkeypatch.setattr(deployment, "_HEALTH_S", 0.5)

    async def ask_in_between(worker) -> list[Verdict]:
        call = asyncio.ensure_future(worker.execute([NAP] * 5))
        while not call.done():
            await worker.check_health()
            await asyncio.sleep(0.1)
        return [execution.verdict for execution in await call]

    assert within(ask_in_between) == [Verdict.OK] * 5


def test_sandboxes_that_fail_under_a_backlog_are_ill(within, monkeypatch):
    monkeypatch.setattr(deployment, "_HEALTH_S", 0.2)

    async def wait_for_it(worker) -> None:
        worker._longest_s = 0.1
        call = asyncio.ensure_future(worker.execute([NAP] * 3))
        await asyncio.sleep(0.1)
        worker._metered.worked_at -= 1
        with pytest.raises(TimeoutError):
            await worker.check_health()
        call.cancel()

    within(wait_for_it)
