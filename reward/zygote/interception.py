"""Compiles a program so that its anchors, `print(f"NAME: {NAME}")`, hand what they show to a hook instead.

The hook asks for the text, which may fail, and never raises.
"""

import ast
import builtins
import re
import types
from collections.abc import Callable, Iterator
from opcode import opmap
from typing import Any, NoReturn

# What a program does to its own built-ins does not touch these.
__builtins__ = dict(vars(builtins))  # type: ignore[assignment]

MAX_STATES = 1000

HOOK = "anchor hook"
"""The name a hook has in `builtins`: no identifier, so that no program rebinds it in passing."""

name_of: Callable[[type], str] = type.__dict__["__name__"].__get__
"""A class's name, whatever its metaclass says of it."""

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
            # Joined in one go, so that it is a plain `str`, whatever kind of text the value says it is.
            text = f"{label}{value!r}" if conversion == ord("r") else f"{label}{value}"
        except BaseException:
            text = f"{label}<unprintable {name_of(type(value))}>"
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
    return _compiled_as_text(code, anchor_lines) or _compiled_as_tree(code, anchor_lines)


_ANCHOR = re.compile(r"([ \t]*)print\(f'([A-Za-z0-9_ ]+: )\{([A-Za-z0-9_]+)(!r)?\}'\)")
"""An anchor alone on its line, as `rl.anchors` writes it."""
_STAND_IN = "hook_of_the_anchors"
"""Stands for `HOOK` until the text is compiled."""
_LOADS = (opmap["LOAD_NAME"], opmap["LOAD_GLOBAL"])
_MOST_NAMES = 100
"""Names of a code object, so that an instruction's own byte tells which it loads."""


def _compiled_as_text(code: str, anchor_lines: tuple[int, ...]) -> types.CodeType | None:
    """The same by changing lines of the text, which takes a third of the time; None where that cannot be relied on.

    A line may look like an anchor and be part of a string. So what was compiled must load the hook on every one of them.
    """
    if _STAND_IN in code or not code.isascii():
        return None  # Letters that are none of ASCII's may be another way to write the same name.
    lines = code.split("\n")
    for line in anchor_lines:
        found = _ANCHOR.fullmatch(lines[line - 1]) if 0 < line <= len(lines) else None
        if found is None:
            return None
        indent, label, name, conversion = found.groups()
        lines[line - 1] = f"{indent}{_STAND_IN}('{label}', {name}, {-1 if conversion is None else ord('r')})"
    missing = set(anchor_lines)
    try:
        compiled = compile("\n".join(lines), "<program>", "exec", dont_inherit=True)
    except SyntaxError:
        return None  # The tree says what is wrong with the program itself.
    hooked = _hooked(compiled, missing)
    return None if missing else hooked


def _hooked(code: types.CodeType, missing: set[int]) -> types.CodeType:
    """A code object, and those in it, with the hook for its stand-in; lines that load it are taken out of `missing`."""
    changed: dict[str, Any] = {}
    if any(type(constant) is types.CodeType for constant in code.co_consts):
        changed["co_consts"] = tuple(
            [_hooked(item, missing) if type(item) is types.CodeType else item for item in code.co_consts]
        )
    names = code.co_names
    if _STAND_IN in names and len(names) <= _MOST_NAMES:
        place = names.index(_STAND_IN)
        instructions, places = code.co_code, {_LOADS[0]: place, _LOADS[1]: 2 * place + 1}
        for start, end, line in code.co_lines():
            for at in range(start, end, 2) if line in missing else ():
                if places.get(instructions[at]) == instructions[at + 1]:
                    missing.discard(line)
        changed["co_names"] = (*names[:place], HOOK, *names[place + 1 :])
    return code.replace(**changed) if changed else code


def _compiled_as_tree(code: str, anchor_lines: tuple[int, ...]) -> types.CodeType:
    """The same by changing the syntax tree, for anchors in whatever place and wording. Raises as `compile_program`."""
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
