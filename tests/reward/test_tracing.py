"""Traces against what the same program prints, and the check that anchors change nothing."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from reward.sandbox import Program, Sandbox
from reward.tracing import Disagreement, Trace, agree, trace
from rl.anchors import Anchor, Instrumented, instrument
from rl.verdicts import Verdict

CRUXEVAL = Path(__file__).parents[1] / "data" / "cruxeval.jsonl"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def test_a_trace_by_hand(sandbox):
    code = "def f(x):\n    y = x + '\\n'\n    print(f'y: {y}')\n    print('own')\n    return y"
    traced = trace(sandbox, Instrumented(code, "f('a')", (Anchor(3, "y"),)))
    assert traced == Trace(Verdict.OK, "'a\\n'", "str", None, ("y: a\n",), "own\n")


def test_an_anchor_that_is_not_there_is_bad_input(sandbox):
    with pytest.raises(ValueError, match="line 1 holds no"):
        trace(sandbox, Instrumented("x = 1", None, (Anchor(1, "x"),)))


def test_every_cruxeval_program_keeps_its_output_and_its_states_are_what_it_would_print(sandbox):
    rows = [json.loads(line) for line in CRUXEVAL.read_text(encoding="utf-8").splitlines()]
    wrong = []
    states = 0
    for row in rows:
        instrumented = instrument(row["code"], f"f({row['input']})")
        traced = trace(sandbox, instrumented)
        shown = sandbox.run(Program(instrumented.code, instrumented.call))
        states += len(traced.states)
        printed = "".join(f"{state}\n" for state in traced.states)
        if traced.output != repr(eval(row["output"])) or without_addresses(printed) != without_addresses(shown.stdout):
            wrong.append(row["id"])
    assert (len(rows), wrong) == (800, [])
    assert states > 2000


def without_addresses(text: str) -> str:
    return re.sub(r"0x[0-9a-f]+", "0x", text)


def test_anchors_that_only_look_agree(sandbox):
    code = "def f(x):\n    print('own')\n    x += 1\n    return x"
    assert agree(sandbox, code, instrument(code, "f(1)")) is True


def test_an_exception_agrees_with_itself(sandbox):
    code = "def f(x):\n    y = x\n    return y[9]"
    assert agree(sandbox, code, instrument(code, "f([])")) is True


@pytest.mark.parametrize(
    ("changed", "what", "before", "after"),
    [
        ("def f(): return 2", "output", "1", "2"),
        ("def f(): return 1.0", "output", "1", "1.0"),
        ("def f(): return type('C', (), {'__repr__': lambda self: '1'})()", "type_name", "int", "C"),
        ("def f():\n    print(1)\n    return 1", "stdout", "", "1\n"),
        ("def f(): raise OSError", "verdict", "ok", "exception"),
    ],
)
def test_a_change_is_named(sandbox, changed, what, before, after):
    found = agree(sandbox, "def f(): return 1", Instrumented(changed, "f()", ()))
    assert found == Disagreement(what, before, after)
    assert not found
    assert str(found) == f"{what}: {found.original!r} without anchors, {found.instrumented!r} with them"


def test_another_exception_is_a_change(sandbox):
    found = agree(sandbox, "def f(): raise OSError(1)", Instrumented("def f(): raise OSError(2)", "f()", ()))
    assert found == Disagreement("exception", "OSError: 1", "OSError: 2")
