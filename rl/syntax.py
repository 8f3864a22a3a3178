"""Walks over syntax trees: what `ast.walk` gives less the nodes that say nothing alone (contexts, operators), and faster.

And the tokens of a program that compiles, which `tokenize` does not always give.
"""

import ast
import io
import tokenize
from collections.abc import Iterator
from functools import lru_cache

_PLAIN = frozenset(
    {
        *("ctx", "op", "ops", "id", "attr", "arg", "name", "asname", "rest", "kwd_attrs", "kind", "type_comment", "module"),
        *("level", "is_async", "conversion", "simple", "tag", "lineno"),
    }
)
"""Fields with texts, numbers, contexts and operators, in every class that has them."""
_LEAVES = frozenset({ast.Constant, ast.MatchSingleton, ast.Global, ast.Nonlocal})
"""Classes of which every field is such a one."""


class _Fields(dict[type[ast.AST], tuple[str, ...]]):
    def __missing__(self, kind: type[ast.AST]) -> tuple[str, ...]:
        self[kind] = () if kind in _LEAVES else tuple(name for name in kind._fields if name not in _PLAIN)
        return self[kind]


FIELDS = _Fields()
"""By class of nodes the fields in which other nodes may stand."""


def children(node: ast.AST) -> list[ast.AST]:
    """The nodes right below a node, in source order."""
    found: list[ast.AST] = []
    for name in FIELDS[type(node)]:
        value = getattr(node, name, None)
        if isinstance(value, list):
            found += value if None not in value else [item for item in value if item is not None]
        elif value is not None:
            found.append(value)
    return found


def walk(root: ast.AST) -> Iterator[ast.AST]:
    """A node and all below it, level by level."""
    level = [root]
    while level:
        yield from level
        level = [child for node in level for child in children(node)]


@lru_cache(maxsize=128)
def parsed(code: str) -> ast.Module:
    """The tree of a program that is looked at several times over; nobody may change it. Raises as `ast.parse`."""
    return ast.parse(code)


def tokens(code: str) -> Iterator[tokenize.TokenInfo]:
    """The tokens of a program that compiles.

    A lone backslash at the very beginning of a line, where a statement may begin, is passed over as a blank line: the
    compiler takes the indentation of the line behind it, `tokenize` none at all.
    """
    lines, begins = io.StringIO(code), True

    def line() -> str:
        found = lines.readline()
        return "\n" if begins and found == "\\\n" else found

    for token in tokenize.generate_tokens(line):
        begins = token.type in _BETWEEN_STATEMENTS
        yield token


_BETWEEN_STATEMENTS = (tokenize.NEWLINE, tokenize.NL, tokenize.COMMENT)
