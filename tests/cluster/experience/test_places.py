"""How a place of a batch is filled: groups without signal, groups that are lost, and pools that are gone."""

import asyncio
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.experience.collection import PoolUnresponsive
from cluster.experience.places import Reserve, capacity, fill
from rl.problems import Problem
from tests.cluster.experience.test_experience import FAULTS, MIXED, RIGHT, WRONG

LATE = PoolUnresponsive("no answer within 5 s")


def problems(*names):
    return [Problem(name, "", "", "", [], "") for name in names]


def filled(outcomes, resample=0, reserve="bcdefghijklm"):
    """What comes of a place whose problems have these outcomes by turns, who was asked, and what was told."""
    asked, told, outcomes = [], [], iter(outcomes)

    async def collect(problem):
        asked.append(problem.id)
        outcome = next(outcomes)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    found = asyncio.run(fill(*problems("a"), problems(*reserve), collect, resample, told.append))
    return found, "".join(asked), told


def test_an_idle_group_gives_its_place_to_another_problem():
    found, asked, told = filled([RIGHT, WRONG, MIXED], resample=3)
    assert (found.group, found.gave_way, found.lost) == (MIXED, [RIGHT, WRONG], 0)
    assert (asked, told) == ("abc", [])


def test_what_comes_after_the_last_round_or_the_last_problem_stays():
    assert filled([RIGHT])[0].group == RIGHT
    assert filled([RIGHT, WRONG, RIGHT], resample=2)[0].group == RIGHT
    found, asked, _ = filled([RIGHT, WRONG], resample=9, reserve="b")
    assert (found.group, found.gave_way, asked) == (WRONG, [RIGHT], "ab")


@pytest.mark.parametrize(("lost", "why"), [(LATE, "no answer within 5 s"), (FAULTS, "fewer than two of its responses")])
def test_a_lost_group_gives_its_place_also_where_idle_ones_keep_theirs(lost, why):
    found, asked, told = filled([lost, lost, RIGHT])
    assert (found.group, found.lost, asked) == (RIGHT, 2, "abc")
    assert [line.partition(": ")[0] for line in told] == ["the group of problem a", "the group of problem b"]
    assert all(why in line for line in told)


def test_lost_and_idle_groups_are_counted_apart():
    found, asked, _ = filled([LATE, RIGHT, FAULTS, WRONG, MIXED], resample=2)
    assert (found.group, found.gave_way, found.lost, asked) == (MIXED, [RIGHT, FAULTS, WRONG], 2, "abcde")


def test_where_no_other_problem_is_left_a_lost_one_is_asked_again():
    found, asked, _ = filled([LATE, FAULTS, MIXED], reserve="")
    assert (found.group, asked) == (MIXED, "aaa")


def test_group_after_group_lost_is_an_end():
    with pytest.raises(PoolUnresponsive, match="no answer within 5 s"):
        filled([LATE] * 9)
    found, asked, _ = filled([FAULTS] * 9)
    assert (found.group, found.lost, asked) == (FAULTS, 3, "abc")


@given(st.lists(st.sampled_from([MIXED, RIGHT, FAULTS, LATE]), min_size=30), st.integers(0, 9), st.integers(0, 12))
def test_a_place_comes_to_an_end_and_nobody_is_asked_twice_while_others_are_left(outcomes, resample, left):
    try:
        found, asked, _ = filled(outcomes, resample, "bcdefghijklm"[:left])
    except PoolUnresponsive:
        return
    assert len(asked) <= 1 + resample + 3
    assert len(set(asked)) == min(len(asked), 1 + left)
    assert len(found.gave_way) <= resample + 2


@given(st.integers(1, 6), st.integers(0, 20), st.integers())
def test_places_have_problems_of_their_own_in_reserve_all_together_what_is_left(places, left, seed):
    everything = problems(*map(str, range(places + left)))
    reserve = Reserve(everything, everything[:places], str(seed))
    mine = [[problem.id for problem in reserve.of(place)] for place in range(places)]
    assert sorted(chain.from_iterable(mine)) == sorted(problem.id for problem in everything[places:])
    again = Reserve(everything, everything[:places], str(seed))
    assert [[problem.id for problem in again.of(place)] for place in reversed(range(places))] == mine[::-1]


def test_the_seed_draws_the_order_and_only_when_it_is_needed():
    everything = problems(*map(str, range(30)))
    firsts = {next(Reserve(everything, everything[:1], str(seed)).of(0)).id for seed in range(20)}
    assert len(firsts) > 5
    untouched = Reserve(everything, everything[:1], "1")
    untouched.of(0)
    assert "_order" not in vars(untouched)


def test_the_room_there_is_by_hand():
    assert [capacity(version, 0, 4) for version in (-1, 0, 1)] == [0, 4, 8]
    assert capacity(3, 2, 4) == 24
