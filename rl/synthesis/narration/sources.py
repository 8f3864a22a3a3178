"""The texts of statements and expressions at the moment they run: as written, with values for names, and what they did."""

import ast
import operator
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rl.anchors.names import affected_by
from rl.anchors.placement import RETURN_LABEL
from rl.answers import UnreadableAnswer, literal
from rl.syntax import FIELDS, walk
from rl.synthesis.narration.events import Assigned, Changed, Event, Returned
from rl.synthesis.narration.frames import UNKNOWN, Frame, Function
from rl.synthesis.narration.library import Builtin, Method, Module
from rl.synthesis.narration.places import affected
from rl.synthesis.narration.values import Insert, abbreviated, insertable, shown

_LONGEST = 160
"""Characters of an expression with values for names; beyond, only its source is told."""


@dataclass(frozen=True, slots=True)
class Told:
    """A statement that is about to run."""

    statement: ast.stmt
    source: str
    values: str | None
    names: tuple[str, ...]
    """What it may change."""
    held: str | None
    """What it holds before, where that is one name that is changed in place."""


class Writer:
    """Writes texts of one program."""

    def __init__(self, code: str) -> None:
        self._lines = code.split("\n")

    def source(self, node: ast.AST) -> str:
        """A piece of the program as it is written, on one line."""
        if isinstance(node, ast.expr | ast.stmt) and node.lineno == node.end_lineno:
            line = self._lines[node.lineno - 1]
            if line.isascii():
                return abbreviated(line[node.col_offset : node.end_col_offset], _LONGEST)
        return abbreviated(ast.unparse(node), _LONGEST)

    def expression(self, node: ast.expr, frame: Frame) -> tuple[str, str | None]:
        """An expression as written, and with values for names where that says more."""
        return self.source(node), _substituted(node, frame)

    def _is_return(self, statement: ast.stmt, name: str) -> bool:
        """Whether the statement is what instrumentation made of `return EXPRESSION`."""
        following = self._lines[statement.end_lineno or 0 :]
        return (
            name.startswith(RETURN_LABEL)
            and bool(following)
            and following[0].strip().replace("!r}", "}") == f"print(f'{RETURN_LABEL}: {{{name}}}')"
        )

    def arguments(self, frame: Frame) -> str:
        """`a = 1, b = [2]` for all names of a frame."""
        return ", ".join(_pairs(frame.names.items()))

    def bindings(self, target: ast.expr, frame: Frame) -> str:
        """`k = 1, v = 2` for the names of a loop's target."""
        names = [part.id for part in walk(target) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]
        return ", ".join(_pairs((name, frame.get(name)) for name in names))

    def before(self, statement: ast.stmt, frame: Frame) -> Told:
        """To be called before the statement runs; its value is for `after`."""
        value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr) else None
        names = affected(statement)
        if isinstance(statement, ast.AugAssign):
            value = _sum(statement, frame)
        values = None if value is None else _substituted(value, frame)
        plainly = isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
        in_place = len(names) == 1 and not plainly
        held = shown(frame.get(names[0])) if in_place else None
        return Told(statement, self.source(statement), values, names, held)

    def after(self, told: Told, frame: Frame) -> Event | None:
        """What the statement did; None where it did nothing that can be told."""
        pairs = [(name, shown(frame.get(name))) for name in told.names if frame.get(name) is not UNKNOWN]
        after = tuple((name, value) for name, value in pairs if value is not None)
        match told.statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if after:
                source = after[0][1] if _is_literal(value) else self.source(value)
                if self._is_return(told.statement, name):
                    return Returned(source, told.values, after[0][1])
                return (
                    Assigned(name, source, told.values, after[0][1])
                    if len(after) == 1
                    else Changed(told.source, None, after)
                )
            case ast.AugAssign(target=ast.Name(id=name)) if after and told.values is not None:
                return Assigned(name, told.source, told.values, after[0][1])
        if not after:
            return None
        return Changed(told.source, told.held, after)


@lru_cache(maxsize=1024)
def _is_literal(node: ast.expr) -> bool:
    try:
        literal(ast.unparse(node))
    except UnreadableAnswer:
        return False
    return True


def _pairs(items: Any) -> Iterator[str]:
    for name, value in items:
        text = shown(value)
        if text is not None:
            yield f"{name} = {text}"


def _sum(statement: ast.AugAssign, frame: Frame) -> ast.expr | None:
    """`total + v` for `total += v`, where the two mean the same."""
    if not isinstance(statement.target, ast.Name) or type(frame.get(statement.target.id)) not in (int, float, str):
        return None
    return _binary(statement)


@lru_cache(maxsize=256)
def _binary(statement: ast.AugAssign) -> ast.expr:
    assert isinstance(statement.target, ast.Name)
    return ast.BinOp(ast.Name(statement.target.id, ast.Load()), statement.op, statement.value)


def _substituted(node: ast.expr, frame: Frame) -> str | None:
    """The expression with short values for names; None where that says nothing new or cannot be written."""
    parts = _parts(node)
    if isinstance(node, ast.Constant) or parts.binds_inside or _changes_under_way(parts, frame):
        return None
    inserts = {}
    for name in parts.replaceable:
        value = frame.get(name)
        found = insertable(value) if _has_value(value) else None
        if found is not None:
            inserts[name] = found
    if not inserts:
        return None
    text = with_inserts(node, inserts)
    return text if text is not None and text != parts.source and len(text) <= _LONGEST else None


def with_inserts(node: ast.expr, inserts: Mapping[str, Insert]) -> str | None:
    """The text of an expression with these in the place of names, but for the inside of f-strings.

    It is what `ast.unparse` gives; None where that cannot write it: what no f-string of Python 3.11 can hold.
    """
    pieces = _pieces(node, tuple((name, insert.kind) for name, insert in inserts.items()))
    if pieces is None:
        return None
    texts = [insert.text[_CUT[insert.kind]] if insert.kind in _CUT else "" for insert in inserts.values()]
    return "".join([texts[int(piece)] if place % 2 else piece for place, piece in enumerate(pieces)])


_CUT = {"int": slice(None), "atom": slice(None), "negative": slice(1, None), "tuple": slice(1, -1)}
"""What of a value's text comes into its place; the sign and the parentheses, where they are wanted, are around it."""

_PLACE = re.compile("\ue000([0-9]+)(?:, )?\ue001")
"""A place for a value, of characters that `ast.unparse` writes in no text of a program."""


class _Number(int):
    """A number that is written as a place."""

    def __repr__(self) -> str:
        return f"\ue000{int(self)}\ue001"


@lru_cache(maxsize=4096)
def _pieces(node: ast.expr, kinds: tuple[tuple[str, str], ...]) -> tuple[str, ...] | None:
    """The text of an expression around the values of some names, by turns with their numbers; a loop asks every round."""
    places = {name: _place(number, kind) for number, (name, kind) in enumerate(kinds)}
    try:
        return tuple(_PLACE.split(ast.unparse(_replaced(node, places))))
    except ValueError:
        return None


def _place(number: int, kind: str) -> ast.expr:
    """An expression that is written as a value of this kind is, with a place in it."""
    place = ast.Name(f"\ue000{number}\ue001", ast.Load())
    match kind:
        case "int":
            return ast.Constant(_Number(number))
        case "atom":
            return place
        case "negative":
            return ast.UnaryOp(ast.USub(), place)
        case "tuple":
            return ast.Tuple([ast.Name(f"\ue000{number}", ast.Load()), ast.Name("\ue001", ast.Load())], ast.Load())
    return ast.parse(kind, mode="eval").body


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is asked of an expression whenever it runs; none of it hangs on values."""

    source: str
    binds_inside: bool
    """Whether there is a `:=` or a lambda."""
    names: tuple[ast.Name, ...]
    """Those it reads."""
    replaceable: tuple[str, ...]
    """Names among them that values may be put in for."""
    changes: bool
    """Whether it may change something in place."""
    repeats: bool
    """Whether there is a comprehension."""


@lru_cache(maxsize=1024)
def _parts(node: ast.expr) -> _Parts:
    parts = list(walk(node))
    names = [part for part in parts if isinstance(part, ast.Name)]
    own = {name.id for name in names if not isinstance(name.ctx, ast.Load)}
    read = tuple(name for name in names if isinstance(name.ctx, ast.Load))
    return _Parts(
        source=ast.unparse(node),
        binds_inside=any(isinstance(part, ast.NamedExpr | ast.Lambda) for part in parts),
        names=read,
        replaceable=tuple({name.id: None for name in read if name.id not in own}),
        changes=bool(affected_by([node])),
        repeats=any(isinstance(part, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) for part in parts),
    )


def _changes_under_way(parts: _Parts, frame: Frame) -> bool:
    """Whether a value put in at the start may no longer be the name's when its turn comes: `a.pop() + len(a)`.

    That takes a method that changes its object, or a function of the program; and then more than one name that holds
    something changeable, one that is evaluated more than once, or one that the function may bind anew.
    """
    held = {name: frame.get(name.id) for name in parts.names}
    functions = [value for value in held.values() if isinstance(value, Function)]
    if not functions and not parts.changes:
        return False
    changeable = [value for value in held.values() if isinstance(value, list | dict | set | deque)]
    outer = [name for name, value in held.items() if name.id not in frame.bound and not isinstance(value, Function)]
    bound_anew = any(function.frame is frame for function in functions) or any(
        frame.get(name.id) is not UNKNOWN for name in outer
    )
    return len(changeable) > 1 or (parts.repeats and bool(changeable)) or (bool(functions) and bound_anew)


def _replaced(node: Any, places: Mapping[str, ast.expr]) -> Any:
    """A node with these for names, but for the inside of f-strings; itself where that changes nothing."""
    if isinstance(node, ast.Name):
        return places.get(node.id, node)
    if node is None or isinstance(node, ast.JoinedStr):
        return node
    changed = {}
    for name in FIELDS[type(node)]:
        value = getattr(node, name, None)
        if isinstance(value, list):
            made: Any = [_replaced(item, places) for item in value]
            if any(map(operator.is_not, made, value)):
                changed[name] = made
        elif (made := _replaced(value, places)) is not value:
            changed[name] = made
    if not changed:
        return node
    return type(node)(**{name: getattr(node, name, None) for name in node._fields} | changed)


def _has_value(value: Any) -> bool:
    return value is not UNKNOWN and not isinstance(value, Function | Builtin | Method | Module | type)
