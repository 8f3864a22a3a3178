"""REval's runs traced inside the sandbox: by hand on small programs, and on all of REval where its files are."""

import ast
import gzip
import json
import os
import re
from collections import defaultdict
from pathlib import Path

import pytest

from reward.programs import Limits
from reward.reval import Observation, RunNotTraced, observe, output_is_exact, output_is_right, state_is_right
from reward.sandbox import Sandbox
from rl.benchmarks.reval import DATA_FILE, TASKS_FILE, RevalProbe, RevalProgram, RevalRun, read_reval
from rl.benchmarks.reval_state import state_answer

FOLDER = Path(os.environ.get("CODEREASON_REVAL") or Path(__file__).parents[2] / "benchmarks-data" / "reval")
TRUTH = FOLDER / "truth_by_official_tracer.jsonl.gz"

HELPER = """\
def helper(n):
    half = n // 2
    return half
def f(xs):
    total = 0
    for x in xs:
        total += helper(x)
    ys = [y + 1 for y in xs]
    return helper(
        total)
"""


def run_of(code, given, *probes, assertion="", entry="f", test=""):
    program = RevalProgram("by/hand", entry, code, (given,), test)
    return RevalRun(program, 0, tuple(RevalProbe(*probe) for probe in probes), assertion)


def seen(sandbox, run, official):
    return [(found.ran, set(found.following), found.values) for found in observe(sandbox, run, official=official)]


def ints(*numbers):
    return tuple(("int", str(number)) for number in numbers)


def test_the_official_view_takes_the_next_entry_of_any_frame(quick_sandbox):
    run = run_of(HELPER, "([4, 6],)", (2, "half"), (3, "half"), (5, "total"), (7, "total"), (7, "n"), (8, "ys"), (6, "x"))
    half, after_return, total, summed, callee, listed, last = seen(quick_sandbox, run, official=True)
    assert half == (True, {3}, ints(2, 3, 2))
    # The caller's frame comes next, which has no `half`: after the last call it only returns, so the entry has no locals.
    assert after_return == (True, {6, 9}, None)
    assert total == (True, {6}, ints(0))
    # The call of `helper` comes next: its frame has no `total` but it has `n`.
    assert summed == (True, {2}, None)
    assert callee == (True, {2}, ints(4, 6))
    assert listed == (True, {9}, (("list", "[5, 7]"),))
    # Line 8 comes last, merged with its comprehension's own events, whose frame has no `x`.
    assert last == (True, {7, 8}, ints(4, 6))


def test_by_frames_a_line_has_its_own_state(quick_sandbox):
    run = run_of(HELPER, "([4, 6],)", (3, "half"), (7, "total"), (7, "n"), (8, "ys"), (8, "y"), (9, "total"), (10, "total"))
    half, summed, callee, listed, inner, several, rest = seen(quick_sandbox, run, official=False)
    assert half == (True, {6, -1}, ints(2, 3, 2))
    assert summed == (True, {2}, ints(2, 5))
    assert callee == (True, {2}, None)
    assert listed == (True, {9}, (("list", "[5, 7]"),))
    assert inner == (True, {9}, None)
    assert several == (True, {10, 2}, ints(5))
    assert rest == (True, {9}, ints(5))


@pytest.mark.parametrize("official", [True, False])
def test_a_line_that_does_not_run(quick_sandbox, official):
    run = run_of("def f(a):\n    if a:\n        b = 1\n    return a", "(0,)", (3, "b"), (4, "b"), (4, "a"))
    assert seen(quick_sandbox, run, official) == [(False, {-1}, None), (True, {-1}, None), (True, {-1}, ints(0))]


@pytest.mark.parametrize("official", [True, False])
def test_a_generator_is_not_done_when_it_hands_out(quick_sandbox, official):
    code = "def g():\n    got = yield 1\n    last = got\ndef f():\n    it = g()\n    next(it)\n    return next(it, 0)"
    got, iterator = seen(quick_sandbox, run_of(code, "()", (2, "got"), (5, "it")), official)
    assert got[2] == (None if official else (("NoneType", "None"),))
    assert iterator[2] is None


def test_values_are_those_of_the_moment(quick_sandbox):
    code = "def f(a):\n    for i in range(2):\n        a.append(i)\n    return a"
    for official in (True, False):
        (appended,) = seen(quick_sandbox, run_of(code, "([],)", (3, "a")), official)
        assert appended[2] == (("list", "[0]"), ("list", "[0, 1]"))


def test_expressions_of_values(quick_sandbox):
    code = "def f(a, i):\n    i += 1\n    i += 1\n    return i"
    probes = [(2, "a[i]"), (2, "(a, i)"), (2, "a[i - 1]"), (2, "a.real"), (2, "a[9]")]
    official = [values for _, _, values in seen(quick_sandbox, run_of(code, "([5, 6, 7], 0)", *probes), official=True)]
    assert official == [ints(6), (("tuple", "([5, 6, 7], 1)"),), None, None, None]
    by_frame = [values for _, _, values in seen(quick_sandbox, run_of(code, "([5, 6, 7], 0)", *probes), official=False)]
    assert by_frame == [ints(6), (("tuple", "([5, 6, 7], 1)"),), ints(5), None, None]


def test_officially_every_index_meets_every_list(quick_sandbox):
    code = "def f(a):\n    for i in (0, 1):\n        a[i] += 1\n    return a"
    (official,) = seen(quick_sandbox, run_of(code, "([5, 6],)", (3, "a[i]")), official=True)
    (by_frame,) = seen(quick_sandbox, run_of(code, "([5, 6],)", (3, "a[i]")), official=False)
    assert official[2] == ints(6, 6, 6, 7)
    assert by_frame[2] == ints(6, 7)


CLASS = """\
class Counter:
    def __init__(self, start):
        self.n = start
    def add(self, k):
        self.n += k
        return self.n
"""
CLASS_TEST = """\
import unittest
class CounterTestAdd(unittest.TestCase):
    def setUp(self):
        self.counter = Counter(2)
    def test_add(self):
        self.assertEqual(self.counter.add(3), 5)
    def test_unused(self):
        self.counter.add(1)
"""


def of_class(*probes):
    return run_of(CLASS, "", *probes, entry="Counter", test=CLASS_TEST, assertion="assertEqual(self.counter.add(3), ??)")


def test_a_class_is_traced_from_its_test_and_not_from_its_set_up(quick_sandbox):
    for official in (True, False):
        found = seen(quick_sandbox, of_class((3, "self.n"), (5, "self.n"), (6, "self.n")), official)
        assert found == [(False, {-1}, None), (True, {6}, ints(5)), (True, {-1}, ints(5))]


def test_a_run_that_fails_says_nothing(quick_sandbox):
    for given, why in (("(1,)", r"ZeroDivisionError: .*zero"), ("(0,)", "timeout")):
        run = run_of("def f(a):\n    while not a:\n        pass\n    return a / 0", given, (4, "a"))
        with pytest.raises(RunNotTraced, match=f"by/hand/0: {why}"):
            observe(quick_sandbox, run, official=True, limits=Limits(wall_s=1, cpu_s=0.5))


STATES = [
    ("5; int", True),
    ("2 + 3; int", True),
    ("'5'; str", False),
    ("5.0; float", False),
    ("5; Decimal", False),
    ("__import__('os')._exit(0); int", False),
    ("Nil", False),
]


@pytest.mark.parametrize(("response", "right"), STATES)
def test_official_states_are_evaluated(quick_sandbox, response, right):
    run = of_class((5, "self.n"))
    assert state_is_right(quick_sandbox, run, run.probes[0], state_answer(response)) is right


def test_official_states_of_other_types(quick_sandbox):
    code = "from datetime import datetime\ndef f():\n    t = datetime(2024, 5, 6, 7, 8)\n"
    code += "    x = 0.1 + 0.2\n    n = None\n    return t"
    run = run_of(code, "()", (3, "t"), (4, "x"), (5, "n"), (3, "n"))
    moment, near, nothing, unset = run.probes
    right = {
        (moment, "May 6 2024 07:08; datetime.datetime"): True,
        (moment, "2024-05-06 07:09; datetime.datetime"): False,
        (moment, "what; datetime.datetime"): False,
        (near, "0.3; float"): True,
        (near, "0.30001; float"): False,
        (nothing, "None; None"): True,
        (nothing, "None; str"): False,
        (unset, "Nil"): True,
        (unset, "0; int"): False,
    }
    found = {(p, text): state_is_right(quick_sandbox, run, p, state_answer(text)) for p, text in right}
    assert found == right


OUTPUTS = [
    ("assertEqual(self.counter.add(3), 5)", True, True),
    ("assertEqual(self.counter.add(3), 5.0)", True, True),
    ("assertEqual(self.counter.add(3), 6)", False, False),
    ("assertEqual(self.counter.add(3), self.counter.n)", True, False),
    ("assertEqual(1, 1)", True, False),
    (None, False, None),
]


@pytest.mark.parametrize(("completed", "official", "strict"), OUTPUTS)
def test_outputs_of_a_class(quick_sandbox, completed, official, strict):
    assert output_is_right(quick_sandbox, of_class(), completed) is official
    if completed is not None:
        assert output_is_exact(quick_sandbox, of_class(), completed) is strict


@pytest.mark.parametrize(
    ("completed", "official", "strict"),
    [
        ("assert f(3) == 3", True, True),
        ("assert f(3) == 3.0", True, False),
        ("assert f(3) == 4", False, False),
        ("assert f(3) == 1 or 2", True, False),
        ("assert f(3) == f(3)", True, False),
        ("import os; os._exit(0)  # assert", False, False),
    ],
)
def test_outputs_of_a_function(quick_sandbox, completed, official, strict):
    run = run_of("def f(a):\n    return a", "(3,)", assertion="assert f(3) == ??")
    assert output_is_right(quick_sandbox, run, completed) is official
    assert output_is_exact(quick_sandbox, run, completed) is strict


NO_REVAL = (
    f"REval states no licence and is not shipped: put {DATA_FILE} and {TASKS_FILE} into {FOLDER} or set CODEREASON_REVAL"
)
WITHOUT = {117: "gensim", 149: "gensim", 122: "np.mat"}
"""Programs that need a package, or a version of numpy, that the sandbox has not."""


def comparable(text):
    """A value's repr, whichever numpy wrote it."""
    text = re.sub(r"np\.float64\((.*?)\)", r"\1", text)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


@pytest.mark.skipif(not TRUTH.exists(), reason=f"{NO_REVAL}; with {TRUTH.name} beside them")
def test_every_probe_of_reval_has_the_official_truth():
    runs = read_reval((FOLDER / DATA_FILE).read_text(), (FOLDER / TASKS_FILE).read_text())
    truth = defaultdict(list)
    for line in gzip.decompress(TRUTH.read_bytes()).decode().splitlines():
        row = json.loads(line)
        truth[f"DREval/{row['idx']}/{row['input_idx']}"].append(row)
    assert (len(runs), sum(len(run.probes) for run in runs)) == (690, 3152)
    differing, untraced = [], defaultdict(int)
    with Sandbox(packages=["numpy"]) as sandbox:
        for run in runs:
            program = int(run.program.id.removeprefix("DREval/"))
            if program in WITHOUT:
                untraced[program] += len(run.probes)
                with pytest.raises(RunNotTraced, match=WITHOUT[program]):
                    observe(sandbox, run, official=True)
                continue
            found = observe(sandbox, run, official=True)
            differing += [
                (run.id, row["lineno"], row["var"])
                for row, observation in zip(truth[run.id], found, strict=True)
                if not agrees(observation, row)
            ]
    assert differing == []
    assert untraced == {117: 66, 122: 18, 149: 16}


def agrees(observation: Observation, row):
    # The truth holds the first fifty values.
    values = None if observation.values is None else [comparable(text) for _, text in observation.values][:50]
    known = None if row["state"] is None else [comparable(text) for text in row["state"]]
    return (observation.ran, set(observation.following), values) == (row["cov"], set(row["next"]), known)
