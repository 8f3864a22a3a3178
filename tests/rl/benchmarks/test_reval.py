"""REval's rows, its rules for answers, and its figures, on cases made by hand."""

import json
from itertools import product

import pytest

from rl.benchmarks.reval import (
    answer_text,
    completed_test,
    coverage_answer,
    coverage_figures,
    incremental_consistency,
    path_answer,
    path_is_right,
    read_reval,
)
from rl.benchmarks.reval_state import NIL, StateAnswer, filled_gaps, state_answer, state_is_exact, with_gaps_filled

FUNCTION = {
    "task_id": "DREval/0",
    "entry_point": "f",
    "code": "def f(a):\n    return a",
    "inputs": ["(1,)"],
    "outputs": ["1"],
}
CLASS = {**FUNCTION, "task_id": "DREval/1", "entry_point": "C", "inputs": ["c = C()\n"] * 2, "test": "import unittest"}
TASKS = [
    {"idx": 0, "tasks": [{"input_idx": 0, "task": [{"lineno": 2, "var": "a"}], "output_pred": "assert f(1) == ??"}]},
    {"idx": 1, "tasks": [{"input_idx": 1, "task": [], "output_pred": "assertEqual(c.n, ??)"}]},
]


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_rows_become_runs():
    function, of_class = read_reval(lines(FUNCTION, CLASS), lines(*TASKS))
    assert (function.id, function.given, function.assertion) == ("DREval/0/0", "(1,)", "assert f(1) == ??")
    assert [(probe.line, probe.variable) for probe in function.probes] == [(2, "a")]
    assert (of_class.id, of_class.given, of_class.program.entry_point) == ("DREval/1/1", 1, "C")


@pytest.mark.parametrize(
    ("data", "tasks", "message"),
    [
        ("{\n", "", r"DREval_data.jsonl:1: not JSON"),
        ("[]\n", "", r"DREval_data.jsonl:1: must be a JSON object"),
        (lines(FUNCTION, {**FUNCTION, "code": 1}), "", r"DREval_data.jsonl:2: code: must be str"),
        (lines(FUNCTION), lines({"idx": 1, "tasks": []}), r"DREval_tasks.jsonl:1: idx: 1, there are 1 programs"),
        (lines(FUNCTION), lines({"idx": 0, "tasks": [{"input_idx": 1}]}), r"input_idx: 1, DREval/0 has 1 inputs"),
        (lines(FUNCTION), lines({"idx": 0, "tasks": [7]}), r"DREval_tasks.jsonl:1: input_idx: must be int"),
    ],
)
def test_a_bad_row_is_named(data, tasks, message):
    with pytest.raises(ValueError, match=message):
        read_reval(data, tasks)


def test_where_the_answer_stands():
    assert answer_text("so [ANSWER] YES [/ANSWER] [ANSWER]NO[/ANSWER]") == "YES"
    assert answer_text(" NO ") == "NO"
    assert answer_text("YES[/ANSWER] and more") == "YES"


@pytest.mark.parametrize(
    ("response", "said"), [("YES", True), ("yes.", True), ("NO", False), ("It is: YES", False), ("", False), ("Y", False)]
)
def test_coverage_is_read_from_three_letters(response, said):
    assert coverage_answer(f"[ANSWER]{response}[/ANSWER]") is said


CODE = "while a:\n    a -= 1\n    b()\n    a -= 1\n"


@pytest.mark.parametrize(
    ("response", "candidates"),
    [
        ("a -= 1", {2, 4}),
        ("  b()\nmore", {3}),
        ("-1", {-1}),
        ("c()", set()),
        ("", set()),
        ("[ANSWER]while a:[/ANSWER]", {1}),
    ],
)
def test_a_next_line_is_every_line_that_reads_like_it(response, candidates):
    assert path_answer(response, CODE) == candidates


def test_a_path_is_right_if_any_candidate_ran_next():
    assert path_is_right({2, 4}, {4, -1})
    assert not path_is_right({2}, {4, -1})
    assert not path_is_right(set(), {-1})


def test_coverage_figures_by_hand():
    figures = coverage_figures([True, True, True, False, False], [True, True, False, True, False])
    assert figures.accuracy == 0.6
    assert figures.precision == figures.recall == figures.f1 == pytest.approx(2 / 3)
    nothing = coverage_figures([False], [False])
    assert (nothing.accuracy, nothing.precision, nothing.recall, nothing.f1) == (1.0, 0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="0 answers"):
        coverage_figures([], [])


CREDITS = {"1111": 1.0, "1110": 0.5, "1100": 0.25, "1000": 0.125}


@pytest.mark.parametrize("bits", list(product("01", repeat=4)))
def test_consistency_pays_for_unbroken_beginnings_only(bits):
    verdict = tuple(bit == "1" for bit in bits)
    assert incremental_consistency([verdict]) == 100 * CREDITS.get("".join(bits), 0.0)


def test_consistency_is_a_mean_in_per_cent():
    assert incremental_consistency([(True,) * 4, (True, True, False, False)]) == 62.5
    with pytest.raises(ValueError, match="at least one probe"):
        incremental_consistency([])


GIVEN = "x = 1\nassertTrue(??)\nassertEqual(x, ??)"


@pytest.mark.parametrize(
    ("response", "text"),
    [
        ("x = 1\nassertTrue(x)\nassertEqual(x, 1)", "x = 1\nassertTrue(x)\nassertEqual(x, 1)"),
        ("assertTrue(x)\nassertEqual(x, 1)", "x = 1\nassertTrue(x)\nassertEqual(x, 1)"),
        ("assertEqual(x, 1)", "x = 1\nassertTrue(??)\nassertEqual(x, 1)"),
        ("x = 1\nassertTrue(True)\nassertEqual(x, 1)", None),
        ("x = 1\nx = 2\nassertEqual(x, 1)", None),
    ],
)
def test_a_short_answer_is_padded_and_an_empty_one_fails(response, text):
    assert completed_test(response, GIVEN) == text


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("3; int", StateAnswer("3", "int")),
        ("'a;b'; string", StateAnswer("'a;b'", "str")),
        ("[1]; <class 'list'>", StateAnswer("[1]", "list")),
        ("[1]; List[int]", StateAnswer("[1]", "list")),
        ("(1, 'a'); int, str", StateAnswer("(1, 'a')", "tuple")),
        ("{1: 2}; dict[int, int]", StateAnswer("{1: 2}", "dict")),
        ("‘a’; str", StateAnswer("'a'", "str")),
        ("None; None", StateAnswer("None", "nonetype")),
        ("[ANSWER]2.5; Float[/ANSWER]", StateAnswer("2.5", "float")),
        ("nil", NIL),
        ("[Nil]", NIL),
        ("Nil; int", NIL),
        ("3", None),
        ("", None),
    ],
)
def test_how_a_state_is_read(response, answer):
    assert state_answer(response) == answer


@pytest.mark.parametrize(
    ("response", "values", "right"),
    [
        ("1; int", [("int", "0"), ("int", "1")], True),
        ("True; bool", [("int", "1")], False),
        ("1; int", [("bool", "True")], False),
        ("1; float", [("float", "1.0")], False),
        ("1.0; float", [("float", "1.0")], True),
        ("[1,2]; list", [("list", "[1, 2]")], True),
        ("1 + 1; int", [("int", "2")], False),
        ("deque([1]); collections.deque", [("collections.deque", "deque([1])")], True),
        ("deque([1]); deque", [("collections.deque", "deque([1])")], True),
        ("Nil", None, True),
        ("Nil", [("NoneType", "None")], False),
        ("None; NoneType", None, False),
        ("None; NoneType", [("NoneType", "None")], True),
        ("what", None, False),
    ],
)
def test_a_strict_state_is_one_literal_of_the_exact_type(response, values, right):
    assert state_is_exact(state_answer(response), values) is right


@pytest.mark.parametrize(
    ("completed", "gaps"),
    [
        ("x = 1\nassertTrue(True)\nassertEqual(x, [1,2])", ["True", "[1, 2]"]),
        ("x=1\nassertTrue( 1 )\nassertEqual(x, '??')", ["1", "'_gap_'"]),
        ("x = 2\nassertTrue(1)\nassertEqual(x, 1)", None),
        ("x = 1\nassertTrue(x)\nassertEqual(x, 1)", None),
        ("x = 1\nassertTrue(1)\nassertEqual(x, 1 or 2)", None),
        ("x = 1\nassertTrue(1)", None),
        ("not Python", None),
    ],
)
def test_only_the_gaps_may_differ_and_only_by_literals(completed, gaps):
    assert filled_gaps(completed, GIVEN) == gaps


def test_gaps_are_filled_in_order():
    assert with_gaps_filled(GIVEN, ["2", "3"]) == "x = 1\nassertTrue(2)\nassertEqual(x, 3)"
