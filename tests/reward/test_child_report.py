"""What a child says is read with distrust."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward.report import Report, read
from rl.verdicts import Verdict

GOOD = {"verdict": "ok", "value": "1", "type_name": "int", "exception": None, "states": ["x: 1"]}


def raw(**changes: object) -> bytes:
    return json.dumps(GOOD | changes).encode()


def test_a_good_report():
    assert read(raw(), 10, True) == Report(Verdict.OK, "1", "int", None, ("x: 1",))


def test_a_value_is_told_where_one_was_asked_for_and_only_there():
    without = raw(value=None, type_name=None)
    assert read(without, 10, False) == Report(Verdict.OK, None, None, None, ("x: 1",))
    assert read(without, 10, True) is None
    assert read(raw(), 10, False) is None


@pytest.mark.parametrize(
    "forged",
    [
        b"",
        b"FORGED",
        raw()[:-1],
        raw() + raw(),
        b"FORGED" + raw(),
        b"\xff" + raw(),
        b"[" * 100_000,
        b"1e999",
        b"NaN",
        b"9" * 5000,
        json.dumps([GOOD]).encode(),
        json.dumps(GOOD | {"more": 1}).encode(),
        json.dumps({"verdict": "ok"}).encode(),
        raw(verdict="sandbox_error"),
        raw(verdict="wrong"),
        raw(verdict=1),
        raw(verdict=["ok"]),
        raw(value=1),
        raw(value=float("nan")),
        raw(value=None),
        raw(type_name=None),
        raw(exception="ValueError"),
        raw(verdict="exception", exception="ValueError"),
        raw(verdict="exception", value=None, type_name=None),
        raw(verdict="output_limit", value=None, type_name=None, exception="E"),
        raw(value="x" * 11),
        raw(type_name={"a": 1}),
        raw(type_name="x" * 1001),
        raw(exception=[]),
        raw(exception="x" * 3001),
        raw(states="x: 1"),
        raw(states=[1]),
        raw(states=["x"] * 1001),
        raw(states=["x" * 6, "x" * 6]),
    ],
)
def test_anything_else_is_no_report(forged):
    assert read(forged, 10, True) is None


@given(st.binary())
def test_no_bytes_raise(data):
    assert read(data, 10, True) is None


@given(st.lists(st.text()), st.text())
def test_any_text_comes_through(states, value):
    report = read(raw(states=states, value=value), 10**6, True)
    assert report is not None
    assert (report.states, report.value) == (tuple(states), value)
