"""Where values go: into what grows while the program runs and is returned, or in a branch into a result."""

from rl.synthesis.grid.expressions import Expression
from rl.synthesis.grid.forms import ATOM
from rl.synthesis.grid.names import SUMS
from rl.synthesis.grid.scope import DeadEnd, Scope, Variable

_EMPTY = {
    "bool": "False",
    "tuple": "()",
    "int": "0",
    "count": "0",
    "best": "0",
    "float": "0.0",
    "str": '""',
    "set": "set()",
    "dict": "{}",
}


def collector(scope: Scope, kind: str) -> Variable:
    """What grows while the program runs, of this kind: one there is already, or a new one, empty at first.

    `count` is an int that counts, `flags` a list of bools, `any` a list of anything.
    """
    holds = {"count": "int", "best": "int", "flags": "any"}.get(kind, kind)
    for found in scope.variables:
        if found.own and found.kind == holds and found.level == 0 and not found.copy_of and found.name in SUMS[kind]:
            return found
    name = scope.fresh(SUMS[kind])
    scope.inits.append(f"{name} = {_EMPTY.get(kind, '[]')}")
    found = scope.add(Variable(name, holds, own=True, pending=True))
    found.level = 0
    return found


_WAYS: dict[str, tuple[tuple[str, str, int], ...]] = {
    "int": (
        ("int", "{c} += {x}", 6),
        ("ints", "{c}.append({x})", 3),
        ("best", "{c} = max({c}, {x})", 1),
        ("set", "{c}.add({x})", 1),
    ),
    "float": (("float", "{c} += {x}", 4), ("any", "{c}.append({x})", 1)),
    "str": (("words", "{c}.append({x})", 5), ("str", "{c} += {x}", 3)),
    "bool": (("flags", "{c}.append({x})", 3), ("count", "{c} += 1 if {x} else 0", 1)),
    "ints": (
        ("ints", "{c}.extend({x})", 3),
        ("int", "{c} += sum({x})", 2),
        ("any", "{c}.append({x})", 1),
        ("int", "{c} += len({x})", 1),
    ),
    "words": (("words", "{c}.extend({x})", 3), ("int", "{c} += len({x})", 1), ("words", '{c}.append("-".join({x}))', 1)),
    "tuple": (("int", "{c} += sum({x})", 2), ("ints", "{c}.extend({x})", 2), ("any", "{c}.append({x})", 2)),
    "set": (
        ("set", "{c} |= {x}", 3),
        ("any", "{c}.append(sorted({x}))", 1),
        ("int", "{c} += len({x})", 2),
        ("int", "{c} += sum({x})", 1),
    ),
    "dict": (("dict", "{c}.update({x})", 3), ("int", "{c} += sum({x}.values())", 1), ("int", "{c} += len({x})", 1)),
}
"""How a value goes into what is returned: the collector's kind, the statement, and how common it is."""


def consume(scope: Scope, made: Expression) -> None:
    """Writes a statement by which the value goes into something that is returned."""
    rng, text = scope.rng, made.text
    if not scope.loops and scope.level and made.kind in _RESULTS:
        _settled_by_branch(scope, made)
        return
    if _keyed(scope, made):
        return
    ways = _WAYS.get(made.kind, (("any", "{c}.append({x})", 1),))
    own = {found.name for found in scope.variables if found.own and not found.copy_of}
    there = [way for way in ways if not own.isdisjoint(SUMS[way[0]])]
    if there and rng.random() < 0.9:
        ways = tuple(there)
    kind, statement, _ = rng.choices(ways, [way[2] for way in ways])[0]
    scope.note_calls(statement)
    if kind in ("int", "str") and " += {x}" in statement and made.precedence >= 10 and rng.random() < 0.25:
        text += _extra(scope, made)
    if "{x}." in statement and made.precedence < ATOM:
        text = f"({text})"
    into = collector(scope, kind)
    if scope.loops and kind in _DOUBLING and scope.holds(text, into.name):
        raise DeadEnd
    scope.emit(statement.format(c=into.name, x=text))
    _settle(scope, made.text)


_DOUBLING = ("ints", "words", "str")
"""Collectors that double every round if what goes in is made of all of them: after fifty rounds no memory is left."""

_RESULTS = {
    "int": "+=",
    "float": "+=",
    "str": "+=",
    "ints": "+=",
    "words": "+=",
    "set": "|=",
    "dict": "|=",
    "bool": "=",
    "tuple": "+=",
}


def _settled_by_branch(scope: Scope, made: Expression) -> None:
    """Outside loops a branch sets the result, or returns it, instead of collecting."""
    rng, kind = scope.rng, made.kind
    if scope.guarded and not scope.inits and scope.returns in ("", kind) and rng.random() < 0.45:
        scope.emit(f"return {f'sorted({made.text})' if kind == 'set' else made.text}")
        scope.returns = kind
        _settle(scope, made.text)
        return
    result = collector(scope, kind)
    mark = (id(scope.block), result.name)
    if kind == "bool" and mark in scope.assigned:
        scope.emit(f"{result.name} = {result.name} and {made.text}")
    else:
        scope.emit(f"{result.name} {_RESULTS[kind] if mark in scope.assigned else '='} {made.text}")
    scope.assigned.add(mark)
    _settle(scope, made.text)


def _extra(scope: Scope, made: Expression) -> str:
    """A little more to add: a number in scope or a small one, or a mark between strings."""
    if made.kind == "str":
        return f' + "{scope.rng.choice("-,| ")}"'
    found = scope.choose("int", {made.text})
    sign = scope.rng.choice("+-*")
    return f" {sign} {found.name if found and scope.rng.random() < 0.6 else scope.rng.randint(2, 4)}"


def _keyed(scope: Scope, made: Expression) -> bool:
    """Files a number under a loop's string, sometimes and where there is one; says whether it did."""
    keys = [found.name for found in scope.variables if found.kind == "str" and found.level > 0 and found.name != made.text]
    if made.kind != "int" or not keys or scope.rng.random() < 0.7:
        return False
    table, key = collector(scope, "dict").name, keys[-1]
    if scope.rng.random() < 0.4 and scope.cell.configuration.others and made.precedence >= 10:
        scope.note("get")
        scope.emit(f"{table}[{key}] = {table}.get({key}, 0) + {made.text}")
    else:
        scope.emit(f"{table}[{key}] = {made.text}")
    _settle(scope, made.text)
    return True


def _settle(scope: Scope, text: str) -> None:
    found = scope.named(text)
    if found is not None and not found.own:
        found.pending = False
