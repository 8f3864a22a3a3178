"""Walks over syntax trees: what `ast.walk` gives less the nodes that say nothing alone (contexts, operators), and faster."""

import ast
from collections.abc import Iterator
from functools import cache, lru_cache

_EMPTY = (ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)

_PLAIN = frozenset({"ctx", "op", "ops", "id", "attr", "kind", "type_comment", "module", "level", "is_async", "conversion"})
"""Fields that hold no node below which anything stands, in every class that has them."""


@cache
def _fields_of(kind: type[ast.AST]) -> tuple[str, ...]:
    """The fields of a class of nodes in which others may stand."""
    return () if kind is ast.Constant else tuple(name for name in kind._fields if name not in _PLAIN)


def children(node: ast.AST) -> list[ast.AST]:
    """The nodes right below a node, in source order."""
    found: list[ast.AST] = []
    for name in _fields_of(type(node)):
        value = getattr(node, name, None)
        if isinstance(value, list):
            found += [item for item in value if isinstance(item, ast.AST) and not isinstance(item, _EMPTY)]
        elif isinstance(value, ast.AST) and not isinstance(value, _EMPTY):
            found.append(value)
    return found


def walk(root: ast.AST) -> Iterator[ast.AST]:
    """A node and all below it, level by level."""
    level = [root]
    while level:
        yield from level
        level = [child for node in level for child in children(node)]


@lru_cache(maxsize=16)
def parsed(code: str) -> ast.Module:
    """The tree of a program that is looked at several times over; nobody may change it. Raises as `ast.parse`."""
    return ast.parse(code)
