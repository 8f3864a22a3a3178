"""Calls read off tests, and calls made by mutation."""

import ast
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.answers import literal_call
from rl.synthesis.calls import asserted_calls, defined_functions, mutated_calls


def test_only_module_level_functions_are_the_programs():
    assert defined_functions("def a():\n    def b(): pass\nclass C:\n    def d(self): pass\ndef e(): pass") == ["a", "e"]
    with pytest.raises(ValueError, match="line 1: not Python"):
        defined_functions("def")


TESTS = """
def check(candidate):
    assert candidate(1, [2.0, -3]) == 4, "told"
    assert candidate( 1,[2.0,-3] ) == 4
    assert abs(candidate('it"s', k={'a': (1,)}) - 1) < 1e-6
    for x in range(3):
        assert candidate(x) == x
        assert not candidate({3}, None)
    assert candidate(*[1]) == candidate([1] * 2)
    assert candidate(candidate(7)) == 7
    assert other(5)
    candidate(6)
"""


def test_calls_are_the_literal_ones_in_assertions():
    assert asserted_calls(TESTS, {"candidate": "f"}) == [
        "f(1, [2.0, -3])",
        "f('it\"s', k={'a': (1,)})",
        "f(7)",
        "f({3}, None)",
    ]
    assert asserted_calls(TESTS, {"other": "other"}) == ["other(5)"]
    with pytest.raises(ValueError, match="not Python"):
        asserted_calls("assert (", {})
    with pytest.raises(ValueError, match="not Python: "):
        asserted_calls("(" * 10_000, {})


@pytest.mark.parametrize(
    "call",
    [
        "f(x)",
        "f(*[1])",
        "f(**{'a': 1})",
        "f([1] * 3)",
        "f(b'a')",
        "f(1j)",
        "f(1e999)",
        "f(10 ** 3)",
        f"f(1{'0' * 400})",
        "f({1, 'a'})",
        "f({(1,)})",
        "f() + 1",
        "f(",
        "",
        "f()",
    ],
)
def test_what_the_rules_do_not_know_is_left_alone(call):
    assert mutated_calls(call, Random(1), 3) == []


def test_mutations_follow_one_another_and_keep_names():
    found = mutated_calls("g([1, 2], word='tea')", Random(1), 5)
    assert len(found) == 5
    assert found[:3] == mutated_calls("g([1, 2], word='tea')", Random(1), 3)
    assert len(set(found)) > 1
    for call in found:
        node = ast.parse(call, mode="eval").body
        assert [keyword.arg for keyword in node.keywords] == ["word"]
        assert isinstance(ast.literal_eval(node.args[0]), list)
        assert isinstance(ast.literal_eval(node.keywords[0].value), str)


ATOMS = st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6) | st.text(max_size=8)
HASHABLE = ATOMS | st.tuples(ATOMS, ATOMS)
VALUES = st.recursive(
    ATOMS | st.sets(st.integers(0, 9)) | st.sets(st.text(max_size=3)),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(HASHABLE, inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(VALUES, min_size=1, max_size=3), st.integers(0, 99))
def test_a_mutated_call_is_literal_and_of_the_same_types(values, seed):
    found = mutated_calls(f"f({', '.join(map(repr, values))})", Random(seed), 3)
    assert len(found) == 3
    for call in found:
        literal_call(call, "f")
        arguments = [ast.literal_eval(node) for node in ast.parse(call, mode="eval").body.args]
        assert sorted(str(type(value)) for value in arguments) == sorted(str(type(value)) for value in values)


def test_a_deeply_nested_argument_does_not_grow_at_every_level():
    call = f"f({'[' * 60}1, 2{']' * 60})"
    for seed in range(40):
        for further in mutated_calls(call, Random(seed), 2):
            assert len(further) < 100 * len(call)
