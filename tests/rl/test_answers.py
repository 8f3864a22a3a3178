"""Answers are parsed, never run, and compared with their exact types."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.answers import UnreadableAnswer, literal, literal_call, same, same_value_text

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.integers() | st.text(), inner),
    max_leaves=8,
)


@given(values)
def test_a_value_is_the_same_as_itself(value):
    assert same(value, value)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (True, 1),
        (1, 1.0),
        (0.0, -0.0),
        (0j, complex(0, -0.0)),
        (complex(-0.0, 1), complex(0.0, 1)),
        ({0.0}, {-0.0}),
        ([1], (1,)),
        ([True], [1]),
        ({1: 2}, {1: 2.0}),
        ({1: 2}, {True: 2}),
        ({1}, {True}),
        ("1", 1),
        (b"a", "a"),
        ({1: 2}, {1: 2, 3: 4}),
        ([1, 2], [2, 1]),
        (frozenset({1}), {1}),
    ],
)
def test_what_differs_in_type_or_value(left, right):
    assert not same(left, right)
    assert not same(right, left)


def test_nan_is_nan_and_order_of_keys_does_not_matter():
    assert same(float("nan"), float("nan"))
    assert same({1: 2, 3: 4}, {3: 4, 1: 2})
    assert same({1, 2}, {2, 1})
    assert same({float("nan"), 1}, {1, float("nan")})


def test_large_sets_and_dicts_are_compared_quickly():
    began = time.process_time()
    assert same(set(range(20_000)), set(range(20_000)))
    assert same({(key,): key for key in range(20_000)}, {(key,): key for key in reversed(range(20_000))})
    assert not same({key + 1: key for key in range(20_000)}, {key: key for key in range(20_000)})
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1 or True",
        "__import__('os')",
        "f(1)",
        "1; 2",
        "(" * 5000,
        "[" * 5000 + "]" * 5000,
        "-" * 100_000 + "1",
        "9" * 5000,
        "'" + "a" * 70_000 + "'",
        "\x00",
        "'\ud800'",
        "{[]: 1}",
        "lambda: 1",
    ],
)
def test_hostile_texts_are_refused_or_are_values(text):
    try:
        literal(text)
    except UnreadableAnswer:
        return
    assert text in ("'\ud800'",)


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("1, [2]", "f(1, [2])"),
        ("f(1, [2])", "f(1, [2])"),
        (" f( 1,[2] ) ", "f(1, [2])"),
        ("", "f()"),
        ("a=1", "f(a=1)"),
        ("(1, 2)", "f((1, 2))"),
        ("-1", "f(-1)"),
    ],
)
def test_an_input_is_one_call_with_literals(text, call):
    assert literal_call(text, "f") == call


@pytest.mark.parametrize(
    "text",
    [
        "f(1) or True",
        "f(1) if 0 else 2",
        "g(1)",
        "f(g(1))",
        "x",
        "*[1]",
        "**{'a': 1}",
        "f(1) # f(",
        "1) or f(2",
        "1), (2",
        "[x for x in [1]]",
        "f(1)(2)",
        "f",
    ],
)
def test_tricks_are_not_inputs(text):
    try:
        call = literal_call(text, "f")
    except UnreadableAnswer:
        return
    assert text == "f(1) # f("
    assert call == "f(1)"


@pytest.mark.parametrize(
    ("recorded", "output", "same"),
    [
        (' [1,"a"]\n', "[1, 'a']", True),
        ("{2, 1}", "{1, 2}", True),
        ("True", "1", False),
        ("1.0", "1", False),
        ("nan", "nan", True),
        ("[[", "[1]", False),
        ("-" * 5000 + "1", "-1", False),
    ],
)
def test_a_recorded_output_is_compared_as_a_value(recorded, output, same):
    assert same_value_text(recorded, output) is same
