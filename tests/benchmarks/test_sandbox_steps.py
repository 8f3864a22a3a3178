"""The steps of a run are timed in a zygote's likeness, in the order in which they add up."""

import subprocess

import pytest

import benchmarks.sandbox


def test_every_step_takes_time(monkeypatch):
    monkeypatch.setattr(benchmarks.sandbox, "_FORKS", 20)
    found = benchmarks.sandbox._steps_ms("nons")
    assert list(found) == ["fork and end", "process namespace", "layers", "empty program"]
    assert min(found.values()) > 0
    assert found["empty program"] > found["fork and end"]


def test_a_level_that_is_none_is_an_error():
    with pytest.raises(subprocess.CalledProcessError):
        benchmarks.sandbox._steps_ms("most")
