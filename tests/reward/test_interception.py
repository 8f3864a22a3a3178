"""Anchors that are compiled as text: the same as by the tree, or left to it."""

import builtins

import pytest

from reward.zygote import interception
from reward.zygote.interception import HOOK, AnchorMissing, compile_program
from rl.anchors import instrument

PROGRAM = """
import math

def g(a):
    b = a * 2
    try:
        c = b + math.floor(1.5)
    finally:
        d = [0]
    return [x for x in (b, c, d)]

def f(x):
    y = g(x)
    class A:
        z = 1
    def inner(k):
        m = k + 1
        return m
    for i in range(3):
        y.append(inner(i))
    return y

value = f(3)
"""


def hooked(code, lines):
    """What the hook is handed when the program runs."""
    said: list[tuple[str, str, int]] = []
    setattr(builtins, HOOK, lambda label, value, conversion: said.append((label, repr(value), conversion)))
    try:
        exec(compile_program(code, lines), {})
    finally:
        delattr(builtins, HOOK)
    return said


@pytest.fixture
def without_the_tree(monkeypatch):
    monkeypatch.setattr(interception, "_compiled_as_tree", None)


@pytest.mark.parametrize("state_text", ["str", "repr"])
def test_both_ways_hand_over_the_same(monkeypatch, state_text):
    program = instrument(PROGRAM, None, state_text)
    lines = tuple(anchor.line for anchor in program.anchors)
    with monkeypatch.context() as patched:
        patched.setattr(interception, "_compiled_as_tree", None)
        as_text = hooked(program.code, lines)
    monkeypatch.setattr(interception, "_compiled_as_text", lambda code, lines: None)
    assert as_text == hooked(program.code, lines)
    assert ("b: ", "6", -1 if state_text == "str" else ord("r")) in as_text
    assert len(as_text) >= len(lines) > 8


def test_line_numbers_stay(without_the_tree):
    code = "x = 1\nprint(f'x: {x}')\nraise ValueError"
    with pytest.raises(ValueError) as error:  # noqa: PT011
        hooked(code, (2,))
    assert error.traceback[-1].lineno + 1 == 3


def test_only_announced_lines_are_taken(without_the_tree, capsys):
    assert hooked("x = 1\nprint(f'x: {x}')\nprint(f'x: {x}')", (3,)) == [("x: ", "1", -1)]
    assert capsys.readouterr().out == "x: 1\n"


@pytest.mark.parametrize(
    ("code", "lines", "said"),
    [
        ("x = 1\nif x: print(f'x: {x}')", (2,), [("x: ", "1", -1)]),
        ('x = 1\nprint(f"x: {x}")', (2,), [("x: ", "1", -1)]),
        ("def f(x):\n    return x\n    print(f'x: {x}')\nf(1)", (3,), []),
        ("def f():\n    print(f'yield: {yield}')\nlist(f())", (2,), [("yield: ", "None", -1)]),
        ("hook_of_the_anchors = len\nprint(f'x: {hook_of_the_anchors}')", (2,), [("x: ", "<built-in function len>", -1)]),
        ("\u210eook_of_the_anchors = x = 1\nprint(f'x: {x}')", (2,), [("x: ", "1", -1)]),
    ],
    ids=["on_a_line_with_others", "other_quotes", "never_reached", "a_yield", "the_name_in_its_place", "other_letters"],
)
def test_what_the_text_does_not_tell_the_tree_does(code, lines, said):
    assert interception._compiled_as_text(code, lines) is None
    assert hooked(code, lines) == said


@pytest.mark.parametrize(
    "code", ["x = '''\nprint(f'x: {x}')\n'''", "x = 1\n# print(f'x: {x}')", "x = 1\n", "x = 1\rprint(f'x: {x}')\nx = 2"]
)
def test_a_line_that_only_looks_like_an_anchor_is_none(code):
    with pytest.raises(AnchorMissing, match="line 2 holds no") if "\r" not in code else pytest.raises(AnchorMissing):
        compile_program(code, (2,) if "\r" not in code else (3,))


def test_many_names(without_the_tree):
    names = "\n".join(f"n{number} = len('{number}')" for number in range(90))
    assert hooked(f"{names}\nprint(f'n3: {{n3}}')", (91,)) == [("n3: ", "1", -1)]


def test_too_many_names_for_one_byte():
    names = "\n".join(f"n{number} = len('{number}')" for number in range(300))
    assert interception._compiled_as_text(f"{names}\nprint(f'n3: {{n3}}')", (301,)) is None
    assert hooked(f"{names}\nprint(f'n3: {{n3}}')", (301,)) == [("n3: ", "1", -1)]


@pytest.mark.parametrize("code", ["x = 1\nprint(f'x: {x}')\ny =", "x = 1\nprint(f'x: {x}'"])
def test_what_does_not_compile_says_so_as_ever(code):
    with pytest.raises(SyntaxError) as ours:
        compile_program(code, (2,))
    with pytest.raises(SyntaxError) as pythons:
        compile(code, "<program>", "exec")
    assert (ours.value.msg, ours.value.lineno) == (pythons.value.msg, pythons.value.lineno)
