"""Fills the holes of forms: expressions of a wanted kind from the variables in scope."""

from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from rl.synthesis.grid.cells import Cell
from rl.synthesis.grid.forms import ARITHMETIC, ATOM, LITERALS, LOCALS, TABLES, VALUES, Form, Hole
from rl.synthesis.grid.names import COPIES, literal, local
from rl.synthesis.grid.scope import DeadEnd, Scope, Variable


class Expression(NamedTuple):
    """Source of a value."""

    text: str
    kind: str
    precedence: int = ATOM
    depth: int = 0
    """How deep operations are nested."""
    hints: tuple[str, ...] = ()
    used: bool = False
    """Whether the cell's method is used in it."""
    method: str = ""
    """The method or function that makes it."""


@dataclass(slots=True)
class Filling:
    """One form being filled."""

    labels: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    """Variables that stand in it already; the same one twice reads badly."""
    method: str = ""
    """Its method, where using that twice in a row changes nothing."""


_IDEMPOTENT = frozenset(
    {
        *("lower", "upper", "strip", "lstrip", "rstrip", "title", "capitalize", "casefold", "swapcase", "copy", "[:]"),
        *("sorted", "abs", "list", "set", "tuple", "str", "reversed", "conjugate", "[::k]", "encode", "round", "int"),
    }
)
"""Methods that nobody applies to what they just made."""

_COMMON = frozenset(
    {
        *("upper", "lower", "strip", "split", "replace", "count", "startswith", "endswith", "find", "join", "title", "get"),
        *("len", "max", "min", "sum", "sorted", "abs", "values", "keys", "index", "items", "zfill", "union"),
    }
)


def _by_kind() -> dict[str, tuple[Form, ...]]:
    found: dict[str, list[Form]] = {}
    for form in chain.from_iterable(chain.from_iterable(table.values()) for table in TABLES.values()):
        if not form.changes and form.calls:
            found.setdefault(form.kind, []).extend([form] * (6 if form.method in _COMMON else 1))
    return {kind: tuple(forms) for kind, forms in found.items()}


CALLS = _by_kind()
"""Forms that call a method or function, by the kind of the value; the common ones stand there more often."""


def _by_food() -> dict[str, tuple[Form, ...]]:
    found: dict[str, list[Form]] = {}
    for form in chain.from_iterable(CALLS.values()):
        kinds = [part.kind for part in form.parts if isinstance(part, Hole) and part.kind in VALUES]
        if kinds:
            found.setdefault(kinds[0], []).append(form)
    return {kind: tuple(forms) for kind, forms in found.items()}


CALLS_ON = _by_food()
"""The same, by the kind of value that they work on."""

MAKERS = {"ints": "list", "words": "list", "set": "set", "dict": "dict"}
"""The call that copies a collection."""

PLAIN = {kind: tuple(form for form in ARITHMETIC if form.kind == kind) for kind in sorted(VALUES)}


def forms_of(cell: Cell) -> tuple[Form, ...]:
    """The forms of the cell's method that its configuration allows."""
    forms = TABLES[cell.unit][cell.method]
    return forms if cell.configuration.others else tuple(form for form in forms if not form.foreign)


def is_own(form: Form, cell: Cell) -> bool:
    """Whether the form uses the cell's method."""
    return form.method == cell.method and form.unit == cell.unit


def fill(scope: Scope, form: Form, budget: int, target: Variable | None = None) -> Expression:
    """The form with all its holes filled.

    Args:
        scope: the function being written.
        form: what to fill.
        budget: how deep expressions in holes may be nested.
        target: the variable that the form changes, where it changes one.

    Raises:
        DeadEnd: a hole wants a variable that there is not and cannot be.
    """
    filling = Filling()
    if form.method in _IDEMPOTENT:
        filling.method = form.method
        filling.names.update(found.name for found in scope.variables if found.made_by == form.method)
    if target is not None:
        filling.labels["it"] = target.name
        filling.names.update((target.name, target.copy_of))
    texts: list[str] = []
    depth, used, first = 0, is_own(form, scope.cell), target is None
    scope.uses += used
    scope.note(*form.calls)
    for part in form.parts:
        if isinstance(part, str):
            texts.append(part)
            continue
        inner = _hole(scope, part, filling, budget, first=first)
        first = first and part.kind not in VALUES
        texts.append(f"({inner.text})" if inner.precedence < part.need else inner.text)
        depth, used = max(depth, inner.depth), used or inner.used
        if part.member:
            _taken_out(scope, filling.labels[part.member])
    scope.depth = max(scope.depth, depth + form.depth)
    return Expression("".join(texts), form.kind, form.precedence, depth + form.depth, form.hints, used, form.method)


def _hole(scope: Scope, hole: Hole, filling: Filling, budget: int, *, first: bool) -> Expression:
    if not hole.kind:
        return Expression(filling.labels[hole.label], "")
    if hole.kind in LOCALS:
        text = local(hole.kind, scope.taken - scope.locals | filling.names, scope.rng)
        scope.locals.add(text)
        scope.taken.add(text)
        filling.names.add(text)
    elif hole.kind in LITERALS:
        text = literal(hole.kind, scope.rng)
        while text in filling.names:
            text = literal(hole.kind, scope.rng)
        filling.names.add(text)
    elif hole.member:
        text = _member(scope, hole, filling)
    elif "!" in hole.marks:
        text = changeable(scope, hole.kind, filled="+" in hole.marks).name
        filling.names.add(text)
    elif hole.marks or hole.named:
        text = variable(scope, hole.kind, filling, filled="+" in hole.marks).name
    else:
        inner = value(scope, hole.kind, filling, budget, live=first)
        filling.labels[hole.label] = inner.text
        return inner
    filling.labels[hole.label] = text
    return Expression(text, hole.kind)


def variable(scope: Scope, kind: str, filling: Filling, *, filled: bool = False) -> Variable:
    """A variable of this kind that does not stand in the form yet, or a new parameter."""
    found = scope.choose(kind, filling.names, filled=filled)
    roomy = len(scope.parameters) < 2
    if found is None or (roomy and found.parameter and scope.rng.random() < 0.15 and kind != "float"):
        found = scope.parameter(kind)
    filling.names.add(found.name)
    found.pending = False
    return found


def value(scope: Scope, kind: str, filling: Filling, budget: int, *, live: bool = False) -> Expression:
    """An expression of this kind: a call or an operation, a variable, or, where it need not be live, a literal."""
    chance = scope.rng.random()
    if budget > 0 and chance < 0.5:
        form = _inner_form(scope, kind)
        if form is not None and (not filling.method or form.method != filling.method):
            return fill(scope, form, budget - 1)
    found = scope.choose(kind, filling.names)
    full = len(scope.parameters) >= scope.most_parameters
    if found is None and kind == "bool":
        form = _inner_form(scope, kind)
        if form is None:
            raise DeadEnd
        return fill(scope, form, 0)
    if found is None and not live and (full or (kind in ("int", "str") and chance > 0.7)):
        return Expression(literal(kind, scope.rng), kind)
    if found is None and full:
        form = _inner_form(scope, kind)
        if form is None or budget < -1:
            raise DeadEnd
        return fill(scope, form, budget - 1)
    chosen = found or variable(scope, kind, filling)
    chosen.pending = False
    filling.names.add(chosen.name)
    return Expression(chosen.name, kind)


def _taken_out(scope: Scope, name: str) -> None:
    """A member was looked for in a copy, and perhaps taken out of it: do not count on it again."""
    found = scope.named(name)
    if found is not None:
        found.copy_of = ""


def _inner_form(scope: Scope, kind: str) -> Form | None:
    """A form for inside another: the cell's own method, another one, or plain arithmetic."""
    rng, cell = scope.rng, scope.cell
    own = [form for form in forms_of(cell) if form.kind == kind and not form.changes]
    if own and scope.uses < 4 and rng.random() < 0.5:
        return rng.choice(own)
    plain = PLAIN.get(kind, ())
    if cell.configuration.others and (not plain or rng.random() < 0.65) and kind in CALLS:
        return rng.choice(CALLS[kind])
    return rng.choice(plain) if plain else None


def _member(scope: Scope, hole: Hole, filling: Filling) -> str:
    """A variable whose value is a member of the collection under the hole's label."""
    collection = scope.named(filling.labels[hole.member])
    if collection is None:
        raise DeadEnd
    origins = {collection.name, collection.copy_of} - {""}
    found = [candidate for candidate in scope.variables if candidate.member in origins and candidate.kind == hole.kind]
    root = next((variable for variable in scope.parameters if variable.name in origins), None)
    roomy = root is not None and len(scope.parameters) < scope.most_parameters
    if found and not (roomy and scope.rng.random() < 0.25):
        chosen = scope.rng.choice(found)
        chosen.pending = False
        return chosen.name
    if root is None:
        raise DeadEnd
    return scope.parameter(hole.kind, member=root.name).name


def changeable(scope: Scope, kind: str, *, filled: bool = False, new: bool = False) -> Variable:
    """A variable that may be changed in place: one made here, at this level, or a fresh copy of another."""
    for candidate in reversed(scope.variables):
        fits = candidate.kind == kind and candidate.own and not candidate.frozen and candidate.level == scope.level
        enough = not filled or (candidate.spare > 0 and not scope.loops)
        if fits and enough and not new and scope.rng.random() < 0.75:
            candidate.pending = True
            candidate.spare -= filled
            return candidate
    source = variable(scope, kind, Filling(), filled=True)
    name = scope.fresh(COPIES[kind])
    scope.emit(f"{name} = {MAKERS[kind]}({source.name})")
    return scope.add(Variable(name, kind, copy_of=source.name, own=True, pending=True, singular=source.singular, spare=1))


def is_value(kind: str) -> bool:
    """Whether variables may have this kind."""
    return kind in VALUES
