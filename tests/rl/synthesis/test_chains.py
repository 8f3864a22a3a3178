import contextlib
import io

import pytest

from rl.anchors import instrument
from rl.responses import parse
from rl.synthesis.chains import chain
from rl.synthesis.generator import Grammar, generate

CODE = """def f(nums, k):
    if k > 3:
        nums.append(k)
    total = 0
    for v in nums:
        if v < 5:
            total += v
    return nums + [total]
"""


def test_the_text_says_what_each_statement_did():
    assert chain(
        CODE, "f([1, 9], 4)", ["nums: [1, 9, 4]", "total: 0", "total: 5", "return_val: [1, 9, 4, 5]"], "[1, 9, 4, 5]"
    ) == (
        "<reasoning>nums: [1, 9], k: 4; if k > 3 = 4 > 3 = True; nums + [k] = [1, 9] + [4]</reasoning>"
        "<print>nums: [1, 9, 4]</print>"
        "<reasoning>0</reasoning><print>total: 0</print>"
        "<reasoning>1 < 5 = True, 0 + 1 = 1; 9 < 5 = False; 4 < 5 = True, 1 + 4 = 5</reasoning><print>total: 5</print>"
        "<reasoning>return nums + [total] = [1, 9, 4] + [5]</reasoning><print>return_val: [1, 9, 4, 5]</print>"
        "<reasoning>return_val</reasoning><answer>[1, 9, 4, 5]</answer>"
    )


def test_a_branch_not_taken_is_said_at_the_next_anchor():
    text = chain("def f(a):\n    if a > 3:\n        a = 0\n    return a\n", "f(2)", ["return_val: 2"], "2")
    assert text.startswith("<reasoning>a: 2; if a > 3 = 2 > 3 = False; return a</reasoning><print>return_val: 2<")


def test_chains_of_generated_programs_read_back_as_their_execution():
    for index in range(200):
        code, call = generate(4, index, Grammar(statements=(1, 7)))
        scope, stdout = {}, io.StringIO()
        with contextlib.redirect_stdout(stdout):
            exec(instrument(code, call).code, scope)
            value = repr(eval(call, scope))
        states = stdout.getvalue().splitlines()
        response = parse(chain(code, call, states, value))
        assert [step.state for step in response.steps] == states
        assert response.answer == value


def test_a_trace_that_is_not_the_program_s_is_refused():
    code = "def f(a):\n    b = a + 1\n    return b\n"
    with pytest.raises(ValueError, match=r"state 0: the chain arrives at 'b: 3', execution at 'b: 4'"):
        chain(code, "f(2)", ["b: 4", "return_val: 4"], "4")
    with pytest.raises(ValueError, match=r"the chain has 2 states, execution 1"):
        chain(code, "f(2)", ["b: 3"], "3")
    with pytest.raises(ValueError, match=r"does not end with the output 4"):
        chain(code, "f(2)", ["b: 3", "return_val: 3"], "4")


def test_a_statement_without_a_rule_is_named():
    with pytest.raises(ValueError, match=r"statement While: while a < 3:"):
        chain("def f(a):\n    while a < 3:\n        a += 1\n    return a\n", "f(2)", ["return_val: 3"], "3")
    with pytest.raises(ValueError, match=r"as many arguments, not the call f\(1, 2\)"):
        chain("def f(a):\n    return a\n", "f(1, 2)", ["return_val: 1"], "1")
