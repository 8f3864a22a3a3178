"""What a traced REval run does inside the sandbox; `reward.reval` sends this file's text there. Standard library only.

Two ways to look at a run:

`Official` is REval's own (arXiv 2403.16437, dynamics.py), for comparison with published figures. Events of all frames of
the program go into one flat list, and consecutive ones on one line are one entry. Entries come from `line` events, with the
locals of that moment, but also from `return` and `exception` events where they change the line, with no locals at all. A
line's state is the locals of the *next entry*, whichever frame that is of; for the last entry its own. An expression such
as `a[i]` is every value of `a` with every value of `i`, and one with arithmetic in it has none.

`ByFrame` is right: a line's state is what its own frame holds when that frame has done the statement on it, and the next
line is the one that runs next, in whatever frame. Comprehensions and lambdas are part of the line they stand on.
"""

import ast
import dis
import inspect
import itertools
import json
import re
import sys
import unittest
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from types import FrameType
from typing import Any

PROGRAM = "<reval>"
"""The file name that tells the program's frames from all others."""

Probe = tuple[int, str]
"""A line, counted from 1, and an expression of variables."""
Answer = tuple[bool, list[int], list[Any] | None]
"""Whether the line ran, which lines ran next (-1: none), and the expression's values after it (None: it has none)."""

_EXPRESSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "<lambda>")
_SUSPENDING = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def _has_no_state(value: object) -> bool:
    """Whether REval keeps nothing of a local variable with this value."""
    kind = value.__class__.__name__
    return kind in ("module", "function", "builtin_function_or_method") or isinstance(value, Iterator)


class Official:
    """A run as REval's own tracer sees it."""

    def __init__(self, _code: str, probes: Sequence[Probe]) -> None:
        # Copying a local is dear and has no effect here but the value, so those that nobody asks for are left out.
        trees = [ast.parse(expression) for _, expression in probes]
        self._names = {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}
        self._entries: list[tuple[int, dict[str, Any]]] = []

    def see(self, frame: FrameType, event: str, _argument: object) -> None:
        """A trace function for the program's frames."""
        line = frame.f_lineno
        merged = bool(self._entries) and self._entries[-1][0] == line
        if event == "line":
            kept = {
                name: deepcopy(value)
                for name, value in frame.f_locals.items()
                if name in self._names and not _has_no_state(value)
            }
            if merged:
                self._entries.pop()
            self._entries.append((line, kept))
        elif event in ("return", "exception") and not merged:
            self._entries.append((line, {}))

    def answer(self, probe: Probe) -> Answer:
        """What the run says about a probe."""
        line, expression = probe
        last = len(self._entries) - 1
        at = [index for index, (where, _) in enumerate(self._entries) if where == line]
        following = {self._entries[index + 1][0] if index < last else -1 for index in at}
        after = [self._entries[min(index + 1, last)][1] for index in at]
        try:
            values = _combined(ast.parse(expression, mode="eval").body, after)
        except Exception:  # As officially: whatever goes wrong, there is no value.
            values = None
        return bool(at), sorted(following or {-1}), values or None


def _combined(node: ast.expr, after: Sequence[dict[str, Any]]) -> list[Any]:
    """Every value that an expression can have, taken over all states independently; none where it has none.

    Raises:
        TypeError: it is made of more than names, attributes, subscripts, tuples and constants.
    """
    match node:
        case ast.Constant(value=value):
            return [value]
        case ast.Name(id=name):
            return [state[name] for state in after if name in state]
        case ast.Attribute(value=owner, attr=name):
            return [getattr(value, name) for value in _combined(owner, after) if hasattr(value, name)]
        case ast.Subscript(value=owner, slice=index):
            found = []
            for value, key in itertools.product(_combined(owner, after), _combined(index, after)):
                try:
                    found.append(value[key])
                except (TypeError, KeyError, IndexError):
                    continue
            return found
        case ast.Tuple(elts=parts):
            return list(itertools.product(*(_combined(part, after) for part in parts)))
    raise TypeError(f"no rule for {type(node).__name__}")


class ByFrame:
    """A run as its frames see it."""

    def __init__(self, code: str, probes: Sequence[Probe]) -> None:
        self._spans = _Spans(code)
        self._asked = {line: [text for where, text in probes if where == line] for line, _ in probes}
        self._open: dict[FrameType, list[int]] = {}
        self._order: list[tuple[int, bool]] = []
        self._values: dict[tuple[Probe, bool], list[Any]] = {}

    def see(self, frame: FrameType, event: str, _argument: object) -> None:
        """A trace function for the program's frames."""
        if event == "line":
            line = frame.f_lineno
            self._order.append((line, frame.f_code.co_name in _EXPRESSIONS))
            if frame in self._open and self._spans.goes_on(self._open[frame][-1], line):
                self._open[frame].append(line)
                return
            self._close(frame)
            self._open[frame] = [line]
        elif event == "return" and not _yields(frame):
            self._close(frame)

    def _close(self, frame: FrameType) -> None:
        inner = frame.f_code.co_name in _EXPRESSIONS
        for line in dict.fromkeys(self._open.pop(frame, ())):
            for expression in self._asked.get(line, ()):
                try:
                    value = eval(expression, {"__builtins__": {}}, dict(frame.f_locals))
                except Exception:
                    continue  # It has no value here.
                if not _has_no_state(value):
                    self._values.setdefault(((line, expression), inner), []).append(deepcopy(value))

    def answer(self, probe: Probe) -> Answer:
        """What the run says about a probe."""
        line, _ = probe
        statements = [where for where, inner in self._order if not inner]
        inner = line not in statements
        order = [where for where, _ in self._order] if inner else statements
        at = [index for index, where in enumerate(order) if where == line]
        following = {order[index + 1] if index + 1 < len(order) else -1 for index in at}
        return line in order, sorted(following or {-1}), self._values.get((probe, inner))


class _Spans:
    """The lines of each statement; of one with a body, those of its head."""

    def __init__(self, code: str) -> None:
        statements = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.stmt)]
        self._starts = sorted({node.lineno for node in statements})

        def head_end(node: ast.stmt) -> int:
            body = getattr(node, "body", None)
            return body[0].lineno - 1 if body else node.end_lineno or node.lineno

        self._ends = {node.lineno: head_end(node) for node in statements}

    def goes_on(self, line: int, following: int) -> bool:
        """Whether two lines that ran one after the other in a frame are of one statement that has several lines."""
        place = bisect_right(self._starts, line) - 1
        if place < 0:
            return False
        start = self._starts[place]
        end = self._ends[start]
        return start < end and line <= end and start <= following <= end


def _yields(frame: FrameType) -> bool:
    """Whether a frame that hands a value out will go on later."""
    code = frame.f_code
    return bool(code.co_flags & _SUSPENDING) and code.co_code[frame.f_lasti] == dis.opmap["YIELD_VALUE"]


def _run(code: str, entry: str, test: str, given: str | int) -> tuple[dict[str, Any], Callable[[], object]]:
    """The program's names, and what is to be traced: a call of a function, or a test of a class.

    `given` is the arguments' tuple as text for a function (`test` is empty), or the number of a test class.
    """
    names: dict[str, Any] = {"__name__": PROGRAM}
    exec(compile(code, PROGRAM, "exec"), names)
    if isinstance(given, str):
        function, arguments = names[entry], eval(given, names)
        return names, lambda: function(*arguments)
    exec(compile(test, "<test>", "exec"), names)
    case = _test_classes(names, entry)[given]
    first = next(name for name in vars(case) if name.startswith("test"))
    made = case(first)
    made.setUp()
    return names, getattr(made, first)


def _test_classes(names: dict[str, Any], entry: str) -> list[type[unittest.TestCase]]:
    return [
        value
        for name, value in names.items()
        if isinstance(value, type) and re.match(f"{entry}Test.*", name) and issubclass(value, unittest.TestCase)
    ]


def observe(
    code: str, entry: str, test: str, given: str | int, probes: Iterable[Probe], official: bool
) -> tuple[list[Answer], dict[str, Any]]:
    """Traces one run: what it says about each probe, and the program's names."""
    asked = [(line, text) for line, text in probes]
    names, traced = _run(code, entry, test, given)
    watcher = Official(code, asked) if official else ByFrame(code, asked)

    def local(frame: FrameType, event: str, argument: object) -> None:
        watcher.see(frame, event, argument)

    def calls(frame: FrameType, event: str, _argument: object) -> Any:
        return local if event == "call" and frame.f_code.co_filename == PROGRAM else None

    sys.settrace(calls)
    try:
        traced()
    finally:
        sys.settrace(None)
    return [watcher.answer(probe) for probe in asked], names


def report(code: str, entry: str, test: str, given: str | int, probes: Iterable[Probe], official: bool) -> str:
    """`observe`, as JSON: for each probe whether the line ran, the next lines, and the values as [type, repr]."""
    answers, _ = observe(code, entry, test, given, probes, official)
    return json.dumps(
        [
            (ran, following, None if values is None else [(_type_name(value), repr(value)) for value in values])
            for ran, following, values in answers
        ]
    )


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ in ("builtins", PROGRAM) else f"{kind.__module__}.{kind.__qualname__}"
