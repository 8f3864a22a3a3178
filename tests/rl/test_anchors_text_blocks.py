"""The exact text of instrumented programs, one grammar element a case: compound statements and scopes."""

import pytest
from test_anchors_text import check_text

CASES = {
    "for": (
        """
        def f(xs, x):
            n = 0
            for x, y in xs:
                n += 1
                d = [n]
                if n > 3:
                    return n * 2
                while n:
                    n -= 1
            else:
                n = 7
            return n
        """,
        """
        def f(xs, x):
            n = 0
            print(f'n: {n}')
            for x, y in xs:
                n += 1
                d = [n]
                if n > 3:
                    return_val = n * 2
                    print(f'return_val: {return_val}')
                    return return_val
                while n:
                    n -= 1
            else:
                n = 7
            print(f'x: {x}')
            print(f'n: {n}')
            print(f'return_val: {n}')
            return n
        """,
    ),
    "while": (
        """
        def f(xs):
            while (n := len(xs)) > 1 and (m := n): xs.pop()  # smaller
            # done
            while True:
                if xs.pop(): break
        """,
        """
        def f(xs):
            while (n := len(xs)) > 1 and (m := n): xs.pop()  # smaller
            print(f'n: {n}')
            print(f'xs: {xs}')
            # done
            while True:
                if xs.pop(): break
            print(f'xs: {xs}')
        """,
    ),
    "what an endless loop binds before each break": (
        """
        def f(xs):
            while True:
                x = xs.pop()
                if x: break
            while 1:
                xs.append(1)
                if xs: return xs
        """,
        """
        def f(xs):
            while True:
                x = xs.pop()
                if x: break
            print(f'x: {x}')
            print(f'xs: {xs}')
            while 1:
                xs.append(1)
                if xs:
                    print(f'return_val: {xs}')
                    return xs
        """,
    ),
    "branches": (
        """
        if (n := 1) > 0:
            # positive
            a = 1
        elif n:
            a = 2
        else:
            a = 3
        if (m := n):
            pass
        else:
            a = 4
        """,
        """
        if (n := 1) > 0:
            # positive
            print(f'n: {n}')
            a = 1
            print(f'a: {a}')
        elif n:
            a = 2
            print(f'a: {a}')
        else:
            a = 3
            print(f'a: {a}')
        if (m := n):
            print(f'm: {m}')
            pass
        else:
            print(f'm: {m}')
            a = 4
            print(f'a: {a}')
        """,
    ),
    "try": (
        """
        def f(s):
            try:
                n = int(s)
            except ValueError as error:
                n = -1
            except (TypeError, KeyError): n = -2
            else:
                n += 1
            finally:
                s = ''
            for _ in s: n += 1
            return n
        """,
        """
        def f(s):
            try:
                n = int(s)
                print(f'n: {n}')
            except ValueError as error:
                print(f'error: {error}')
                n = -1
                print(f'n: {n}')
            except (TypeError, KeyError):
                n = -2
                print(f'n: {n}')
            else:
                n += 1
                print(f'n: {n}')
            finally:
                s = ''
                print(f's: {s}')
            for _ in s: n += 1
            print(f'n: {n}')
            print(f'return_val: {n}')
            return n
        """,
    ),
    "with": (
        """
        def f(c):
            with c as (a, b), c:
                a += 1
            with c: return 1
        """,
        """
        def f(c):
            with c as (a, b), c:
                print(f'a: {a}')
                print(f'b: {b}')
                a += 1
                print(f'a: {a}')
            with c:
                return_val = 1
                print(f'return_val: {return_val}')
                return return_val
        """,
    ),
    "match": (
        """
        def f(x):
            match x:
                case [a, *b] | {'k': a, **b} if (n := len(b)):
                    return a
                case (1 | 2) as c: d = c
                case _:
                    d = 0
            for _ in x: d += 1
            return d
        """,
        """
        def f(x):
            match x:
                case [a, *b] | {'k': a, **b} if (n := len(b)):
                    print(f'a: {a}')
                    print(f'b: {b}')
                    print(f'n: {n}')
                    print(f'return_val: {a}')
                    return a
                case (1 | 2) as c:
                    print(f'c: {c}')
                    d = c
                    print(f'd: {d}')
                case _:
                    d = 0
                    print(f'd: {d}')
            for _ in x: d += 1
            print(f'd: {d}')
            print(f'return_val: {d}')
            return d
        """,
    ),
    "functions in functions": (
        """
        def f(a):
            total = 0
            @staticmethod
            def add(x, y=(lambda z: z)):
                nonlocal total
                total += x
                return lambda: x
            for i in a:
                def inner(k):
                    k += 1
                    return k * 2
            key = lambda v: -v
            return add
        """,
        """
        def f(a):
            total = 0
            print(f'total: {total}')
            @staticmethod
            def add(x, y=(lambda z: z)):
                nonlocal total
                total += x
                print(f'total: {total}')
                return lambda: x
            for i in a:
                def inner(k):
                    k += 1
                    return_val = k * 2
                    print(f'return_val: {return_val}')
                    return return_val
            key = lambda v: -v
            return add
        """,
    ),
    "classes": (
        """
        class A:
            size = 1
            def __init__(self, x):
                self.x = x
                y = self.x + 1
                self.items.append(y)
            @property
            def double(self): return self.x * 2
            @staticmethod
            def g(xs):
                xs.clear()
                return xs
            def me(self):
                return self
        A.size = 2
        a = A(1)
        a.x = 5
        """,
        """
        class A:
            size = 1
            def __init__(self, x):
                self.x = x
                y = self.x + 1
                print(f'y: {y}')
                self.items.append(y)
            @property
            def double(self):
                return_val = self.x * 2
                print(f'return_val: {return_val}')
                return return_val
            @staticmethod
            def g(xs):
                xs.clear()
                print(f'xs: {xs}')
                print(f'return_val: {xs}')
                return xs
            def me(self):
                return self
        A.size = 2
        a = A(1)
        print(f'a: {a}')
        a.x = 5
        print(f'a: {a}')
        """,
    ),
    "generators and comprehensions": (
        """
        def f(n):
            x = yield n
            xs = [x := y for y in range(n)]
            it = (y for y in xs)
            ys = {y.pop() for y in it}
            return len(xs)
        """,
        """
        def f(n):
            x = yield n
            print(f'x: {x}')
            xs = [x := y for y in range(n)]
            print(f'xs: {xs}')
            print(f'x: {x}')
            it = (y for y in xs)
            ys = {y.pop() for y in it}
            print(f'ys: {ys}')
            return_val = len(xs)
            print(f'return_val: {return_val}')
            return return_val
        """,
    ),
    "async is left alone": (
        """
        async def f(x):
            async with x as y: y += 1
            def g():
                return 1
            return await y
        z = 1
        """,
        """
        async def f(x):
            async with x as y: y += 1
            def g():
                return 1
            return await y
        z = 1
        print(f'z: {z}')
        """,
    ),
    "unreachable code is left alone": (
        """
        def f():
            return 1; x = 2
            y = 3
        """,
        """
        def f():
            return_val = 1
            print(f'return_val: {return_val}')
            return return_val
            x = 2
            y = 3
        """,
    ),
}


@pytest.mark.parametrize(("original", "expected"), CASES.values(), ids=CASES)
def test_text(original: str, expected: str) -> None:
    check_text(original, expected)
