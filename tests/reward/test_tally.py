"""Counts of runs, and what is told of them."""

import inspect

import pytest

from reward.meter import GAUGES, Meter
from reward.programs import Execution
from reward.tally import Tally
from rl.verdicts import Verdict


def test_runs_are_counted_by_verdict_and_time():
    tally = Tally()
    assert (tally.executions(), tally.latencies_ms()) == ({}, {})
    tally.count(Execution(Verdict.TIMEOUT), 5.0)
    assert tally.latencies_ms() == {}
    for milliseconds in range(100):
        tally.count(Execution(Verdict.OK), milliseconds / 1000)
    assert tally.executions() == {"ok": 100, "timeout": 1}
    assert tally.latencies_ms() == {"p50_ms": pytest.approx(50), "p99_ms": pytest.approx(99)}


def test_only_the_last_runs_tell_the_time():
    tally = Tally()
    for seconds in (9.0, *[1.0] * 2000):
        tally.count(Execution(Verdict.OK), seconds)
    assert tally.latencies_ms() == {"p50_ms": 1000, "p99_ms": 1000}
    assert tally.executions() == {"ok": 2001}


def test_what_runs_and_what_waits_are_told_apart():
    told = set(inspect.signature(Meter.tell).parameters) - {"self"}
    assert told | {"p50_ms", "p99_ms"} == set(GAUGES)
    assert {"in_flight", "queued"} <= told
