"""A name is shown only where every path binds it: each program takes the path on which the name is not bound."""

import textwrap

import pytest
from test_anchors_behaviour import compare

AFTER = """
    for _ in (): a = 0
    return 'ok'
"""
"""A loop that never runs and affects `a`: an anchor behind it would raise where `a` is unbound."""

BODIES = {
    "del": "a = 1\ndel a",
    "del in a loop": "a = 1\nfor _ in range(1):\n    a += 1\n    del a",
    "del in a while": "a = 1\nwhile n == 0:\n    n = 1\n    del a",
    "del on the way out of a loop": "a = 1\nwhile True:\n    try: break\n    finally: del a",
    "del in an interrupted try": "a = 1\ntry:\n    del a\n    1 // n\n    a = 2\nexcept ZeroDivisionError: pass",
    "del in a finally": "a = 1\ntry: pass\nfinally: del a",
    "del in a suppressed block": "a = 1\nwith suppress(Exception):\n    del a\n    1 // n\n    a = 1",
    "del in a branch": "a = 1\nif not n: del a",
    "del in an inner function": "a = 1\ndef g():\n    nonlocal a\n    del a\ng()",
    "end of except as": "a = 1\ntry: 1 // n\nexcept Exception as a: pass",
    "except as in an inner function": "a = 1\ndef g():\n    nonlocal a\n    try: 1 // n\n"
    "    except Exception as a: pass\ng()",
    "several except*": "a = 1\ntry: raise ExceptionGroup('', [ValueError(), TypeError()])\n"
    "except* ValueError: a = 2\nexcept* TypeError as a: pass",
    "branch": "if n: a = 1",
    "elif": "if n: a = 1\nelif n == 0: pass\nelse: a = 2",
    "loop variable": "for a in range(n): pass",
    "loop body": "for b in range(n): a = b",
    "while body": "while n: a = n",
    "break before": "while True:\n    if not n: break\n    a = 1",
    "continue before": "for b in (1,):\n    if not n: continue\n    a = 1",
    "else skipped by break": "for b in (1,): break\nelse: a = 1",
    "handler": "try: 1 // n\nexcept ZeroDivisionError: pass\nelse: a = 1",
    "try interrupted": "try:\n    1 // n\n    a = 1\nexcept ZeroDivisionError: pass",
    "suppressed": "with suppress(Exception):\n    1 // n\n    a = 1",
    "suppressed second context": "with suppress(Exception), open(n - 1) as a: pass",
    "return in a suppressed block": "with suppress(Exception): return 1 // n\nif n: a = 1",
    "no case": "match n:\n    case 1: a = 1",
    "another case": "match n:\n    case 1: a = 1\n    case _: pass",
    "guarded case": "match n:\n    case 0 if (n and (a := 1)): pass\n    case _: pass",
    "and": "n and (a := 1)",
    "or": "b = not n or (a := 1)",
    "chained comparison": "0 < n < (a := 3)",
    "ternary": "b = (a := 1) if n else 2",
    "ternary else": "b = 1 if n == 0 else (a := 2)",
    "comprehension": "b = [(a := x) for x in range(n)]",
    "comprehension variable": "b = [a for a in range(3)]",
    "lambda": "b = [lambda: a, lambda a: a]",
    "annotation": "a: int",
    "while test": "while n and (a := n): pass",
    "if test": "if n and (a := n): pass",
    "default of a function": "def g(b=n and (a := 1)): pass",
    "unreachable": "if n:\n    a = 1\n    raise ValueError",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_an_unbound_local_is_not_shown(body: str) -> None:
    code = "from contextlib import suppress\ndef f(n):\n" + textwrap.indent(body, "    ") + AFTER
    assert compare(code, "f(0)").outcome == ("str", "'ok'")


MODULES = {
    "local of the same name as a global": "a = 1\ndef f(n):\n    for _ in (): a = 2\n    return 'ok'",
    "global of the same name as an outer local": "def f(n):\n    a = 1\n    def g():\n        global a\n"
    "        for _ in (): a = 2\n        return 'ok'\n    return g() if a else a",
    "global that another function deletes": "a = []\ndef g():\n    global a\n    del a\n"
    "def f(n):\n    g()\n    for _ in (): a.append(1)\n    return 'ok'",
    "global deleted after the definition": "a = []\ndef f(n):\n    for _ in (): a.append(1)\n    return 'ok'\ndel a",
    "global defined later": "def f(n):\n    for _ in (): a.append(1)\n    return 'ok'\nb = f(0)\na = []\ndel a",
    "global defined in a branch": "import os\nif not os: a = []\ndef f(n):\n    for _ in (): a.append(1)\n    return 'ok'",
    "name of a class body": "class A:\n    a = []\n    def m(self):\n        for _ in (): a.append(1)\n"
    "        return 'ok'\ndef f(n):\n    return A().m()",
    "outer local deleted later": "def f(n):\n    a = []\n    def g():\n        for _ in (): a.append(1)\n"
    "        return 'ok'\n    del a\n    return g()",
    "module loop": "for _ in (): a = 1\nfor _ in (): a = 2\nf = lambda n: 'ok'",
    "module name deleted by a function": "def g():\n    global a\n    del a\n"
    "a = 1\ng()\nfor _ in (): a = 2\nf = lambda n: 'ok'",
}


@pytest.mark.parametrize("code", MODULES.values(), ids=MODULES)
def test_an_unbound_name_around_is_not_shown(code: str) -> None:
    assert compare(code, "f(0)").outcome == ("str", "'ok'")


def test_a_finally_shows_only_what_every_way_into_it_binds() -> None:
    code = "def f(n):\n    try: a = 1 // n\n    finally:\n        for _ in (): a = 2\n    return a"
    assert compare(code, "f(0)").outcome[0] == "raise ZeroDivisionError"
    assert compare(code, "f(1)").states == ["a: 1", "return_val: 1"]


def test_a_handler_shows_only_what_is_bound_when_the_body_breaks() -> None:
    code = "def f(n):\n    b = 1\n    try:\n        del b\n        a = 1 // n\n    except ZeroDivisionError:\n"
    code += "        for _ in (): a = b = 2\n        return 'ok'"
    assert compare(code, "f(0)").states == ["b: 1", "return_val: ok"]


BOUND = {
    "both branches": "if n: a = 1\nelse: a = 2",
    "every case": "match n:\n    case 1: a = 1\n    case b: a = b",
    "the branch that goes on": "if n: return 1\nelse: a = 2",
    "every break": "while True:\n    a = 1\n    if not n: break",
    "first operand": "(a := n) and n",
    "finally": "try: 1 // 1\nfinally: a = 1",
    "else and handler": "try: 1 // n\nexcept ZeroDivisionError: a = 1\nelse: a = 2",
    "for and its else": "for _ in (): pass\nelse: a = 1",
    "an import": "import math as a",
    "global": "global a\na = n",
}


@pytest.mark.parametrize("body", BOUND.values(), ids=BOUND)
def test_a_surely_bound_name_is_shown(body: str) -> None:
    code = "def f(n):\n" + textwrap.indent(body, "    ") + "\n    for _ in (0,): a = 'new'\n    return 'ok'"
    assert compare(code, "f(0)").states[-2:] == ["a: new", "return_val: ok"]
