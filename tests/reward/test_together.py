"""Programs that share a process are told of as if each had one of its own."""

from dataclasses import replace
from random import Random

import pytest

from reward.sandbox import Limits, Program, Sandbox
from reward.tracing import traced_program
from rl.anchors import instrument
from rl.synthesis.generator import Grammar, generate
from rl.synthesis.grid import inputs, mixed_cells, write_program
from rl.synthesis.narration import located
from rl.verdicts import Verdict

LIMITS = Limits(wall_s=10.0, cpu_s=0.5, output_bytes=5000)
FINE = Program("def f(a):\n    b = a + 1\n    print(f'b: {b}')\n    return b", "f(6)", (3,), keep_arguments=True)


@pytest.fixture(scope="module", params=[0, 1])
def sandbox(request):
    with Sandbox(seed=request.param) as sandbox:
        yield sandbox


def timeless(execution):
    return replace(execution, seconds=0.0, cpu_s=0.0, peak_mib=0.0)


def alike(sandbox, programs):
    """What became of them together, which is what becomes of each alone."""
    together = [timeless(one) for one in sandbox.run_together(programs, LIMITS)]
    assert together == [timeless(sandbox.run(program, LIMITS)) for program in programs]
    return together


def of_the_grid(index):
    rng = Random(index)
    program = write_program(mixed_cells()[97 * index % len(mixed_cells())], rng)
    return program.source, program.call(inputs(program.parameters, rng, 1)[0])


@pytest.mark.parametrize("source", [lambda index: generate(3, index, Grammar()), of_the_grid])
def test_generated_programs(sandbox, source):
    programs = []
    for code, call in map(source, range(30)):
        shown = instrument(code, call)
        traced = [traced_program(one, arguments=True) for one in (shown, located(shown))]
        programs += [Program(code, call, keep_arguments=True), *traced]
    found = alike(sandbox, programs)
    assert sum(one.verdict is Verdict.OK for one in found) > 0.9 * len(found)


@pytest.mark.parametrize(
    ("code", "call", "verdict"),
    [
        ("def f(): raise ValueError('no')", "f()", Verdict.EXCEPTION),
        ("def f(:", "f()", Verdict.EXCEPTION),
        ("import sys\nsys.exit(3)", "1", Verdict.EXCEPTION),
        ("import os\nos._exit(0)", "1", Verdict.NO_RESULT),
        ("while True: pass", "1", Verdict.TIMEOUT),
        ("import ctypes\nctypes.string_at(0)", "1", Verdict.CRASHED),
        ("a = 'x' * 10_000", "a", Verdict.OUTPUT_LIMIT),
        ("for _ in range(10_000): print('x' * 100)", "1", Verdict.OUTPUT_LIMIT),
        ("a = bytearray(1 << 33)", "1", Verdict.MEMORY),
        ("def f(n): return n and 1 + f(n - 1)", "f(5000)", Verdict.EXCEPTION),
        ("class A:\n    def __repr__(self): raise KeyError\na = A()", "a", Verdict.EXCEPTION),
    ],
)
def test_one_that_comes_to_no_value_harms_no_other(sandbox, code, call, verdict):
    found = alike(sandbox, [FINE, Program(code, call), FINE])
    assert [one.verdict for one in found] == [Verdict.OK, verdict, Verdict.OK]


@pytest.mark.parametrize("catch", ["except BaseException", "except"])
def test_states_beyond_the_limit_are_too_many_even_where_the_program_goes_on(sandbox, catch):
    code = f"""
def f():
    a = 'x' * 1000
    for _ in range(20):
        try:
            print(f'a: {{a}}')
        {catch}:
            pass
    return 1
"""
    (_, much, _) = alike(sandbox, [FINE, Program(code, "f()", (6,)), FINE])
    assert much.verdict is Verdict.OUTPUT_LIMIT


def test_what_each_prints_draws_and_calls_its_own_is_its_own(sandbox):
    prints = Program("print('mine')\nx = 1", "x")
    draws = Program("import random", "random.random()")
    looks = Program("import sys\nx = 2", "(sys.modules['__main__'].x, __name__, 'f' in globals())")
    first, drawn, seen, again, quiet = alike(sandbox, [prints, draws, looks, draws, FINE])
    assert (first.stdout, seen.stdout, quiet.stdout) == ("mine\n", "", "")
    assert drawn.value == again.value
    assert seen.value == "(2, '__main__', False)"
    assert quiet.states == ("b: 7", "((6,), {})")


def test_what_is_written_past_the_report_lets_each_run_alone(sandbox):
    (_, written, _) = alike(sandbox, [FINE, Program("import os\nos.write(1, b'over')", "1"), FINE])
    assert written.stdout == "over"


def test_a_line_without_its_anchor_is_refused_as_ever(sandbox):
    with pytest.raises(ValueError, match="anchor_lines"):
        sandbox.run_together([FINE, Program("x = 1", "x", (1,))], LIMITS)


def test_of_none_and_of_one():
    with Sandbox() as sandbox:
        assert sandbox.run_together([]) == []
        assert [one.value for one in sandbox.run_together([FINE])] == ["7"]


def test_a_zygote_that_dies_is_replaced_and_nothing_is_lost():
    with Sandbox() as sandbox:
        sandbox._zygote._process.kill()
        sandbox._zygote._process.wait()
        assert [one.value for one in sandbox.run_together([FINE] * 3)] == ["7"] * 3
        assert sandbox.restarts == 1
