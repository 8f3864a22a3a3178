"""Compiles a program so that its anchors, `print(f"NAME: {NAME}")`, hand what they show to a hook instead.

The hook asks for the text, which may fail, and never raises.
"""

import ast
import builtins
import types
from collections.abc import Callable, Iterator
from typing import NoReturn

# What a program does to its own built-ins does not touch these.
__builtins__ = dict(vars(builtins))  # type: ignore[assignment]

MAX_STATES = 1000

HOOK = "anchor hook"
"""The name a hook has in `builtins`: no identifier, so that no program rebinds it in passing."""

Hook = Callable[[str, object, int], None]
"""Takes an anchor's label, its value, and the conversion (`!r` or none) its f-string asks for."""


class AnchorMissing(Exception):
    """A line announced as an anchor holds no `print(f"NAME: {NAME}")` statement."""


def recorder(states: list[str], max_characters: int, overflow: Callable[[], NoReturn]) -> Hook:
    """A hook that appends to `states`. It never raises; past its limits it calls `overflow`."""
    left = max_characters

    def record(label: str, value: object, conversion: int) -> None:
        nonlocal left
        try:
            text = label + (f"{value!r}" if conversion == ord("r") else f"{value}")
        except BaseException:
            text = f"{label}<unprintable {type(value).__name__}>"
        left -= len(text)
        if left < 0 or len(states) == MAX_STATES:
            overflow()
        states.append(text)

    return record


def compile_program(code: str, anchor_lines: tuple[int, ...]) -> types.CodeType:
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
            hook = ast.Name(HOOK, ast.Load())
            call = ast.Call(hook, [ast.Constant(label), shown.value, ast.Constant(shown.conversion)], [])
            return ast.fix_missing_locations(ast.copy_location(call, expression))
    return None
