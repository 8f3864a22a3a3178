"""Random programs behave the same with anchors: branches, loops that may not run, `del`, `try`, nested functions."""

from collections.abc import Callable
from functools import cache
from itertools import chain

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_anchors_behaviour import compare

NAMES = st.sampled_from("abcd")
VALUES = st.one_of(
    st.integers(-1, 3).map(str),
    NAMES,
    st.builds("{} + {}".format, NAMES, NAMES),
    st.builds("{} % 2 and {}".format, NAMES, NAMES),
    st.builds("({} := {})".format, NAMES, NAMES),
    st.builds("(lambda {0}: {0})({1})".format, NAMES, NAMES),
    st.builds("sum([{0} for {0} in range({1} % 3)])".format, NAMES, NAMES),
    st.builds("n // ({} % 2)".format, NAMES),
    st.builds("tick({})".format, st.integers(0, 2)),
)
TESTS = st.one_of(
    VALUES,
    st.builds("n % {} == {}".format, st.integers(2, 3), st.integers(0, 2)),
    st.builds("{} < {} < ({} := 2)".format, NAMES, NAMES, NAMES),
    st.builds("n or ({} := 1)".format, NAMES),
)
SIMPLE = st.one_of(
    st.builds("{} = {}".format, NAMES, VALUES),
    st.builds("{} = {}".format, NAMES, VALUES),
    st.builds("{} = {} = {}".format, NAMES, NAMES, VALUES),
    st.builds("{}, *{} = {}, {}".format, NAMES, NAMES, VALUES, VALUES),
    st.builds("({}, {}) = ({}, {})".format, NAMES, NAMES, VALUES, VALUES),
    st.builds("{} += {}".format, NAMES, VALUES),
    st.builds("{}: int = {}".format, NAMES, VALUES),
    st.builds("{}: int".format, NAMES),
    st.builds("xs.append({})".format, VALUES),
    st.builds("xs[{}:] = [{}]".format, VALUES, VALUES),
    st.builds("G.update(k={})".format, VALUES),
    st.builds("late.append({})".format, VALUES),
    st.builds("del {}".format, NAMES),
    st.builds("assert {}".format, TESTS),
    st.builds("print({}, end='')".format, VALUES),
    st.builds("return {}".format, VALUES),
    st.sampled_from(["raise ValueError(n)", "g()", "h()", "return", "import math as d", "xs.clear()"]),
)
JUMPS = st.sampled_from(["break", "continue"])


def indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


@cache
def blocks(depth: int, in_loop: bool) -> st.SearchStrategy[list[str]]:
    """The lines of a block of one to four statements."""
    return st.lists(statements(depth, in_loop), min_size=1, max_size=3).map(lambda parts: list(chain(*parts)))


@cache
def statements(depth: int, in_loop: bool) -> st.SearchStrategy[list[str]]:
    line = SIMPLE if not in_loop else SIMPLE | JUMPS
    simple = st.lists(line, min_size=1, max_size=3).map("; ".join)
    one_line = st.builds(lambda test, body: [f"if {test}: {body}"], TESTS, simple)
    if depth == 0:
        return simple.map(lambda text: [text]) | one_line
    inner, body = blocks(depth - 1, in_loop), blocks(depth - 1, True)
    return st.one_of(
        simple.map(lambda text: [text]),
        simple.map(lambda text: [text]),
        one_line,
        st.builds(make_if, TESTS, inner, TESTS, inner, st.one_of(st.none(), inner)),
        st.builds(make_loop, st.builds("for {} in range({} % 3):".format, NAMES, NAMES), body, st.none() | inner),
        st.builds(make_loop, TESTS.map("while tick({}):".format), body, st.none() | inner),
        st.builds(make_loop, st.just("while True:"), body.map(with_fuel), st.none()),
        st.builds(make_try, inner, st.none() | NAMES, inner, st.none() | inner, st.none() | inner),
        st.builds(make_with, st.sampled_from(["suppress(Exception)", "nullcontext(n)"]), NAMES, inner),
        st.builds(make_match, VALUES, NAMES, TESTS, inner, inner),
        st.builds(make_function, st.sampled_from("gh"), st.sampled_from(["nonlocal", "global"]), NAMES, inner),
    )


def make_if(test: str, body: list[str], other: str, elif_body: list[str], orelse: list[str] | None) -> list[str]:
    tail = [] if orelse is None else ["else:", *indented(orelse)]
    return [f"if {test}:", *indented(body), f"elif {other}:", *indented(elif_body), *tail]


def with_fuel(body: list[str]) -> list[str]:
    return ["if not tick(1): break", *body]


def make_loop(header: str, body: list[str], orelse: list[str] | None) -> list[str]:
    return [header, *indented(body), *([] if orelse is None else ["else:", *indented(orelse)])]


def make_try(
    body: list[str], name: str | None, handler: list[str], orelse: list[str] | None, final: list[str] | None
) -> list[str]:
    lines = ["try:", *indented(body), "except Exception:" if name is None else f"except Exception as {name}:"]
    lines += indented(handler)
    lines += [] if orelse is None else ["else:", *indented(orelse)]
    return lines + ([] if final is None else ["finally:", *indented(final)])


def make_with(manager: str, name: str, body: list[str]) -> list[str]:
    return [f"with {manager} as {name}:", *indented(body)]


def make_match(subject: str, name: str, guard: str, body: list[str], other: list[str]) -> list[str]:
    guarded = [f"case {name} if {guard}:", *indented(body)]
    return [f"match {subject}:", *indented([*guarded, "case 1 | 2:", *indented(other)])]


def make_function(name: str, kind: str, variable: str, body: list[str]) -> list[str]:
    if any(line.strip() in ("break", "continue") for line in body):
        body = [f"{variable} = 5"]
    return [f"def {name}():", f"    {kind} {variable}", *indented(body)]


@st.composite
def programs(draw: Callable[..., object]) -> str:
    first = draw(st.lists(st.sampled_from(["a = 1", "b = 2", "c = n", "d = 3", "xs = [n]"]), unique=True))
    head = ["from contextlib import nullcontext, suppress", "G = {}", "fuel = [12]"]
    tick = ["def tick(x):", "    fuel[0] -= 1", "    return x if fuel[0] > 0 else 0"]
    stubs = ["def g(): pass", "def h(): global G; G = {**G, 'h': 1}"]
    body, last = draw(blocks(2, False)), draw(st.sampled_from(LAST_LINES))
    function = ["def f(n, a):", *indented([*first, *body, last])]
    return "\n".join([*head, *tick, *stubs, *function, *draw(st.sampled_from(TAILS))])


WATCHED = """
def watched(n, a):
    xs = [n]
    try: return f(n, a, xs), xs, G
    except Exception as error: return type(error), str(error), xs, G
"""
"""Tells what becomes of the arguments and of a global, also where `f` raises."""


LAST_LINES = ("return b", "if n > 9: b = c = d = 0", "if n > 9: b = c = d = 0", "while n > 9: c = d = 0")
TAILS = (["late = []"], [], ["c = 1", "if len(G): late = []"], ["late = [1]; del late"])


def compiles(code: str) -> bool:
    try:
        compile(code, "<program>", "exec")
    except SyntaxError:  # for example `nonlocal d` where no function around binds d
        return False
    return True


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(programs().filter(compiles), st.integers(0, 3), st.integers(0, 3))
def test_random_programs_behave_the_same(code: str, n: int, a: int) -> None:
    compare(code, f"f({n}, {a})")
    compare(code.replace("def f(n, a):", "def f(n, a, xs):") + WATCHED, f"watched({n}, {a})")
