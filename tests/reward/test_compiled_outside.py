"""A program that is compiled before it is sent does what it does when it is compiled in its own process."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from reward.programs import Program
from reward.sandbox import Sandbox
from rl.anchors import instrument
from rl.verdicts import Verdict

CRUXEVAL = Path(__file__).parents[1] / "data" / "cruxeval.jsonl"

TRACEBACK = """\
def f():
    import traceback
    try:
        1 / 0
    except ZeroDivisionError:
        return traceback.format_exc()
"""

DEEP = """\
def f(n):
    try:
        return f(n + 1)
    except RecursionError:
        return n
"""

ODD = {
    "no Python": Program("def f(:\n", "f()"),
    "a null byte": Program("a = 1\0", "a"),
    "half of a surrogate pair": Program("a = '\ud800'", "a"),
    "nested too deeply": Program("a = " + "(" * 150 + "1" + ")" * 150, "a"),
    "a long chain": Program("a = " + "-" * 5000 + "1", "a"),
    "a warning": Program("def f(x):\n    return x is 1\n", "f('\\\\d')"),
    "windows' newlines": Program("def f(x):\r\n    return x\r\n", "f(1)"),
    "the future": Program("from __future__ import annotations\ndef f(x: y):\n    return f.__annotations__\n", "f(1)"),
    "what is one and the same": Program("a = 1000\ndef f():\n    return a is 1000, 'x y' is 'x y'\n", "f()"),
    "its own code": Program("def f():\n    return f.__code__.co_filename, f.__code__.co_firstlineno\n", "f()"),
    "an exception": Program(TRACEBACK, "f()"),
    "as deep as it goes": Program(DEEP, "f(0)"),
    "arguments": Program("def f(a):\n    a.append(1)\n    print(a)\n", "f([])", keep_arguments=True),
}


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as sandbox:
        yield sandbox


def same(sandbox, program):
    """What a run gives, the same either way."""
    inside = sandbox.run(replace(program, compiled_outside=False))
    outside = sandbox.run(replace(program, compiled_outside=True))
    for field in ("verdict", "value", "type_name", "exception", "stdout", "states"):
        assert getattr(inside, field) == getattr(outside, field), field
    return outside


@pytest.mark.parametrize("name", ODD)
def test_odd_programs(sandbox, name):
    same(sandbox, ODD[name])


def test_programs_of_cruxeval_with_their_anchors(sandbox):
    for line in CRUXEVAL.read_text().splitlines()[:200]:
        row = json.loads(line)
        program = instrument(row["code"], f"f({row['input']})")
        lines = tuple(anchor.line for anchor in program.anchors)
        found = same(sandbox, Program(program.code, program.call, lines, keep_arguments=True))
        assert (found.verdict, len(found.states) >= 2) == (Verdict.OK, True)


@pytest.mark.parametrize("outside", [False, True])
def test_a_line_without_an_anchor_is_told(sandbox, outside):
    with pytest.raises(ValueError, match=r"^anchor_lines: line 1 holds no print\(f'NAME: \{NAME\}'\) statement$"):
        sandbox.run(Program("a = 1", "a", (1,), compiled_outside=outside))
