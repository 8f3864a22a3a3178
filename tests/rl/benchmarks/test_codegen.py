"""Code generation: rows, the programs officially run, inputs in their shape, and when an output holds."""

import pytest

from rl.benchmarks.codegen import (
    CodingProblem,
    asserted_outputs,
    completed_program,
    humaneval_problems,
    mbpp_plus_problems,
    mbpp_problems,
    official_check,
    output_holds,
)
from rl.benchmarks.mbpp_inputs import example_calls, shaped, shaped_inputs

HUMANEVAL = {
    "task_id": "HumanEval/x",
    "prompt": "def add(a, b):\n",
    "entry_point": "add",
    "canonical_solution": "    return a + b\n",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert abs(candidate(1, .5) - 1.5) < 1e-6\n",
}
MBPP = {
    "task_id": 17,
    "code": "def f(x):\n    return x + K",
    "test_setup_code": "K = 1",
    "test_list": ["assert f(1) == 2", "assert f(x=2) == 3", "assert f(sum([1])) == 2", "assert f(-1) == 0"],
}


def test_programs_are_put_together_as_officially():
    (problem,) = humaneval_problems([HUMANEVAL])
    assert problem.canonical == "def add(a, b):\n    return a + b\n"
    assert completed_program(problem, "    return 3") == "def add(a, b):\n    return 3"
    assert official_check(problem, "CODE").split("\n")[0] == "CODE"
    assert official_check(problem, "CODE").endswith("\ncheck(add)")
    (other,) = mbpp_problems([MBPP])
    assert other.id == "Mbpp/17"
    # The code first, then its setup, then the assertions.
    assert official_check(other, other.canonical).split("\n")[:4] == [
        "def f(x):",
        "    return x + K",
        "K = 1",
        MBPP["test_list"][0],
    ]


def test_a_fence_holds_the_whole_answer():
    (problem,) = mbpp_problems([MBPP])
    response = "First\n```python\nold = 1\n```\nthen\n```python\ndef f(x):\n    return 2\n```\nDone"
    assert completed_program(problem, response) == "def f(x):\n    return 2\n"


@pytest.mark.parametrize(
    ("read", "row", "message"),
    [
        (humaneval_problems, {**HUMANEVAL, "test": None}, "row 1: test: must be str"),
        (humaneval_problems, {**HUMANEVAL, "base_input": [[1]], "plus_input": "["}, "row 1: plus_input: not JSON"),
        (
            humaneval_problems,
            {**HUMANEVAL, "base_input": [1], "plus_input": []},
            "row 1: base_input: must be a list of lists",
        ),
        (mbpp_problems, {**MBPP, "test_list": "assert"}, "row 1: test_list: must be a list of str"),
        (mbpp_problems, {**MBPP, "task_id": "17"}, "row 1: task_id: must be int"),
        (mbpp_plus_problems, {"task_id": "Mbpp/7"}, "row 1: prompt: must be str"),
    ],
)
def test_a_bad_row_is_named(read, row, message):
    with pytest.raises(ValueError, match=message):
        read([row])


def test_mbpp_is_its_test_split():
    rows = [{**MBPP, "task_id": number} for number in (1, 10, 11, 510, 511, 974)]
    assert [problem.id for problem in mbpp_problems(rows)] == ["Mbpp/11", "Mbpp/510"]


def test_plus_inputs_are_base_and_plus_and_may_be_text():
    (problem,) = humaneval_problems([{**HUMANEVAL, "base_input": "[[1, 2]]", "plus_input": [[3, 4.5]], "atol": 1e-4}])
    assert (problem.inputs, problem.tolerance) == (((1, 2), (3, 4.5)), 1e-4)


def test_only_plain_assertions_can_be_compared_outside():
    (problem,) = mbpp_problems([MBPP])
    asserted, values = asserted_outputs(problem)
    assert (asserted.entry_point, asserted.inputs, values) == ("f", ((1,), (-1,)), ["2", "0"])
    (problem,) = humaneval_problems([HUMANEVAL])
    asserted, values = asserted_outputs(problem)
    assert (asserted.entry_point, asserted.inputs, values) == ("add", ((1, 2),), ["3"])


@pytest.mark.parametrize(
    ("value", "examples", "expected"),
    [
        ([1, 2], [(3, 4)], (1, 2)),
        ([1, 2], [[3]], [1, 2]),
        ([1, 2], [{3}], {1, 2}),
        ([[1, 2], [3]], [[(1,), (2, 3)]], [(1, 2), (3,)]),
        ([[1], [2]], [([1], (2,))], ([1], (2,))),
        ([1, [2, [3]]], [(4, (5, 6))], (1, (2, (3,)))),
        ([], [()], ()),
        ([1], [(1,), [1]], [1]),
        ([1], [], [1]),
        ({"1": "a", "b": [1]}, [{1: (2,)}], {1: "a", "b": (1,)}),
        ("x", [(1,)], "x"),
    ],
)
def test_values_from_json_get_their_containers_back(value, examples, expected):
    found = shaped(value, examples)
    assert repr(found) == repr(expected)


def test_complex_numbers_were_written_as_text():
    calls = example_calls("assert f(0, 1j) == 1\nassert f(2, 3) == 1", "f")
    assert shaped_inputs([["0", "1j"], ["1.5", "(1+2j)"]], calls) == ((0.0, 1j), (1.5, 1 + 2j))
    assert shaped_inputs([["0"], ["apple"]], example_calls("assert f(1)", "f")) == (("0",), ("apple",))
    assert shaped_inputs([["0"], ["1"]], example_calls("assert f(1)", "f")) == (("0",), ("1",))


def plus_problem(entry):
    row = {
        "task_id": "Mbpp/2",
        "prompt": "",
        "entry_point": entry,
        "canonical_solution": f"def {entry}(a):\n    return a\n",
        "base_input": [[[1, 2]]],
        "plus_input": {},
        "assertion": f"assert {entry}((1, 2)) == (1, 2)",
    }
    return mbpp_plus_problems([row])[0]


def assert_judged(problem, arguments, found, expected, strict, official):
    """Whether an output holds by either rule is what it should be."""
    assert output_holds(problem, arguments, found, expected, exact=True) is strict
    assert output_holds(problem, arguments, found, expected, exact=False) is official


MATCH = "<re.Match object; span=(0, 3), match='abc'>"


@pytest.mark.parametrize(
    ("entry", "found", "expected", "strict", "official"),
    [
        ("find_dissimilar", "(2, 1, 1)", "(1, 2)", True, True),
        ("Diff", "{2, 1}", "[1, 2]", True, True),
        ("Diff", "[2, True]", "[1, 2]", False, True),
        ("Diff", "{1: 3, 2: 4}", "[1, 2]", False, True),
        ("Diff", "[[1], 2]", "[1, 2]", False, False),
        ("Diff", "3", "[1, 2]", False, False),
        ("larg_nnum", "(2, 3)", "(1, 2)", False, False),
        ("f", "(2, 1)", "(1, 2)", False, False),
        ("check_str", "True", MATCH, True, True),
        ("check_str", MATCH.replace("3", "1"), MATCH, True, True),
        ("text_match_three", "None", MATCH, False, False),
        ("text_starta_endb", "False", "None", True, True),
        ("text_starta_endb", MATCH, "None", False, False),
        ("f", "True", MATCH, False, False),
    ],
)
def test_mbpp_plus_compares_as_evalplus_where_it_names_the_function(entry, found, expected, strict, official):
    problem = plus_problem(entry)
    assert problem.inputs == (((1, 2),),)
    assert_judged(problem, ((1, 2),), found, expected, strict, official)


def problem_with(tolerance=0.0, entry="f"):
    return CodingProblem("x", "", entry, "", "", (), tolerance)


@pytest.mark.parametrize(
    ("found", "expected", "tolerance", "strict", "official"),
    [
        ("1", "1", 0, True, True),
        ("True", "1", 0, False, True),
        ("1.0", "1", 0, False, True),
        ("[1, 2]", "(1, 2)", 0, False, False),
        ("0.30000000000000004", "0.3", 0, True, True),
        ("0.3001", "0.3", 0, False, False),
        ("0.3001", "0.3", 1e-3, True, True),
        ("[0.1, 0.20000001]", "[0.1, 0.2]", 0, True, True),
        ("[1, 0.20000001]", "[1, 0.2]", 0, False, False),
        ("[1, 0.20000001]", "[1, 0.2]", 1e-4, True, True),
        ("3", "3.0", 0, False, True),
        ("nan", "nan", 0, True, True),
        ("<f object>", "1", 0, False, False),
        ("{1, 2}", "{2, 1}", 0, True, True),
        ("{'a': 1}", "Counter({'a': 1})", 0, False, True),
        ("defaultdict(<class 'int'>, {'a': 1})", "{'a': 1}", 0, False, True),
        ("OrderedDict([('a', 1)])", "Counter({'a': 1})", 0, False, True),
        ("Counter()", "Counter()", 0, True, True),
        ("Counter({'a': 2})", "Counter({'a': 1})", 0, False, False),
        ("Counter([1, 2])", "{}", 0, False, False),
    ],
)
def test_when_an_output_holds(found, expected, tolerance, strict, official):
    assert_judged(problem_with(tolerance), (), found, expected, strict, official)


@pytest.mark.parametrize(
    ("found", "right"), [("2.0", True), ("-2", True), ("2.1", False), ("True", False), ("1e308", False)]
)
def test_any_root_of_a_polynomial_will_do(found, right):
    assert output_holds(problem_with(1e-4, "find_zero"), ([-4, 0, 1],), found, "2.0", exact=True) is right
