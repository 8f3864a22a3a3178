"""The exact text of instrumented programs, one grammar element a case: expressions, scopes' words, and strings.

Every one of them is also run, without and with anchors: value, type, exception, own output, and the arguments afterwards.
"""

import copy

import pytest
import test_anchors_text
import test_anchors_text_blocks
from test_anchors_behaviour import compare, observe
from test_anchors_text import as_written, check_text

from rl.anchors import instrument

CASES = {
    "ternary and comprehensions": (
        """
        def f(xs):
            sign = 1 if xs else -1
            squares = [x * x for x in xs if x > 0]
            table = {x: sign for x in xs}
            return {s for s in squares} if sign > 0 else table
        """,
        """
        def f(xs):
            sign = 1 if xs else -1
            print(f'sign: {sign}')
            squares = [x * x for x in xs if x > 0]
            print(f'squares: {squares}')
            table = {x: sign for x in xs}
            print(f'table: {table}')
            return_val = {s for s in squares} if sign > 0 else table
            print(f'return_val: {return_val}')
            return return_val
        """,
    ),
    "walrus": (
        """
        def f(xs):
            ys = [last := x + 1 for x in xs]
            xs.append((n := len(ys)) * 2)
            return (m := n) + last
        """,
        """
        def f(xs):
            ys = [last := x + 1 for x in xs]
            print(f'ys: {ys}')
            xs.append((n := len(ys)) * 2)
            print(f'xs: {xs}')
            print(f'n: {n}')
            return_val = (m := n) + last
            print(f'return_val: {return_val}')
            return return_val
        """,
    ),
    "attribute and subscript, plain and augmented": (
        """
        class Box: pass
        def f(xs):
            box = Box
            box.items = xs
            box.items[0] += 5
            box.items[1:] = [7, 8]
            xs[-1], box.size = 9, 2
            xs *= box.size
            return xs
        """,
        """
        class Box: pass
        def f(xs):
            box = Box
            print(f'box: {box}')
            box.items = xs
            print(f'box: {box}')
            box.items[0] += 5
            print(f'box: {box}')
            box.items[1:] = [7, 8]
            print(f'box: {box}')
            xs[-1], box.size = 9, 2
            print(f'xs: {xs}')
            print(f'box: {box}')
            xs *= box.size
            print(f'xs: {xs}')
            print(f'return_val: {xs}')
            return xs
        """,
    ),
    "global and nonlocal": (
        """
        count = 0
        def f(xs):
            global count
            total = 0
            def add(x):
                nonlocal total
                total += x
            for x in xs: add(x)
            count += 1
            return total, count
        """,
        """
        count = 0
        print(f'count: {count}')
        def f(xs):
            global count
            total = 0
            print(f'total: {total}')
            def add(x):
                nonlocal total
                total += x
                print(f'total: {total}')
            for x in xs: add(x)
            count += 1
            print(f'count: {count}')
            return_val = total, count
            print(f'return_val: {return_val}')
            return return_val
        """,
    ),
    "decorators": (
        """
        def twice(g):
            def inner(*args, **kwargs):
                return [g(*args, **kwargs), g(*args, **kwargs)]
            return inner
        @twice
        def f(xs, *rest, key=None):
            xs.append(1)
            return len(xs)
        """,
        """
        def twice(g):
            def inner(*args, **kwargs):
                return_val = [g(*args, **kwargs), g(*args, **kwargs)]
                print(f'return_val: {return_val}')
                return return_val
            return inner
        @twice
        def f(xs, *rest, key=None):
            xs.append(1)
            print(f'xs: {xs}')
            return_val = len(xs)
            print(f'return_val: {return_val}')
            return return_val
        """,
    ),
    "recursion and early returns": (
        """
        def f(xs):
            if not xs: return 0
            head, *tail = xs
            if head < 0:
                return f(tail)
            return head + f(tail)
        """,
        """
        def f(xs):
            if not xs:
                return_val = 0
                print(f'return_val: {return_val}')
                return return_val
            head, *tail = xs
            print(f'head: {head}')
            print(f'tail: {tail}')
            if head < 0:
                return_val = f(tail)
                print(f'return_val: {return_val}')
                return return_val
            return_val = head + f(tail)
            print(f'return_val: {return_val}')
            return return_val
        """,
    ),
    "f-strings and quotes": (
        '''
        def f(xs):
            a = f"{xs!r:>8} it's {'so'}"
            b = 'print(f"a: {a}")' + """print(f'b: {b}')
            return 1"""
            return f'{{}} {a[0]} "{b[:2]}"'
        ''',
        '''
        def f(xs):
            a = f"{xs!r:>8} it's {'so'}"
            print(f'a: {a}')
            b = 'print(f"a: {a}")' + """print(f'b: {b}')
            return 1"""
            print(f'b: {b}')
            return_val = f'{{}} {a[0]} "{b[:2]}"'
            print(f'return_val: {return_val}')
            return return_val
        ''',
    ),
    "existing prints": (
        """
        def f(xs):
            print('start', end='')
            n = len(xs); print(n)
            print(f"n: {n}")
            return print(n)
        """,
        """
        def f(xs):
            print('start', end='')
            n = len(xs)
            print(f'n: {n}')
            print(n)
            print(f"n: {n}")
            return_val = print(n)
            print(f'return_val: {return_val}')
            return return_val
        """,
    ),
    "built-in functions and types say nothing": (
        """
        def f(xs):
            list.sort(xs)
            ys = xs or list
            return len
        def g(list):
            list.sort()
            return list
        """,
        """
        def f(xs):
            list.sort(xs)
            ys = xs or list
            print(f'ys: {ys}')
            return len
        def g(list):
            list.sort()
            print(f'list: {list}')
            print(f'return_val: {list}')
            return list
        """,
    ),
    "a generator with try and finally": (
        """
        def g(xs):
            try:
                for x in xs:
                    got = yield x
                yield from ()
            finally:
                xs.clear()
        def f(xs):
            first = next(iter(g(xs)))
            return first
        """,
        """
        def g(xs):
            try:
                for x in xs:
                    got = yield x
                yield from ()
            finally:
                xs.clear()
                print(f'xs: {xs}')
        def f(xs):
            first = next(iter(g(xs)))
            print(f'first: {first}')
            print(f'return_val: {first}')
            return first
        """,
    ),
    "del and an exception": (
        """
        def f(xs):
            ys = xs[:]
            del xs[0], ys
            return ys  # unbound
        """,
        """
        def f(xs):
            ys = xs[:]
            print(f'ys: {ys}')
            del xs[0], ys
            print(f'xs: {xs}')
            print(f'return_val: {ys}')
            return ys  # unbound
        """,
    ),
    "lambdas": (
        """
        key = lambda x: -x
        def f(xs):
            xs.sort(key=lambda x: key(x))
            add = (lambda a, *, b=1: a + b)
            return add(xs[0])
        """,
        """
        key = lambda x: -x
        def f(xs):
            xs.sort(key=lambda x: key(x))
            print(f'xs: {xs}')
            add = (lambda a, *, b=1: a + b)
            return_val = add(xs[0])
            print(f'return_val: {return_val}')
            return return_val
        """,
    ),
    "module-level code": (
        """
        import math
        base = [math.pi // 1]
        for i in range(2): base.append(i)
        if __name__ == 'elsewhere':
            base = None
        def f(xs):
            return xs + base
        base.append(f([0]))
        """,
        """
        import math
        base = [math.pi // 1]
        print(f'base: {base}')
        for i in range(2): base.append(i)
        print(f'base: {base}')
        if __name__ == 'elsewhere':
            base = None
            print(f'base: {base}')
        def f(xs):
            return_val = xs + base
            print(f'return_val: {return_val}')
            return return_val
        base.append(f([0]))
        print(f'base: {base}')
        """,
    ),
}


@pytest.mark.parametrize(("original", "expected"), CASES.values(), ids=CASES)
def test_text(original: str, expected: str) -> None:
    check_text(original, expected)


@pytest.mark.parametrize("original", [original for original, _ in CASES.values()], ids=CASES)
def test_behaviour_and_what_becomes_of_the_arguments(original: str) -> None:
    code = as_written(original)
    seen = compare(code, "(lambda xs: (repr(f(xs)), xs))([3, -1, 2])")
    assert seen.states
    assert seen.outcome[0] in ("tuple", "raise UnboundLocalError")


def test_arguments_are_left_as_the_original_leaves_them_when_it_raises() -> None:
    code = "def f(xs, d):\n    xs.append(4)\n    d['k'] = xs\n    del xs[0]\n    return d['missing']\n"
    left = []
    for text in (code, instrument(code).code):
        namespace: dict[str, object] = {}
        exec(text, namespace)
        arguments: list[object] = copy.deepcopy([[1, 2], {}])
        with pytest.raises(KeyError, match="missing"):
            namespace["f"](*arguments)  # type: ignore[operator]
        left.append(arguments)
    assert left[0] == left[1] == [[2, 4], {"k": [2, 4]}]


OTHERS = {**test_anchors_text.CASES, **test_anchors_text_blocks.CASES}


@pytest.mark.parametrize(("original", "expected"), OTHERS.values(), ids=OTHERS)
def test_states_as_repr(original: str, expected: str) -> None:
    """The same text but for the conversion; no other line differs."""
    shown, quoted = instrument(as_written(original)), instrument(as_written(original), state_text="repr")
    assert (shown.anchors, shown.lines) == (quoted.anchors, quoted.lines)
    wanted = as_written(expected).split("\n")
    for anchor in quoted.anchors:
        line = wanted[anchor.line - 1]
        assert line.endswith("}')")
        wanted[anchor.line - 1] = line.removesuffix("}')") + "!r}')"
    assert quoted.code == "\n".join(wanted)


def test_states_as_repr_when_run() -> None:
    code = "def f(s):\n    t = s + '\\n'\n    return t\n"
    plain, quoted = (observe(instrument(code, None, form).code, "f('a')").stdout for form in ("str", "repr"))
    assert plain == "t: a\n\nreturn_val: a\n\n"
    assert quoted == "t: 'a\\n'\nreturn_val: 'a\\n'\n"
