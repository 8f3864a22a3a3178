"""Looks at a run, and the load that follows from them, by hand."""

import pytest

from cluster.monitoring.activity import Account
from cluster.scaling.policy import RewardLoad, RolloutLoad
from cluster.scaling.sights import Sight, Sights, reward_load, rollout_load

NOTHING = Account()


def sight(at, updates=0, kv_cache=None, **phases):
    return Sight(at, updates, {"waiting": NOTHING, "generating": NOTHING, "scoring": NOTHING, **phases}, kv_cache)


def times(looks):
    return [look.at for look in looks]


def test_a_while_is_the_shortest_that_is_long_enough():
    sights = Sights(longest_s=30)
    for at in range(0, 100, 5):
        sights.add(sight(float(at)), (1, 1))
    assert times(sights.last(12)) == [80, 85, 90, 95]
    assert times(sights.last(30)) == [65, 70, 75, 80, 85, 90, 95]
    assert sights.last(31) == [], "what no while needs is not kept"


def test_a_while_has_updates_in_it():
    sights = Sights(longest_s=10, updates=2)
    for at in range(0, 100, 5):
        sights.add(sight(float(at), updates=at // 40), (1, 1))
    assert times(sights.last(10))[0] == 35, "updates came at 40 and 80"


def test_a_while_begins_anew_with_another_size():
    sights = Sights(longest_s=10)
    for at, size in ((0, (1, 1)), (10, (1, 1)), (15, (2, 1)), (20, (2, 2)), (25, (2, 2))):
        sights.add(sight(float(at)), size)
    assert sights.last(10) == []
    sights.add(sight(30.0), (2, 2))
    assert times(sights.last(10)) == [20, 25, 30]


def test_the_reward_pools_load():
    looks = [sight(0.0, scoring=Account(10, 40, 8)), sight(5.0), sight(20.0, scoring=Account(14, 60, 13))]
    # In 4 busy seconds 5 groups were done, which spent 20 seconds there between them.
    assert reward_load(looks) == RewardLoad(in_flight=5.0, latency_s=4.0)
    assert reward_load([looks[0], looks[0]]) is None
    assert reward_load([]) is None


def test_the_rollout_pools_load():
    before = sight(0.0, kv_cache=0.99, waiting=Account(1, 1, 1), generating=Account(5, 5, 5))
    after = sight(20.0, waiting=Account(11, 11, 2), generating=Account(13, 53, 13), scoring=Account(2, 16, 8))
    looks = [before, sight(5.0, kv_cache=0.3), sight(10.0, kv_cache=0.2), sight(15.0), after]
    load = rollout_load(looks)
    # It waited for 10 s of 20; of every 4 groups 3 were being generated meanwhile. Full engines before do not count.
    assert load == RolloutLoad(waiting=pytest.approx(0.375), generating=pytest.approx(0.4), in_flight=6.0, kv_cache=0.3)
    assert rollout_load([before, before]) is None
    assert rollout_load([]) is None
    assert rollout_load([before, sight(20.0, generating=Account(6, 7, 6))]).kv_cache is None
