"""The notation of the tables: how a method is used, as source with typed holes.

A hole is `{kind}` or `{label:kind}`; `{label}` further on repeats the same text. A kind is one of `VALUES`, a pool of
literals (`LITERALS`), or a new name inside a comprehension (`LOCALS`). Marks after the kind: `+` a variable that is not
empty, `=` a variable, `!` a variable that may be changed in place. `{c:str@d}` is a variable whose value is a member of
the one labelled `d`: a key of a dictionary, an item of a list.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from rl.syntax import children, walk
from rl.synthesis.grid.methods_collections import DICT, LIST, PLAIN, SET, TUPLE
from rl.synthesis.grid.methods_text import BUILT_IN, FLOAT, STR

VALUES = frozenset({"int", "float", "str", "bool", "ints", "words", "tuple", "set", "dict"})
"""Kinds that variables have: `ints` and `words` are lists, `tuple` and `set` hold numbers, `dict` maps str to int."""


LITERALS = frozenset(
    {
        "char",
        "sep",
        "piece",
        "small",
        "times",
        "num",
        "base",
        "width",
        "fill",
        "decimal",
        "code",
        "letter_code",
        "digits",
        "numbers",
    }
)
LOCALS = frozenset("vuiwkn")

CONVERSIONS = frozenset({"list", "tuple", "set", "dict", "str"})
"""Calls that only give a value its type; they do not count as another method."""

COMPANIONS = {"maketrans": ("translate",), "translate": ("maketrans", "ord"), "chr": ("ord",)}
"""Functions that a method is of no use without."""

_HOLE = re.compile(r"\{(?:(\w+):)?(\w+)([+=!]*)(?:@(\w+))?\}")
_LINE = re.compile(r"(\S+|not in|) \| ((?:do )?\w+(?: once)?) \| (.*?)(?: \| ([a-z_, ]+))?")
_OPERATORS: dict[type[ast.AST], int] = {
    **dict.fromkeys((ast.Mult, ast.Div, ast.FloorDiv, ast.Mod), 11),
    **dict.fromkeys((ast.Add, ast.Sub), 10),
    ast.BitAnd: 9,
    ast.BitXor: 8,
    ast.BitOr: 7,
    ast.Pow: 13,
    ast.Compare: 6,
    ast.Not: 5,
    ast.And: 4,
    ast.Or: 3,
}
ATOM = 20
"""The precedence of what never needs parentheses."""
_OPERATIONS = (ast.Call, ast.BinOp, ast.Compare, ast.Subscript, ast.BoolOp, ast.UnaryOp)


@dataclass(frozen=True, slots=True)
class Hole:
    """A place in a form to be filled."""

    label: str
    kind: str
    """Empty where the hole repeats its label."""
    marks: str
    member: str
    need: int
    """The least precedence of an expression that can stand here without parentheses."""
    named: bool
    """Only a variable or a literal may stand here, as its text is repeated."""


@dataclass(frozen=True, slots=True)
class Form:
    """One way to use a method."""

    unit: str
    method: str
    """Empty for plain arithmetic."""
    kind: str
    """The kind of the value; for a statement the kind of the variable that it changes."""
    statement: bool
    once: bool
    """A statement that makes sense once on a variable, not in every round of a loop."""
    parts: tuple[str | Hole, ...]
    hints: tuple[str, ...]
    precedence: int
    depth: int
    """How deep operations are nested in the form itself."""
    calls: tuple[str, ...]
    """The methods and functions called, without conversions."""
    foreign: bool
    """Another method than its own is called."""

    @property
    def changes(self) -> bool:
        """Whether it changes a variable in place."""
        return self.statement or any(isinstance(part, Hole) and "!" in part.marks for part in self.parts)


def parse(unit: str, line: str) -> Form:
    """A form from a line of a table.

    Raises:
        ValueError: the line is not in the notation.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"{unit}: not a form: {line!r}")
    method, result, template, hints = match.groups()
    words = result.split()
    statement = words[0] == "do"
    tree, parts = _parts(template)
    calls = [name for name in _calls(tree) if name not in CONVERSIONS]
    return Form(
        unit,
        method,
        words[1] if statement else words[0],
        statement,
        words[-1] == "once",
        tuple(parts),
        tuple(hints.split(", ")) if hints else (),
        ATOM if statement else _precedence(ast.parse(tree.strip(), mode="eval").body),
        0 if statement and not isinstance(ast.parse(tree).body[-1], ast.Expr) else _depth(ast.parse(tree)),
        tuple(calls),
        any(name != method.removeprefix("math.") and name not in COMPANIONS.get(method, ()) for name in calls),
    )


def _parts(template: str) -> tuple[str, list[str | Hole]]:
    """The template with a plain name for each hole, and its parts."""
    numbers: list[re.Match[str]] = list(_HOLE.finditer(template))
    counter = iter(range(len(numbers)))
    plain = _HOLE.sub(lambda _: f"hole{next(counter)}", template) if "{" in template else template
    if template.startswith('f"'):
        plain = "-[" + ", ".join(f"hole{n}" for n in range(len(numbers))) + "]"
    needs = _needs(ast.parse(plain))
    uses = [match[1] or match[2] for match in numbers]
    parts: list[str | Hole] = []
    at = 0
    labels = {"it"}
    for number, match in enumerate(numbers):
        label, kind, marks, member = match[1] or match[2], match[2], match[3], match[4] or ""
        repeated = match[1] is None and kind in labels
        shared = match[1] is not None and uses.count(label) > 1
        labels |= {label} if match[1] or kind in LOCALS else set()
        parts.append(template[at : match.start()])
        parts.append(Hole(label, "" if repeated else kind, marks, member, needs.get(f"hole{number}", 0), shared))
        at = match.end()
    parts.append(template[at:])
    return plain, [part for part in parts if part != ""]


def _needs(tree: ast.AST) -> dict[str, int]:
    """For each hole the least precedence of what can stand there bare."""
    needs: dict[str, int] = {}
    sides: tuple[tuple[ast.expr, int], ...]
    for node in walk(tree):
        match node:
            case ast.BinOp(left=left, op=op, right=right):
                level = _OPERATORS[type(op)]
                binds_right = isinstance(op, ast.Pow)
                sides = ((left, level + binds_right), (right, level + (not binds_right)))
            case ast.Compare(left=left, comparators=rights):
                sides = ((left, 7), *((right, 7) for right in rights))
            case ast.Attribute(value=value) | ast.Subscript(value=value):
                sides = ((value, ATOM),)
            case ast.comprehension(iter=source, ifs=tests):
                sides = ((source, 3), *((test, 3) for test in tests))
            case _:
                continue
        needs.update((side.id, level) for side, level in sides if isinstance(side, ast.Name))
    return needs


def _precedence(node: ast.expr) -> int:
    match node:
        case ast.BinOp(op=op) | ast.BoolOp(op=op):
            return _OPERATORS[type(op)]
        case ast.Compare():
            return _OPERATORS[ast.Compare]
        case _:
            return ATOM


def _calls(source: str) -> Iterator[str]:
    for node in walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
                yield name


def _depth(node: ast.AST) -> int:
    inner = max((_depth(child) for child in children(node)), default=0)
    return inner + isinstance(node, _OPERATIONS)


def _lists() -> Iterator[str]:
    for line in LIST.strip().splitlines():
        for several, one in (("ints", "int"), ("words", "str")):
            kinds = re.sub(r"\bL\b", several, re.sub(r"\bE\b", one, line))
            yield kinds


def _tables() -> dict[str, dict[str, tuple[Form, ...]]]:
    lines = {"dict": DICT, "list": "\n".join(_lists()), "set": SET, "tuple": TUPLE, "float": FLOAT, "str": STR}
    tables: dict[str, dict[str, tuple[Form, ...]]] = {}
    for unit, text in {**lines, "built-in": BUILT_IN}.items():
        table: dict[str, tuple[Form, ...]] = {}
        for line in text.strip().splitlines():
            form = parse(unit, line)
            table[form.method] = (*table.get(form.method, ()), form)
        tables[unit] = table
    return tables


TABLES = _tables()
"""The forms of each method, by type."""

ARITHMETIC = tuple(parse("", line) for line in PLAIN.strip("\n").splitlines())
"""Plain operators on numbers, and f-strings, which any program may use."""
