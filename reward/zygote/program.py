"""Runs one program in this process and says what became of it. Called in a confined child, right before it ends.

What a program can reach it can change. So the built-ins that are needed after it ran are bound here, before it runs,
and the parent distrusts the report all the same.
"""

import _sitebuiltins
import ast
import builtins
import contextlib
import mmap
import os
import random
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from json import dumps
from typing import NoReturn

MAX_STATES = 1000
MAX_MESSAGE = 2000
"""Characters of an exception's message that are kept."""
RECURSION_LIMIT = 1000

_HOOK = "anchor hook"
"""No identifier, so that no program rebinds it in passing."""
_SEED = 0
_RESERVE_BYTES = 4 << 20

_exit, _write, _str, _type = os._exit, os.write, str, type
_length: Callable[[str], int] = str.__len__
_name_of: Callable[[type], str] = type.__dict__["__name__"].__get__
_set_recursion_limit = sys.setrecursionlimit

Hook = Callable[[str, object, int], None]
"""Takes an anchor's label, its value, and the conversion (`!r` or none) its f-string asks for."""


class AnchorMissing(Exception):
    """A line announced as an anchor holds no `print(f"NAME: {NAME}")` statement."""


class _TooMuch(BaseException):
    """The value's repr is longer than it may be."""


@dataclass(frozen=True, slots=True)
class Source:
    """A program as it is asked for."""

    code: str
    call: str | None
    anchor_lines: list[int]
    max_characters: int
    """For the value's repr, and for all states together."""


def run(source: Source, report_to: int) -> NoReturn:
    """Runs the program and ends the process; the report goes to file descriptor `report_to`.

    The report is `A` and a message where an anchor is missing. Else it is `P`, if the code compiles, and then JSON with
    `verdict`, `value`, `type_name`, `exception` and `states`.
    """
    states: list[str] = []
    stdout = sys.stdout

    def finish(verdict: str, value: str | None = None, kind: str | None = None, error: str | None = None) -> NoReturn:
        _set_recursion_limit(10 * RECURSION_LIMIT)
        with contextlib.suppress(OSError, ValueError):  # The program may have closed it.
            stdout.flush()
        report = {"verdict": verdict, "value": value, "type_name": kind, "exception": error, "states": states}
        _write_all(report_to, dumps(report).encode())
        _exit(0)

    # To be let go of where memory ran out, so that there is some left to say so.
    reserve = mmap.mmap(-1, _RESERVE_BYTES)
    try:
        program = _compile(source.code, source.anchor_lines)
        _write(report_to, b"P")
        main = _fresh_main(_recorder(states, source.max_characters, lambda: finish("output_limit")))
        exec(program, main)
        if source.call is None:
            finish("ok")
        value = eval(compile(source.call, "<call>", "eval", dont_inherit=True), main)
        text = f"{value!r}"
        if _length(text) > source.max_characters:
            raise _TooMuch
        finish("ok", text, _name_of(_type(value)))
    except AnchorMissing as error:
        _write_all(report_to, b"A" + _str(error).encode())
        _exit(0)
    except _TooMuch:
        finish("output_limit")
    except MemoryError as error:
        error.__traceback__ = None
        reserve.close()
        finish("memory", error="MemoryError")
    except BaseException as error:
        finish("exception", error=_describe(error))


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[_write(descriptor, data) :]


def _describe(error: BaseException) -> str:
    """`TypeName: message`, as the last line of a traceback has it."""
    name = _name_of(_type(error))
    try:
        message = "".join((_str(error),))
    except BaseException:
        message = "<exception str() failed>"
    return f"{name}: {message[:MAX_MESSAGE]}" if message else name


def _fresh_main(record: Hook) -> dict[str, object]:
    """The namespace of a new `__main__`, with the rest of the interpreter's state as every run finds it."""
    setattr(builtins, _HOOK, record)
    # The interpreter starts without `site`, which is where programs have these two from.
    vars(builtins).update({name: _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)") for name in ("exit", "quit")})
    random.seed(_SEED)
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = main
    sys.argv = ["program.py"]
    # A program gets as deep as it would as a script: the frames it stands on here do not count.
    _set_recursion_limit(RECURSION_LIMIT + _depth())
    return main.__dict__


def _depth() -> int:
    """How many frames lie below the one that will execute the program."""
    frame, depth = sys._getframe(1), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


def _recorder(states: list[str], max_characters: int, overflow: Callable[[], NoReturn]) -> Hook:
    """The hook that stands in for an anchor's `print`. It never raises."""
    left = max_characters

    def record(label: str, value: object, conversion: int) -> None:
        nonlocal left
        try:
            text = label + (f"{value!r}" if conversion == ord("r") else f"{value}")
        except BaseException:
            text = f"{label}<unprintable {_name_of(_type(value))}>"
        left -= _length(text)
        if left < 0 or states.__len__() == MAX_STATES:
            overflow()
        states.append(text)

    return record


def _compile(code: str, anchor_lines: list[int]) -> types.CodeType:
    """The program as a code object, its anchors turned into calls of the hook.

    Raises:
        AnchorMissing: a line of `anchor_lines` holds no anchor.
        SyntaxError, ValueError, ...: whatever `compile` has against the code.
    """
    if not anchor_lines:
        return compile(code, "<program>", "exec", dont_inherit=True)
    tree = ast.parse(code, "<program>")
    missing = set(anchor_lines)
    for statement in _statements(tree):
        if isinstance(statement, ast.Expr) and statement.lineno in missing:
            call = _intercepted(statement.value)
            if call is not None:
                statement.value = call
                missing.discard(statement.lineno)
    if missing:
        raise AnchorMissing(f"line {min(missing)} holds no print(f'NAME: {{NAME}}') statement")
    return compile(tree, "<program>", "exec", dont_inherit=True)


def _statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """Every statement, those of nested blocks included."""
    pending = [tree]
    while pending:
        node = pending.pop()
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            children = getattr(node, field, ())
            if isinstance(children, list):
                pending.extend(children)
        if isinstance(node, ast.stmt):
            yield node


def _intercepted(expression: ast.expr) -> ast.expr | None:
    """The call of the hook that replaces `print(f"NAME: {NAME}")`; None for anything else."""
    match expression:
        case ast.Call(
            func=ast.Name(id="print"),
            args=[ast.JoinedStr([ast.Constant(value=str(label)), ast.FormattedValue(format_spec=None) as shown])],
            keywords=[],
        ):
            hook = ast.Name(_HOOK, ast.Load())
            call = ast.Call(hook, [ast.Constant(label), shown.value, ast.Constant(shown.conversion)], [])
            return ast.fix_missing_locations(ast.copy_location(call, expression))
    return None
