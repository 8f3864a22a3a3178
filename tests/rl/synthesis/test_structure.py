import ast

import pytest

from rl.synthesis.structure import arguments_of, broken_rules

GOOD = "def f(words):\n    return sorted(set(words))\n\n\nprint(f(['b', 'a']))\n"


@pytest.mark.parametrize(
    "source",
    [
        GOOD,
        "def f(words):\n    return len(words)\n",
        "def f(words):\n    return len(words)\n\nf(['a'])\n",
        "import math\n\ndef g(x):\n    return math.floor(x)\n\ndef f(x, y):\n    return g(x) + g(y)\n",
        "def f(a):\n    seen = {1} | set(a)\n    return 3 in seen, len(seen), sum(seen), seen\n",
        "def f(a):\n    return sum(x for x in set(a)) + max({x for x in {a, 'b'}})\n",
        "def f(a):\n    s = set(a)\n    return s.pop()\n\nprint(f([2, 1]))\n",
        "def f(s):\n    left = s.copy()\n    taken = left.pop()\n    return taken, list(s)\n\nprint(f({2, 1}))\n",
        "def f(s, t):\n    return t.pop(), len({*s})\n\nprint(f({'a'}, ['b']))\n",
        "def f(a):\n    while True:\n        a -= 1\n        if a < 0:\n            return a\n",
    ],
)
def test_good_programs(source):
    assert broken_rules(source) == []


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def f(:\n", "line 1: not Python"),
        ("def f(a):\n    return '\x00'", "not Python"),
        ("x = 3\n", "0 functions"),
        ("def a(x):\n    return x\n" * 3, "3 functions"),
        (GOOD + "print(f(['c']))\n", "the entry f is called 2 times"),
        (GOOD + "print(3)\n", "line 6: at module level"),
        ("x = 3\n" + GOOD, "line 1: at module level"),
        ("def f(a):\n    print(a)\n    return a\n", "line 2: only the entry call may be printed"),
        ("def f(a):\n    return f(a - 1) if a else 0\n\nprint(f(3))\n", "the entry f is called 2 times"),
        ("def f(a=3):\n    return a\n", "f has default arguments"),
        ("def f(*, a=3):\n    return a\n", "f has default arguments"),
        ("def f(a, b, c, d):\n    return a\n", "f takes 4 arguments"),
        ("def f():\n    return 3\n", "f takes 0 arguments"),
        ("def f(a, *rest):\n    return a\n", "any number of arguments"),
        ("def f(a):\n    a.sort()\n", "f returns nothing"),
        ("import random\n\ndef f(a):\n    return a\n", "line 1: imports random"),
        ("from os.path import join\n\ndef f(a):\n    return a\n", "line 1: imports from os.path"),
        ("def f(a):\n    return id(a)\n", "line 2: uses id"),
        ("def f(a):\n    return hash(a) + int(input())\n", "line 2: uses hash"),
        ("def f(a):\n    return a  # why\n", "line 2: a comment"),
        ("def f(a):\n    pairs = zip(a, a)\n    return list(pairs)\n", "line 2: a lazy iterator"),
        ("def f(a):\n    return (x for x in a)\n", "line 2: a lazy iterator"),
        ("def f(a):\n    yield a\n    return a\n", "line 2: a generator"),
        ("def f(a):\n    while True:\n        a += 1\n    return a\n", "line 2: a loop without end"),
        ("def f(a):\n    global b\n    return a\n", "line 2: a Global"),
        ("def f(a):\n    return list(set(a))\n", "line 2: list of a set"),
        ("def f(a):\n    seen = set(a)\n    return '-'.join(seen)\n", "line 3: join of a set"),
        ("def f(a):\n    seen = set(a)\n    for x in seen:\n        return x\n", "line 3: a loop over a set"),
        ("def f(a):\n    return [x for x in set(a) - {1}]\n", "line 2: a comprehension over a set"),
        ("def f(a):\n    seen = set(a)\n    return f'{seen}'\n", "line 3: a set in an f-string"),
        ("def f(a):\n    def g(x, y=2):\n        return x\n    return g(a)\n", "line 2: g has default arguments"),
        ("def f(a):\n    return sorted(a, key=lambda x=3: x)\n", "line 2: a lambda has default arguments"),
        ("def f(a):\n    if a:\n        b = a\n\\\n        b = 2\n        # b\n    return a\n", "line 6: a comment"),
        ("def f(a):\n    return a\n\nprint(f(1), sep='')\n", "line 4: at module level"),
        ("def f(a):\n    p = print\n    p(a)\n    return a\n", "line 2: print by another name"),
        ("def f(a):\n    s = set(a)\n    return ''.join(c for c in s)\n", "line 3: join goes through a set"),
        ("def f(a):\n    return next(c for c in {a, 'b'})\n", "line 2: next goes through a set"),
        ("def f(a):\n    x, *y = {a, 'b'}\n    return x\n", "line 2: a set is unpacked"),
        ("def f(a):\n    return [*{a, 'b'}]\n", "line 2: a set is unpacked"),
        ("def f(a):\n    s = set(a)\n    return s.pop()\n\nf(['a'])\n", "line 3: pop of a set"),
        ("def f(s):\n    return s.pop()\n\nprint(f({'a', 'b'}))\n", "line 2: pop of a set"),
        ("def f(n, s):\n    return list(s)[n]\n\nf(0, {'a', (1, 'b')})\n", "line 2: list of a set"),
    ],
)
def test_broken_rules_are_told(source, told):
    assert any(told in rule for rule in broken_rules(source)), broken_rules(source)


def test_a_call_that_is_not_in_the_source_says_what_is_a_set():
    source = "def f(s):\n    return s.pop()\n"
    calls = ("f({'a'})", "f({1, 2.5})", "f(['a'])")
    words, numbers, items = (arguments_of(ast.parse(call, mode="eval").body) for call in calls)
    assert broken_rules(source, words) == ["line 2: pop of a set takes any of its items"]
    assert broken_rules(source, numbers) == broken_rules(source, items) == []
