"""The exact text of instrumented programs, one grammar element a case: simple statements and layout."""

import textwrap

import pytest

from rl.anchors import Anchor, instrument

CASES = {
    "plain and augmented assignment": (
        """
        def f(a):
            b = a + 1  # the next one
            b += 2
            return b
        """,
        """
        def f(a):
            b = a + 1  # the next one
            print(f'b: {b}')
            b += 2
            print(f'b: {b}')
            print(f'return_val: {b}')
            return b
        """,
    ),
    "annotated assignment": (
        """
        def f():
            a: int
            b: int = 2
        """,
        """
        def f():
            a: int
            b: int = 2
            print(f'b: {b}')
        """,
    ),
    "unpacking": (
        """
        a, (b, *c), _ = d = [1, (2, 3), 4]
        """,
        """
        a, (b, *c), _ = d = [1, (2, 3), 4]
        print(f'a: {a}')
        print(f'b: {b}')
        print(f'c: {c}')
        print(f'd: {d}')
        """,
    ),
    "changes in place": (
        """
        def f(d, xs, o):
            d['k'][0] = 1
            del d['k'][0]
            o.count += 1
            xs.append(1)
            d['k'].append(2)
            last = xs.pop()
            xs.index(1)
            (xs[0], o.x) = 1, 2
        """,
        """
        def f(d, xs, o):
            d['k'][0] = 1
            print(f'd: {d}')
            del d['k'][0]
            print(f'd: {d}')
            o.count += 1
            print(f'o: {o}')
            xs.append(1)
            print(f'xs: {xs}')
            d['k'].append(2)
            print(f'd: {d}')
            last = xs.pop()
            print(f'last: {last}')
            print(f'xs: {xs}')
            xs.index(1)
            (xs[0], o.x) = 1, 2
            print(f'xs: {xs}')
            print(f'o: {o}')
        """,
    ),
    "return of an expression": (
        """
        def f(a):
            return(a
                   + 1)  # sum
        """,
        """
        def f(a):
            return_val = (a
                   + 1)  # sum
            print(f'return_val: {return_val}')
            return return_val
        """,
    ),
    "return of a tuple, of None, of nothing": (
        """
        def f(a):
            if a > 1:
                return a, *a
            if a:
                return None
            return
        """,
        """
        def f(a):
            if a > 1:
                return_val = a, *a
                print(f'return_val: {return_val}')
                return return_val
            if a:
                return_val = None
                print(f'return_val: {return_val}')
                return return_val
            return
        """,
    ),
    "return_val is taken": (
        """
        def f(return_val):
            return return_val + 1
        """,
        """
        def f(return_val):
            return_val_2 = return_val + 1
            print(f'return_val: {return_val_2}')
            return return_val_2
        """,
    ),
    "several statements on a line": (
        """
        a = 1; b = 2; pass  # both
        import os; import sys;
        def f(x): x += 1; return x  # next
        if a: b = 3; c = 4
        else: pass
        """,
        """
        a = 1
        print(f'a: {a}')
        b = 2
        print(f'b: {b}')
        pass  # both
        import os; import sys;
        def f(x):
            x += 1
            print(f'x: {x}')
            print(f'return_val: {x}')
            return x  # next
        if a:
            b = 3
            print(f'b: {b}')
            c = 4
            print(f'c: {c}')
        else: pass
        """,
    ),
    "docstrings and future imports stay first": (
        '''
        """A module."""
        from __future__ import annotations
        import math
        PI = math.pi
        def f():
            """Two
            lines."""
            math.tau = PI
            global E
            E = 1
            print(f'E: {E}')
        ''',
        '''
        """A module."""
        from __future__ import annotations
        import math
        PI = math.pi
        print(f'PI: {PI}')
        def f():
            """Two
            lines."""
            math.tau = PI
            global E
            E = 1
            print(f'E: {E}')
            print(f'E: {E}')
        ''',
    ),
    "text that spans lines": (
        """
        def f():
            s = '''a
        b'''; t = \\
                2
            if s: \\
                t = 3; \\
                s = 'é'; t = [
                4]
            return \\
                t
        """,
        """
        def f():
            s = '''a
        b'''
            print(f's: {s}')
            t = \\
                2
            print(f't: {t}')
            if s:
                t = 3
                print(f't: {t}')
                s = 'é'
                print(f's: {s}')
                t = [
                4]
                print(f't: {t}')
            print(f'return_val: {t}')
            return \\
                t
        """,
    ),
    "tabs": ("if 1:\n\tif 2: x = 1\n", "if 1:\n\tif 2:\n\t\tx = 1\n\t\tprint(f'x: {x}')\n"),
    "two spaces": ("if 1:\n  if 2: x = 1", "if 1:\n  if 2:\n    x = 1\n    print(f'x: {x}')"),
    "no newline at the end, and a comment": ("x = 1  # one", "x = 1  # one\nprint(f'x: {x}')"),
    "foreign newlines, byte order mark": (
        "\ufeffx = 1\r\ny = 2\r",
        "x = 1\nprint(f'x: {x}')\ny = 2\nprint(f'y: {y}')\n",
    ),
    "non-ASCII names and soft keywords": (
        "é = 'ü'; match = é; ﬁ = 1",
        "é = 'ü'\nprint(f'é: {é}')\nmatch = é\nprint(f'match: {match}')\nﬁ = 1\nprint(f'fi: {fi}')",
    ),
    "form feeds and odd line breaks": (
        "\fx = 'a\u2028b\x0b'\n\f\ny = 1",
        "\fx = 'a\u2028b\x0b'\nprint(f'x: {x}')\n\f\ny = 1\nprint(f'y: {y}')",
    ),
    "nothing": ("", ""),
    "only a comment": ("# empty", "# empty"),
}


@pytest.mark.parametrize(("original", "expected"), CASES.values(), ids=CASES)
def test_text(original: str, expected: str) -> None:
    check_text(original, expected)


def as_written(text: str) -> str:
    """A program that a test wrote indented on lines of its own, as it is meant."""
    return textwrap.dedent(text).strip("\n") if text.startswith("\n") else text


def check_text(original: str, expected: str) -> None:
    original, expected = as_written(original), as_written(expected)
    program = instrument(original)
    assert program.code == expected
    compile(program.code, "<program>", "exec")
    lines = program.code.split("\n")
    for anchor in program.anchors:
        assert lines[anchor.line - 1].strip().startswith(f"print(f'{anchor.name}: {{")
    own = [line for line in original.splitlines() if line.strip() == "print(f'E: {E}')"]
    assert len(program.anchors) == sum(line.strip().startswith("print(f'") for line in lines) - len(own)


def test_anchors_tell_their_lines_and_names() -> None:
    program = instrument("def f(a):\n    a += 1\n    return a", " f(1, [2]) ")
    assert program.anchors == (Anchor(3, "a"), Anchor(4, "return_val"))
    assert program.call == "f(1, [2])"


def test_programs_own_prints_are_no_anchors() -> None:
    program = instrument("x = 1\nprint(f'x: {x}')\n")
    assert program.code == "x = 1\nprint(f'x: {x}')\nprint(f'x: {x}')\n"
    assert program.anchors == (Anchor(2, "x"),)
