"""What an anchor stands behind: read off the instrumented program, without running anything."""

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache

from rl.anchors.names import affected_by
from rl.anchors.placement import RETURN_LABEL
from rl.syntax import parsed

_LONGEST = 160
"""Characters of a statement that is quoted."""


@dataclass(frozen=True, slots=True)
class Place:
    """The statement that an anchor belongs to."""

    statement: str = ""
    """A simple statement before the anchor that may have changed the name, as written; empty without one."""
    loop: bool = False
    """Whether it is a loop."""
    returned: str = ""
    """What a `return` behind the anchor returns, as written."""


def places(code: str, lines: Collection[int]) -> dict[int, Place]:
    """The place of each anchor of an instrumented program, by its line."""
    return {
        statement.lineno: _place(block, index, lines)
        for block in _blocks(parsed(code))
        for index, statement in enumerate(block)
        if isinstance(statement, ast.Expr) and statement.lineno in lines
    }


def _blocks(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    """Every block of statements."""
    pending = [tree]
    while pending:
        node = pending.pop()
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, ())
            if isinstance(block, list):
                yield block
                pending += block
        pending += [*getattr(node, "handlers", ()), *getattr(node, "cases", ())]


def _place(block: list[ast.stmt], index: int, lines: Collection[int]) -> Place:
    label, name = shown_by(block[index])
    before = block[index - 1] if index else None
    if label == RETURN_LABEL and index + 1 < len(block):
        match before, block[index + 1]:
            case ast.Assign(targets=[ast.Name(id=made)], value=value), ast.Return(value=ast.Name(id=returned)) if (
                made == name == returned and name.startswith(RETURN_LABEL)
            ):
                return Place(returned=_quoted(value))
            case _, ast.Return(value=ast.expr() as value):
                return Place(returned=_quoted(value))
    for statement in reversed(block[:index]):
        if statement.lineno in lines:
            continue
        if name not in affected(statement):
            break
        if isinstance(statement, ast.For | ast.While):
            return Place(loop=True)
        return Place(statement=_quoted(statement)) if isinstance(statement, _SIMPLE) else Place()
    return Place()


_SIMPLE = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr, ast.Delete)


@lru_cache(maxsize=256)
def shown_by(anchor: ast.stmt) -> tuple[str, str]:
    """The label and the name of an anchor."""
    match anchor:
        case ast.Expr(
            value=ast.Call(
                args=[ast.JoinedStr([ast.Constant(value=str(label)), ast.FormattedValue(value=ast.Name(id=name))])]
            )
        ):
            return label.removesuffix(": "), name
    raise ValueError(f"line {anchor.lineno}: no anchor")


@lru_cache(maxsize=1024)
def affected(statement: ast.stmt) -> tuple[str, ...]:
    """The names whose values a statement may change; looked up whenever it runs, and by every call of its program."""
    return tuple(affected_by([statement]))


@lru_cache(maxsize=1024)
def _quoted(node: ast.AST) -> str:
    text = ast.unparse(node)
    return text if len(text) <= _LONGEST else ""
