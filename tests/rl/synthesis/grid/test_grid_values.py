import ast
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.synthesis.grid import Parameter, inputs, mutate
from rl.synthesis.grid.values import literal

KINDS = {"int": int, "float": float, "str": str, "ints": list, "words": list, "tuple": tuple, "set": set, "dict": dict}
VALUES = st.one_of(
    st.integers(-50, 50),
    st.floats(-50, 50),
    st.text(max_size=12),
    st.booleans(),
    st.lists(st.integers(-50, 50), max_size=8),
    st.lists(st.text(max_size=5), max_size=8),
    st.lists(st.tuples(st.text(max_size=3), st.integers()), max_size=4),
    st.lists(st.integers(), max_size=4).map(tuple),
    st.sets(st.integers(-50, 50), max_size=6),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=6),
    st.none(),
)


@given(st.integers(0, 2**32), st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=3))
def test_inputs_are_of_the_kinds_asked_for(seed, kinds):
    parameters = tuple(Parameter(f"p{number}", kind) for number, kind in enumerate(kinds))
    drawn = inputs(parameters, random.Random(seed), 4)
    assert len(drawn) == 4
    for arguments in drawn:
        assert [type(argument) for argument in arguments] == [KINDS[kind] for kind in kinds]


@given(st.integers(0, 2**32), st.sampled_from(["ints", "words", "str", "dict", "tuple", "set"]))
def test_a_member_is_in_its_collection(seed, kind):
    parameters = (Parameter("item", "str", member="box"), Parameter("box", kind))
    for item, box in inputs(parameters, random.Random(seed), 3):
        assert item in box


def test_inputs_differ_where_they_can():
    drawn = inputs((Parameter("words", "words"),), random.Random(1), 50)
    assert len({repr(arguments) for arguments in drawn}) == 50
    with pytest.raises(ValueError, match="k: -1"):
        inputs((), random.Random(1), -1)


def types_in(value):
    items = list(value.items()) if isinstance(value, dict) else value if isinstance(value, list | tuple | set) else []
    return {type(item) for item in items}


@given(st.integers(0, 2**32), st.lists(VALUES, min_size=1, max_size=3))
def test_mutation_keeps_types(seed, arguments):
    before = repr(arguments)
    mutated = mutate(tuple(arguments), random.Random(seed))
    assert repr(arguments) == before
    assert sorted(map(str, map(type, mutated))) == sorted(map(str, map(type, arguments)))
    known = set().union(*(types_in(value) for value in arguments)) | {int}
    assert set().union(*(types_in(value) for value in mutated)) <= known


@given(st.integers(0, 2**32))
def test_mutation_is_deterministic(seed):
    one, two = (mutate(([1, 2, 3], "tea", {4, 5}), random.Random(seed)) for _ in range(2))
    assert list(map(literal, one)) == list(map(literal, two))


def test_mutation_reaches_every_rule():
    numbers = list(range(7))
    seen = [mutate((numbers,), random.Random(seed))[0] for seed in range(100)]
    assert any(len(items) > 7 and items[:7] == numbers for items in seen)
    assert any(sorted(items) == numbers for items in seen)
    assert any(len(items) == 7 and sorted(items) != numbers for items in seen)
    assert len({mutate((True, 4), random.Random(seed)) for seed in range(400)} & {(True, 0), (True, -1), (True, 8)}) == 3
    assert (2, 1) in {mutate((1, 2), random.Random(seed)) for seed in range(400)}


@given(st.integers(0, 2**32), st.lists(VALUES, min_size=1, max_size=3))
def test_mutated_collections_and_strings_have_more_than_five_elements(seed, arguments):
    mutated = mutate(tuple(arguments), random.Random(seed))
    for place, value in enumerate(mutated):
        others = (*mutated[:place], *mutated[place + 1 :])
        if isinstance(value, list | tuple) or (isinstance(value, str) and not any(map(holder_of(value), others))):
            assert len(value) > 5


def holder_of(text):
    return lambda other: isinstance(other, str | list | tuple | set | dict) and text in other


@pytest.mark.parametrize("value", [{1}, {"tea"}, set(), {"k": 1}, {2: [1]}])
def test_mutated_sets_and_dictionaries_grow(value):
    assert all(len(mutate((value,), random.Random(seed))[0]) > 5 for seed in range(50))


@pytest.mark.parametrize("value", [{}, {True}, {None}, {False: 1}])
def test_what_gives_no_more_elements_stays_small(value):
    found = [mutate((value,), random.Random(seed))[0] for seed in range(50)]
    assert all(type(one) is type(value) and len(one) <= 2 for one in found)


@pytest.mark.parametrize("value", [[(1, 2), (3, 4)], [[1, 2, 3], [4, 5, 6], [7, 8, 9]], {"a": (1, 2), "b": (3, 4)}])
def test_pairs_stay_pairs_and_matrices_rectangular(value):
    for seed in range(50):
        found = mutate(mutate((value,), random.Random(seed)), random.Random(seed + 1))[0]
        inner = list(found.values() if isinstance(found, dict) else found)
        assert {len(one) for one in inner} == {len(next(iter(value.values() if isinstance(value, dict) else value)))}
        assert len(inner) > 5


@pytest.mark.parametrize("length", [1, 6, 8, 20])
def test_collections_of_any_length_grow(length):
    numbers = list(range(length))
    assert any(len(mutate((numbers,), random.Random(seed))[0]) > max(length, 6) for seed in range(50))


def test_a_text_that_is_looked_for_in_another_argument_stays_there():
    drawn = [mutate(("tea", {"tea": 1, "red": 2}), random.Random(seed)) for seed in range(100)]
    assert any(key == "tea" and len(box) > 5 for key, box in drawn)
    assert all(key in box or len(key) > 5 for key, box in drawn)


@given(VALUES)
def test_literals_are_source(value):
    assert ast.literal_eval(literal(value)) == value


def test_sets_are_written_in_order():
    assert literal({10, 3, 1}) == "{1, 3, 10}"
    assert literal({"b", "a"}) == "{'a', 'b'}"
    assert literal(set()) == "set()"
    assert literal([{"b", "a"}, ({2, 1},), (), {"k": {"d", "c"}}]) == "[{'a', 'b'}, ({1, 2},), (), {'k': {'c', 'd'}}]"
