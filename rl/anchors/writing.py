"""Writes the anchors of a placement into the text, one print to a line, and leaves all other text as it is."""

import ast
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Literal

from rl.anchors.layout import Edit, Layout, Line, lines_after, lines_before
from rl.anchors.placement import RETURN_LABEL, Mark, Marks

StateText = Literal["str", "repr"]
"""How an anchor shows a value: `str(value)`, as the paper has it, or `repr(value)`."""

_CONVERSIONS: dict[StateText, str] = {"str": "", "repr": "!r"}


def edits_for(
    tree: ast.Module, layout: Layout, marks: dict[ast.stmt, Marks], return_name: str, state_text: StateText
) -> list[Edit]:
    """The edits that write `marks` into the text. `return_name` is a name the program does not use."""
    return list(_Writer(layout, marks, return_name, state_text).block(tree.body))


class _Writer:
    def __init__(self, layout: Layout, marks: dict[ast.stmt, Marks], return_name: str, state_text: StateText) -> None:
        self._layout = layout
        self._marks = marks
        self._return_name = return_name
        self._conversion = _CONVERSIONS[state_text]

    def block(self, body: list[ast.stmt]) -> Iterator[Edit]:
        """The edits of a block, those of inner blocks before those of the statement around them."""
        for index, group in groupby(body, key=self._layout.first_line):
            statements = list(group)
            if isinstance(statements[0], _COMPOUND):
                yield from self._compound(statements[0], self._layout.indents[index])
            elif any(stmt in self._marks for stmt in statements):
                yield from self._logical_line(statements, index)

    def _compound(self, stmt: ast.stmt, indent: str) -> Iterator[Edit]:
        marks = self._marks.get(stmt, Marks())
        start, end = self._layout.start(stmt), self._layout.ends[self._layout.last_line(stmt)]
        yield Edit(start, start, *lines_before(self._prints(marks.before), indent))
        for inner in _inner_blocks(stmt):
            yield from self.block(inner)
        yield Edit(end, end, *lines_after(self._prints(marks.after), indent))

    def _logical_line(self, statements: list[ast.stmt], index: int) -> Iterator[Edit]:
        """One statement a line: `if x: a = 1; b = 2` is opened up to make room for the anchors."""
        layout = self._layout
        indent, first = layout.indents[index], layout.start(statements[0])
        if first != layout.starts[index]:
            indent += layout.unit
            yield Edit(layout.end_of_header(first), first, f"\n{indent}")
        for position, stmt in enumerate(statements):
            marks = self._marks.get(stmt, Marks())
            start = layout.start(stmt)
            yield Edit(start, start, *lines_before(self._prints(marks.before), indent))
            after = self._prints(marks.after)
            if marks.names_value:
                yield Edit(start, layout.after_keyword(start, "return"), f"{self._return_name} = ")
                after = [
                    *self._prints([Mark(RETURN_LABEL, self._return_name)]),
                    Line(f"return {self._return_name}", origin=stmt.lineno),
                ]
            text, written = lines_after(after, indent)
            if position + 1 < len(statements):
                yield Edit(layout.end(stmt), layout.start(statements[position + 1]), f"{text}\n{indent}", written)
            else:
                end = layout.ends[index]
                yield Edit(end, end, text, written)

    def _prints(self, marks: Iterable[Mark]) -> list[Line]:
        """The paper's exact form; a name needs no quotes, so the f-string never nests any."""
        return [Line(f"print(f'{label}: {{{name}{self._conversion}}}')", label) for label, name in marks]


_COMPOUND = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.Try,
    ast.TryStar,
    ast.With,
    ast.AsyncWith,
    ast.Match,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
)


def _inner_blocks(stmt: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The blocks of a compound statement, in source order."""
    parts: Iterable[ast.AST] = [stmt]
    if isinstance(stmt, ast.Match):
        parts = stmt.cases
    for part in parts:
        for name in ("body", "handlers", "orelse", "finalbody"):
            block = getattr(part, name, [])
            if name == "handlers":
                yield from (handler.body for handler in block)
            elif block:
                yield block
