"""What programs are like: their length, their anchors, and which families of methods they use.

The papers' models are weakest where strings are worked on.
"""

import ast

from rl.anchors import ProgramError, instrument
from rl.benchmarks.results import group

_TYPES = (str, list, dict, set)
_OWN = {
    kind.__name__: {
        name
        for name in dir(kind)
        if not name.startswith("_") and not any(hasattr(other, name) for other in (*_TYPES, tuple) if other is not kind)
    }
    for kind in _TYPES
}
"""Names of methods that no other built-in collection has."""

_SHARED = {name for kind in _TYPES for name in dir(kind) if name[0] != "_"} - set().union(*_OWN.values())


def method_families(code: str) -> tuple[str, ...]:
    """The built-in types whose methods the program calls, by the methods' names alone: `("dict", "str")`.

    Names that several types have (`pop`, `count`) make `shared`; a program that calls no method makes `none`, and one
    that does not parse nothing at all.
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    called = {
        node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    found = [kind for kind, names in _OWN.items() if called & names]
    found += ["shared"] if called & _SHARED else []
    return tuple(sorted(found)) or ("none",)


def program_traits(code: str) -> dict[str, str]:
    """The groups of a program by its text alone: the anchors that it would get, if it can get any, and its lines."""
    try:
        anchors = len(instrument(code, None).anchors)
    except ProgramError:
        return {"lines": lines_group(code)}
    return {"anchors": group("anchors", anchors), "lines": lines_group(code)}


def lines_group(code: str) -> str:
    """The group of its lines that are not blank."""
    return group("lines", sum(bool(line.strip()) for line in code.split("\n")))
