"""Generated code in the sandbox: every canonical solution, wrong ones, and ones that cheat."""

import gzip
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from reward.codegen import LIMITS, asserts_values, outputs, passes_asserted, passes_plus
from reward.official import official_verdicts
from reward.programs import Limits
from reward.sandbox import Sandbox
from rl.benchmarks.codegen import CodingProblem, humaneval_problems, mbpp_plus_problems, mbpp_problems, official_check

DATA = Path(__file__).parents[1] / "data"
FOLDER = Path(os.environ.get("CODEREASON_BENCHMARKS") or Path(__file__).parents[2] / "benchmarks-data")


def rows(path):
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines() if line]


PATIENT = Limits(wall_s=60, cpu_s=60)
"""One canonical solution takes a second and more, which is three on a busy machine."""
BASE = {"humaneval": (humaneval_problems, 164), "mbpp": (mbpp_problems, 500)}
UNCOMPARED = {"humaneval": 10, "mbpp": 2}
"""How many tests assert no value."""


@pytest.mark.parametrize("name", ["humaneval", pytest.param("mbpp", marks=pytest.mark.slow)])
def test_every_canonical_solution_passes(quick_sandbox, name):
    read, count = BASE[name]
    problems = read(rows(DATA / f"{name}.jsonl.gz"))
    assert len(problems) == count
    texts = [official_check(problem, problem.canonical) for problem in problems]
    verdicts = official_verdicts(quick_sandbox, texts, PATIENT)
    assert [problem.id for problem, passed in zip(problems, verdicts, strict=True) if not passed] == []
    compared = [problem for problem in problems if asserts_values(problem)]
    assert len(problems) - len(compared) == UNCOMPARED[name]
    assert [p.id for p in compared if not passes_asserted(quick_sandbox, p.canonical, p, PATIENT)] == []


@pytest.mark.parametrize("name", BASE)
def test_no_empty_solution_passes(quick_sandbox, name):
    read, _ = BASE[name]
    problems = read(rows(DATA / f"{name}.jsonl.gz"))[::20]
    texts = [official_check(problem, problem.prompt + "    return None\n" * bool(problem.prompt)) for problem in problems]
    assert set(official_verdicts(quick_sandbox, texts)) == {False}


ADD = CodingProblem("x", "", "add", "def add(a, b):\n    return a + b\n", "assert add(1, 2) == 3", ((1, 2), (0.5, 0.25)))
TRICKS = {
    "def add(a, b):\n    return b + a": (True, True, True),
    "def add(a, b):\n    return 3": (True, False, False),
    "def add(a, b):\n    return float(a + b)": (True, True, False),
    "class E(int):\n    def __eq__(self, other): return True\n    __repr__ = object.__repr__\n"
    "def add(a, b):\n    return E()": (True, False, False),
    "import os\ndef add(a, b):\n    os._exit(0)": (False, False, False),
    "def add(a, b):\n    raise KeyError": (False, False, False),
    "def add(a, b):\n    while True: pass": (False, False, False),
    "not Python": (False, False, False),
}


@pytest.mark.parametrize("program", TRICKS)
def test_what_passes_which_rule(quick_sandbox, program):
    expected = outputs(quick_sandbox, ADD.canonical, ADD)
    assert expected.values == ("3", "0.75")
    found = (
        list(official_verdicts(quick_sandbox, [official_check(ADD, program)])) == [True],
        passes_plus(quick_sandbox, program, ADD, expected, exact=False),
        passes_plus(quick_sandbox, program, ADD, expected, exact=True),
    )
    assert found == TRICKS[program]


def test_asserted_values_are_compared_outside(quick_sandbox):
    always_equal = "class E(int):\n    def __eq__(self, other): return True\n    __repr__ = object.__repr__\n"
    always_equal += "def add(a, b):\n    return E()"
    assert passes_asserted(quick_sandbox, ADD.canonical, ADD)
    assert not passes_asserted(quick_sandbox, always_equal, ADD)


def test_where_no_value_is_asserted_nothing_passes(quick_sandbox):
    problem = replace(ADD, test="assert add(*[1, 2]) == 3")
    assert (asserts_values(ADD), asserts_values(problem)) == (True, False)
    with pytest.raises(ValueError, match="x: its test asserts no value"):
        passes_asserted(quick_sandbox, ADD.canonical, problem)


def test_a_program_may_give_the_names_of_builtins_to_something_else(quick_sandbox):
    shadowing = f"{ADD.canonical}\ntype = len = hex = int = Exception = None\n"
    assert outputs(quick_sandbox, shadowing, ADD).values == ("3", "0.75")


def test_inputs_of_every_kind_arrive_as_they_are(quick_sandbox):
    given = ((1, [2.5, {"a": (1,), 2: set()}], {3}), (float("inf"), float("-inf"), float("nan"), 1j), ())
    problem = CodingProblem("x", "", "f", "def f(*a):\n    return a\n", "", given)
    assert outputs(quick_sandbox, problem.canonical, problem).values == tuple(map(repr, given))


def test_a_program_that_raises_where_the_canonical_one_does_is_right(quick_sandbox):
    problem = CodingProblem("x", "", "f", "def f(a):\n    return 1 // a\n", "", ((0,), (1,)))
    expected = outputs(quick_sandbox, problem.canonical, problem)
    assert expected.values == (None, "1")
    assert passes_plus(quick_sandbox, problem.canonical, problem, expected, exact=True)
    assert not passes_plus(quick_sandbox, "def f(a):\n    return 1\n", problem, expected, exact=True)


PLUS = {
    "HumanEvalPlus.jsonl.gz": (humaneval_problems, 164, 124_253),
    "MbppPlus.jsonl.gz": (mbpp_plus_problems, 378, 41_015),
}


@pytest.mark.parametrize("name", PLUS)
def test_canonical_solutions_pass_the_plus_inputs(name):
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"EvalPlus's inputs are not shipped: put {name} into {FOLDER} or set CODEREASON_BENCHMARKS")
    read, count, inputs = PLUS[name]
    problems = read(rows(path))
    assert (len(problems), sum(len(problem.inputs) for problem in problems)) == (count, inputs)
    failing = []
    with Sandbox(LIMITS) as sandbox:
        for problem in problems[::10]:
            expected = outputs(sandbox, problem.canonical, problem)
            if expected is None or not passes_plus(sandbox, problem.canonical, problem, expected, exact=True):
                failing.append(problem.id)
    assert failing == []
