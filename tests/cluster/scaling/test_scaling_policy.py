"""The policies: cases by hand, what always holds, and pools in a world whose load is the same for ever."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.scaling.policy import (
    SLACK,
    RewardLoad,
    RewardRule,
    RolloutLoad,
    RolloutRule,
    Size,
    reward_decision,
    rollout_decision,
    waiting_at,
)

REWARD = RewardRule(in_flight=16, latency_s=5, slots=1)
ROLLOUT = RolloutRule(waiting=0.3, kv_cache=0.9, samples_ahead=False)
AHEAD = RolloutRule(waiting=0.3, kv_cache=0.9, samples_ahead=True)


def size(replicas, least=1, most=100):
    return Size(replicas, replicas, least, most)


def outcome(decision):
    return None if decision is None else (decision.replicas, decision.cause)


@pytest.mark.parametrize(
    ("replicas", "in_flight", "latency_s", "expected"),
    [
        (2, 33, 1, (3, "queue")),  # 16.5 each; 11 each with three.
        (2, 32, 1, None),  # Exactly what they may have.
        (2, 500, 1, (4, "queue")),  # At most the double at a time.
        (2, 10, 12, (4, "latency")),  # 12 s at 2 are 8 at 3 and 6 at 4, where doubling ends.
        (4, 10, 6, (5, "latency")),  # 6 s at 4 are 4.8 at 5.
        (4, 4, 60, None),  # Nobody waits for another: programs are slow, not the pool.
        (4, 20, 0.1, (2, "idle")),  # 10 each with two are less than 0.7 of 16; by half at most.
        (3, 33, 0.1, None),  # 16.5 each with two.
        (3, 23, 0.1, None),  # 11.5 each with two: too near to 16.
        (3, 22, 0.1, (2, "idle")),  # 11 each with two, below 0.7 of 16; 22 with one.
        (2, 2, 4, None),  # With one they would wait for one another, for 8 s.
        (1, 0.5, 0.1, None),
    ],
)
def test_the_reward_pool_goes_by_its_queue_and_its_latency(replicas, in_flight, latency_s, expected):
    assert outcome(reward_decision(size(replicas), RewardLoad(in_flight, latency_s), REWARD)) == expected


@pytest.mark.parametrize(
    ("replicas", "load", "rule", "expected"),
    [
        # Half the time waiting, half training: at 3 it is 0.33 / 0.83 = 40 %, at 4 0.25 / 0.75 = 33 %, where doubling ends.
        (2, RolloutLoad(0.5, 0.5, 64, 0.2), ROLLOUT, (4, "waiting")),
        # 0.4 at 4 are 0.32 at 5 and 0.267 at 6, of cycles of 0.92 and 0.867: 34.8 % and 30.8 %; at 7 27.6 %.
        (4, RolloutLoad(0.4, 0.4, 64, 0.2), ROLLOUT, (7, "waiting")),
        (4, RolloutLoad(0.3, 0.3, 64, 0.2), ROLLOUT, None),
        # One group: another replica would have none.
        (1, RolloutLoad(0.9, 0.9, 1, 0.2), ROLLOUT, None),
        (2, RolloutLoad(0.9, 0.9, 3, 0.2), ROLLOUT, (3, "waiting")),
        # Engines are full and the learner waits a little: 0.99 at 10 are 0.9 at 11.
        (10, RolloutLoad(0.1, 0.9, 64, 0.99), AHEAD, (11, "kv_cache")),
        # The learner does not wait: what engines do about their memory is their business.
        (10, RolloutLoad(0.0, 0.9, 64, 0.99), AHEAD, None),
        # It never waits, and half the engines keep up beside it; on policy their time would be waited for.
        (4, RolloutLoad(0.0, 0.5, 64, 0.1), AHEAD, (2, "idle")),
        (4, RolloutLoad(0.1, 0.1, 64, 0.1), ROLLOUT, (2, "idle")),
        (4, RolloutLoad(0.2, 0.2, 64, 0.1), ROLLOUT, None),
        (2, RolloutLoad(0.0, 0.5, 64, 0.4), AHEAD, None),  # 0.8 of the cache with one, beyond 0.63.
        (4, RolloutLoad(0.0, 0.5, 64, None), AHEAD, None),  # Who knows how full they would be?
        (2, RolloutLoad(0.5, 0.5, 64, None), ROLLOUT, (4, "waiting")),
    ],
)
def test_the_rollout_pool_goes_by_the_learners_waiting_and_its_memory(replicas, load, rule, expected):
    assert outcome(rollout_decision(size(replicas), load, rule)) == expected


def test_a_decision_says_why():
    grown = rollout_decision(size(2), RolloutLoad(0.5, 0.5, 64, 0.25), ROLLOUT)
    assert grown.reason == (
        "the learner waited for responses 50% of the time (limit 30%), 64.0 groups at 2, KV cache 25% (limit 90%)"
    )
    scored = reward_decision(size(2), RewardLoad(40, 1.5), REWARD)
    assert scored.reason == "40.0 groups at 2 (limit 16 each), 1.50 s a group (limit 5 s)"


def test_bounds_hold_and_bring_back_what_is_outside():
    busy, idle = RewardLoad(500, 1), RewardLoad(0.1, 0.1)
    assert outcome(reward_decision(size(4, most=5), busy, REWARD)) == (5, "queue")
    assert reward_decision(size(5, most=5), busy, REWARD) is None
    assert outcome(reward_decision(size(4, least=3), idle, REWARD)) == (3, "idle")
    assert reward_decision(size(3, least=3), idle, REWARD) is None
    assert outcome(reward_decision(size(9, most=5), busy, REWARD)) == (5, "bounds")
    assert outcome(reward_decision(size(1, least=3), idle, REWARD)) == (3, "bounds")


def test_none_grows_while_the_last_growth_is_on_its_way_but_it_may_be_taken_back():
    starting = Size(wanted=4, running=2, least=1, most=100)
    assert reward_decision(starting, RewardLoad(500, 1), REWARD) is None
    assert outcome(reward_decision(starting, RewardLoad(20, 0.1), REWARD)) == (2, "idle")
    assert rollout_decision(starting, RolloutLoad(0.9, 0.9, 64, 1.0), ROLLOUT) is None


SHARES = st.floats(0, 1)
SIZES = st.builds(
    lambda wanted, running, least, room: Size(wanted, running, least, least + room),
    st.integers(1, 1000), st.integers(0, 1000), st.integers(1, 50), st.integers(0, 1000),
)  # fmt: skip
REWARD_LOADS = st.builds(RewardLoad, st.floats(0, 1e5), st.floats(0, 1e4))
REWARD_RULES = st.builds(RewardRule, st.floats(0.1, 100), st.floats(0.01, 100), st.integers(1, 16))
ROLLOUT_LOADS = st.builds(RolloutLoad, SHARES, SHARES, st.floats(0, 1e4), st.none() | SHARES)
ROLLOUT_RULES = st.builds(RolloutRule, st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.booleans())
DECISIONS = st.one_of(
    st.tuples(st.just(reward_decision), SIZES, REWARD_LOADS, REWARD_RULES),
    st.tuples(st.just(rollout_decision), SIZES, ROLLOUT_LOADS, ROLLOUT_RULES),
)


@given(DECISIONS)
def test_no_size_is_outside_the_bounds_nor_the_one_that_is_there(given):
    decide, size, load, rule = given
    decision = decide(size, load, rule)
    if decision is not None:
        assert size.least <= decision.replicas <= size.most
        assert decision.replicas != size.wanted
        if decision.cause != "bounds":
            assert math.ceil(size.wanted / 2) <= decision.replicas <= 2 * size.wanted
            assert (decision.replicas < size.wanted) == (decision.cause == "idle")


@given(DECISIONS)
def test_nothing_is_decided_about_what_nobody_saw(given):
    decide, size, load, rule = given
    assert decide(size, None, rule) is None
    assert decide(Size(size.wanted, 0, size.least, size.most), load, rule) is None


def history(decide, start, world, rule, noise=()):
    """The sizes that a pool has, one after another, in a world that tells the load at each."""
    sizes = [start.wanted]
    for place in range(60):
        now = sizes[-1]
        load = world(now, noise[place % len(noise)] if noise else 1.0)
        decision = decide(Size(now, now, start.least, start.most), load, rule)
        if decision is None and not noise:
            return sizes
        sizes.append(now if decision is None else decision.replicas)
    return sizes


def turns(sizes):
    """How often they stop growing to shrink, or the other way round."""
    ways = [after > before for before, after in itertools.pairwise(sizes) if after != before]
    return sum(first != second for first, second in itertools.pairwise(ways))


BOUNDED = st.builds(
    lambda least, room, start: Size(min(start, least + room), 0, least, least + room),
    st.integers(1, 8), st.integers(0, 400), st.integers(8, 300),
)  # fmt: skip


@given(BOUNDED, st.floats(0.5, 2000), st.floats(0.01, 20), REWARD_RULES)
def test_the_reward_pool_finds_one_size_for_a_load_and_keeps_it(start, groups, service_s, rule):
    def world(replicas, _):
        """So many groups at a time, always: each waits for those before it."""
        return RewardLoad(groups, service_s * max(1.0, groups / (replicas * rule.slots)))

    sizes = history(reward_decision, start, world, rule)
    assert len(sizes) < 60, "it never rests"
    assert turns(sizes) == 0


@given(BOUNDED, st.floats(1, 500), st.floats(0.01, 100), st.floats(0.0, 1.0), ROLLOUT_RULES)
def test_the_rollout_pool_finds_one_size_for_a_load_and_keeps_it(start, groups, work, memory, rule):
    """The learner trains for 1 s a batch; one replica generates it in `work` seconds, in so much of a replica's memory."""

    def world(replicas, _):
        generating = work / min(replicas, groups)
        cycle = max(1.0, generating) if rule.samples_ahead else 1.0 + generating
        return RolloutLoad(1 - 1 / cycle, generating / cycle, groups, min(1.0, memory / replicas))

    sizes = history(rollout_decision, start, world, rule)
    assert len(sizes) < 60, "it never rests"
    assert turns(sizes) == 0


@given(BOUNDED, st.floats(1, 1000), st.lists(st.floats(0.86, 1.14), min_size=2, max_size=20))
def test_a_load_that_wavers_a_little_makes_no_pool_waver(start, groups, noise):
    """A growth followed by a fall of the load, or the other way round, must leave the band that is between them."""

    def world(replicas, factor):
        return RewardLoad(groups * factor, 0.01)

    assert turns(history(reward_decision, start, world, REWARD, noise)) == 0
    assert SLACK * 1.14 / 0.86 < 1


@given(st.integers(1, 64), ROLLOUT_LOADS, ROLLOUT_RULES)
def test_a_forecast_is_what_is_seen_where_nothing_changes_and_falls_with_every_replica(running, load, rule):
    assert waiting_at(running, running, load, rule) == pytest.approx(load.waiting)
    forecasts = [waiting_at(replicas, running, load, rule) for replicas in range(1, 130)]
    assert all(after <= before + 1e-9 for before, after in itertools.pairwise(forecasts))
    assert all(0 <= forecast <= 1 for forecast in forecasts)
