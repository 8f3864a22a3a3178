"""Every known trick passes CRUXEval's official checker, and earns nothing from us.

A trick is a prediction that passes without being the output's value, written down, or an input that gives the output.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from reward.official import official_verdicts
from reward.scoring import score_group
from reward.tracing import trace
from rl.anchors import instrument
from rl.benchmarks.cruxeval import check
from rl.problems import Problem, Task
from rl.verdicts import Verdict

ROOT = Path(__file__).parents[2]

ADD_ONE = "def f(x):\n    y = x + 1\n    return y"
SUM = "def f(x):\n    n = sum(x)\n    return n"
COUNT = "def f(x):\n    n = len(x)\n    return n"
PROGRAMS = {
    # program: the text between the call's parentheses, the output
    ADD_ONE: ("1", "2"),
    COUNT: ("'ab'", "2"),
    SUM: ("[1, 1]", "2"),
    "def f(x):\n    y = x == 1\n    return y": ("1", "True"),
    "def f(x):\n    y = [x]\n    return y": ("1", "[1]"),
}
TO_BOOL, TO_LIST = list(PROGRAMS)[-2:]

EQUAL = "type('E', (), {'__eq__': lambda s, o: True})()"
"""An object that is equal to everything."""
WALK = (
    "(lambda frames: [held[0].append('passed') for frame in iter(lambda: frames[-1], None)"
    " if not frames.append(frame.f_back) for held in [[value for value in frame.f_locals.values()"
    " if hasattr(value, 'append') and value is not frames and not len(value)]] if held])([__import__('sys')._getframe()])"
)
"""Climbs the frames it runs under and adds to each empty list it finds there, the checker's list of results among them."""

OUTPUT_TRICKS = {
    "or_true": (ADD_ONE, "3 or True"),
    "or_value": (ADD_ONE, "3 or 'anything'"),
    "unequal_chain": (ADD_ONE, "2 != 3 or 1"),
    "always_equal": (ADD_ONE, EQUAL),
    "always_equal_number": (ADD_ONE, "type('E', (int,), {'__eq__': lambda s, o: True})(3)"),
    "mock_any": (ADD_ONE, "__import__('unittest.mock', fromlist=['ANY']).ANY"),
    "call_respelled": (ADD_ONE, "f( 1)"),
    "call_unpacked": (ADD_ONE, "f(*[1])"),
    "call_in_branch": (ADD_ONE, "3 if 0 else f( 1)"),
    "call_by_name": (ADD_ONE, "globals()['f'](1)"),
    "call_evaluated": (ADD_ONE, "eval('f(' + '1)')"),
    "call_in_comment": (ADD_ONE, "f( 1) # f("),
    "computed": (ADD_ONE, "1 + 1"),
    "lambda": (ADD_ONE, "(lambda: f( 1))()"),
    "second_statement": (ADD_ONE, "3 or True\nassert True"),
    "frame_walk": (ADD_ONE, WALK),
    "one_for_true": (TO_BOOL, "1"),
    "float_for_true": (TO_BOOL, "1.0"),
    "true_for_one": (TO_LIST, "[True]"),
    "float_for_int": (ADD_ONE, "2.0"),
    "complex_for_int": (ADD_ONE, "2+0j"),
}

INPUT_TRICKS = {
    "comment": (ADD_ONE, "2 # f("),
    "empty_comment_line": (ADD_ONE, "2\n# f("),
    "text": (ADD_ONE, "2 and 'f('"),
    "branch_not_taken": (ADD_ONE, "f(1) if 0 else 2"),
    "branch_on_text": (ADD_ONE, "2 if 'f(' else 0"),
    "or_true": (ADD_ONE, "f(9) or True"),
    "or_output": (ADD_ONE, "f(-1) or 2"),
    "chain": (ADD_ONE, "f(9) == 3 or 2"),
    "added_up": (ADD_ONE, "f(9) - 8"),
    "second_call": (ADD_ONE, "f(9) * 0 + f(1)"),
    "always_equal": (ADD_ONE, "type('E', (), {'__eq__': lambda s, o: True, 'f(': 0})()"),
    "always_equal_result": (ADD_ONE, "f(type('E', (), {'__add__': lambda s, o: s, '__eq__': lambda s, o: True})())"),
    "always_equal_number": (
        ADD_ONE,
        "f(type('E', (int,), {'__add__': lambda s, o: s, '__eq__': lambda s, o: True})(9))",
    ),
    "argument_decides": (ADD_ONE, "f(type('E', (int,), {'__add__': lambda s, o: 2})(9))"),
    "length_decides": (COUNT, "f(type('E', (str,), {'__len__': lambda s: 2})())"),
    "searched": (ADD_ONE, "f(next(x for x in range(99) if f(x) == 2))"),
    "searched_without_f": (ADD_ONE, "f([x for x in range(99) if x + 1 == 2][0])"),
    "own_f": (ADD_ONE, "(lambda f=lambda x: 2: f(0))()"),
    "rebound_f": (ADD_ONE, "f.__globals__.update(f=lambda x: 2) or f(9)"),
    "rebound_builtin": (SUM, "f(__import__('builtins').__dict__.update(sum=lambda x: 2) or [])"),
    "rebound_code": (ADD_ONE, "[setattr(f, '__code__', (lambda x: 2).__code__), f(9)][1]"),
    "result_of_result": (ADD_ONE, "[f(9), 2][1]"),
    "second_statement": (ADD_ONE, "2\nf(9)"),
    "frame_walk": (ADD_ONE, f"f({WALK})"),
    "frame_walk_beside": (ADD_ONE, f"{WALK} or f(9)"),
}

TRICKS = [
    pytest.param(task, code, predicted, id=f"{task}-{name}")
    for task, tricks in ((Task.OUTPUT, OUTPUT_TRICKS), (Task.INPUT, INPUT_TRICKS))
    for name, (code, predicted) in tricks.items()
]


def official_text(task, code, predicted):
    arguments, output = PROGRAMS[code]
    return check(code, arguments, output, predicted, task)


def ours(sandbox, task, code, response):
    arguments, output = PROGRAMS[code]
    call = f"f({arguments})"
    problem = Problem("p", code, call, instrument(code, call).code, [], output, task)
    (score,) = score_group(problem, [response], lambda instrumented: trace(sandbox, instrumented))
    return score


@pytest.mark.parametrize(("task", "code", "predicted"), TRICKS)
def test_a_trick_passes_officially(quick_sandbox, task, code, predicted):
    assert list(official_verdicts(quick_sandbox, [official_text(task, code, predicted)])) == [True]


@pytest.mark.parametrize(("task", "code", "predicted"), TRICKS)
@pytest.mark.parametrize("committed", [False, True], ids=["answered", "committed"])
def test_a_trick_earns_nothing(quick_sandbox, task, code, predicted, committed):
    head = f"<input>{predicted}</input>" if committed else ""
    score = ours(quick_sandbox, task, code, f"{head}<answer>{predicted}</answer>")
    assert score.verdict not in (Verdict.OK, Verdict.SANDBOX_ERROR)
    assert (score.final_reward, sum(score.step_rewards)) == (0.0, 0.0)


@pytest.mark.parametrize("code", PROGRAMS)
@pytest.mark.parametrize("task", Task)
def test_the_honest_answer_earns_the_reward(quick_sandbox, task, code):
    arguments, output = PROGRAMS[code]
    answer = output if task is Task.OUTPUT else f"f({arguments})"
    assert list(official_verdicts(quick_sandbox, [official_text(task, code, answer)])) == [True]
    score = ours(quick_sandbox, task, code, f"<answer>{answer}</answer>")
    assert (score.verdict, score.final_reward) == (Verdict.OK, 1.0)


def test_the_tricks_pass_a_checker_of_the_official_build_too():
    """Without a sandbox: a manager process and a child a check, as officially."""
    # What a frame walk adds comes first and a failure after it; officially the first entry counts, here both.
    texts = [official_text(*trick.values) for trick in TRICKS if "frame_walk" not in trick.id]
    command = [sys.executable, "-m", "benchmarks.official_checker"]
    told = subprocess.run(
        command, cwd=ROOT, input=json.dumps(texts), capture_output=True, text=True, timeout=300, check=True
    )
    assert json.loads(told.stdout)["failed"] == []
