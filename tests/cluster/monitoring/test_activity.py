"""Phases counted with a clock of our own."""

import pytest

from cluster.monitoring.activity import PHASES, Account, Activity


class Clock:
    def __init__(self):
        self.time = 0.0

    def __call__(self):
        return self.time


def test_a_phase_is_busy_while_anyone_is_in_it_and_counts_once():
    clock = Clock()
    activity = Activity(clock)
    activity.begin("generating")
    clock.time = 2.0
    with activity.during("generating"):
        assert activity.now["generating"] == 2
        clock.time = 3.0
    clock.time = 5.0
    assert activity.seconds()["generating"] == 5.0
    activity.end("generating")
    clock.time = 9.0
    assert activity.seconds() == {**dict.fromkeys(PHASES, 0.0), "generating": 5.0}
    assert set(activity.now.values()) == {0}


def test_a_phase_ends_with_what_fails_in_it():
    activity = Activity(Clock())
    with pytest.raises(KeyError), activity.during("scoring"):
        raise KeyError
    assert activity.now["scoring"] == 0


def test_an_account_adds_up_what_each_spent_there():
    clock = Clock()
    activity = Activity(clock)
    clock.time = 1.0
    activity.begin("scoring")
    clock.time = 2.0
    with activity.during("scoring"):
        clock.time = 5.0
    clock.time = 6.0
    # One from second 1 on, another from 2 to 5: busy for 5 seconds, 8 between them, and one has left.
    assert activity.accounts()["scoring"] == Account(5.0, 8.0, 1)
    activity.end("scoring")
    clock.time = 60.0
    assert activity.accounts() == {**dict.fromkeys(PHASES, Account()), "scoring": Account(5.0, 8.0, 2)}
