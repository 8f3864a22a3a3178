"""How many groups are in flight follows the engines, and nobody waits for ever."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.experience.flight import Flight, first_in_flight
from rollout.settings import Load, RolloutSettings

IDLE, BUSY = Load(running=0, waiting=0, cache=0.0), Load(running=8, waiting=0, cache=0.5)
CROWDED, FULL = Load(running=8, waiting=9, cache=0.5), Load(running=8, waiting=0, cache=0.95)
QUEUED, TIGHT = Load(running=8, waiting=3, cache=0.5), Load(running=8, waiting=0, cache=0.8)


def after(loads, limit=8, waits=True):
    """The limit after one look at the engines, with or without groups that wait for a place."""

    async def run():
        flight = Flight(limit)
        tasks = [asyncio.create_task(flight.turn(0).__aenter__()) for _ in range(limit + waits)]
        await asyncio.sleep(0)
        flight.adjust(loads)
        for task in tasks:
            task.cancel()
        return flight.limit

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("loads", "waits", "limit"),
    [
        ([BUSY], True, 9),
        ([BUSY, IDLE, BUSY], True, 11),
        ([BUSY], False, 8),
        ([QUEUED], True, 8),
        ([TIGHT], True, 8),
        ([CROWDED], True, 6),
        ([FULL], False, 6),
        ([IDLE, IDLE, FULL], True, 6),
    ],
)
def test_one_look_by_hand(loads, waits, limit):
    assert after(loads, 8, waits) == limit


def test_one_group_may_always_fly():
    assert after([FULL], limit=1) == 1


@given(st.lists(st.sampled_from([IDLE, BUSY, CROWDED, FULL, None]), max_size=30), st.integers(1, 5), st.integers(1, 30))
def test_never_more_than_the_limit_and_everybody_gets_a_turn(looks, limit, groups):
    """None stands for a group that is cancelled, wherever it is."""

    async def run():
        flight, most, finished = Flight(limit), 0, 0

        async def group():
            nonlocal most, finished
            async with flight.turn(0):
                most = max(most, flight.now)
                await asyncio.sleep(0)
            finished += 1

        tasks = [asyncio.create_task(group()) for _ in range(groups)]
        highest, cancelled = limit, 0
        for look in looks:
            await asyncio.sleep(0)
            if look is not None:
                flight.adjust([look])
            else:
                cancelled += tasks[cancelled % groups].cancel()
            highest = max(highest, flight.limit)
        async with asyncio.timeout(5):
            await asyncio.gather(*tasks, return_exceptions=True)
        assert flight.now == 0
        assert most <= highest
        assert finished >= groups - cancelled

    asyncio.run(run())


def test_a_cancelled_turn_goes_to_the_next():
    async def run():
        flight = Flight(1)
        present = flight.turn(0)
        await present.__aenter__()
        first, second = (asyncio.create_task(flight.turn(0).__aenter__()) for _ in range(2))
        await asyncio.sleep(0)
        await present.__aexit__(None, None, None)
        # The first has been given the place and has not run since.
        first.cancel()
        async with asyncio.timeout(5):
            await second
        assert flight.now == 1

    asyncio.run(run())


@pytest.mark.parametrize(("in_flight", "groups"), [(None, None), (3, 3), ("adaptive", 2 * 20 // 8)])
def test_it_begins_with_as_many_as_the_engines_decode_at_a_time(in_flight, groups):
    assert first_in_flight(RolloutSettings(in_flight=in_flight, replicas=2, max_sequences=20), group_size=8) == groups


def test_a_group_larger_than_an_engine_flies_too():
    assert first_in_flight(RolloutSettings(in_flight="adaptive", max_sequences=4), group_size=8) == 1


def test_the_earliest_batch_goes_first_then_who_came_first():
    async def run():
        flight, order = Flight(1), []

        async def group(batch, name):
            async with flight.turn(batch):
                order.append(name)
                await asyncio.sleep(0)

        names = [(2, "c"), (2, "d"), (1, "b"), (3, "e"), (0, "a")]
        async with flight.turn(9):
            tasks = [asyncio.create_task(group(*one)) for one in names]
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(run()) == list("abcde")
