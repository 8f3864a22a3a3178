"""Where statements lie in the text, and how edits of the text keep track of the lines they add."""

import ast
import tokenize
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from rl.anchors.lines import Kept
from rl.syntax import tokens


class Line(NamedTuple):
    """A line to be written."""

    text: str
    anchor: str | None = None
    """The name it shows, if it is an anchor."""
    origin: int | None = None
    """The line of the statement it is part of, if it is no anchor."""


Written = tuple[tuple[int, Line], ...]
"""The lines in a text that is put in: (newlines of the text before it, line)."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace `[start, end)` of the text (offsets in characters) by `text`."""

    start: int
    end: int
    text: str
    lines: Written = ()


@dataclass(frozen=True, slots=True)
class Spliced:
    """An edited text, and what became of the lines."""

    text: str
    written: dict[int, Line]
    """The lines that edits added, by their number, counted from 1."""
    kept: list[Kept]


class Layout:
    """The logical lines of a program: where they begin and end, and how far they are indented.

    A logical line may span several physical ones (brackets, backslashes) and may hold several statements.
    Positions are offsets into the text, in characters; the text must end with a newline.
    """

    def __init__(self, code: str) -> None:
        self._code = code
        self._lines = code.split("\n")
        self._line_offsets = [0]
        for line in self._lines:
            self._line_offsets.append(self._line_offsets[-1] + len(line) + 1)
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.indents: list[str] = []
        self.unit = ""
        self._read_logical_lines(code)

    def _read_logical_lines(self, code: str) -> None:
        indents, at_start = [""], True
        for token in tokens(code):
            offset = self._line_offsets[token.start[0] - 1] + token.start[1]
            if token.type == tokenize.INDENT:
                indents.append(token.string)
                self.unit = self.unit or token.string
            elif token.type == tokenize.DEDENT:
                indents.pop()
            elif token.type == tokenize.NEWLINE:
                self.ends.append(offset)
                at_start = True
            elif at_start and token.type not in (tokenize.NL, tokenize.COMMENT, tokenize.ENDMARKER):
                self.starts.append(offset)
                self.indents.append(indents[-1])
                at_start = False
        self.unit = self.unit or "    "

    def _offset(self, line: int, column: int) -> int:
        """The offset of a position in a syntax tree, whose columns count UTF-8 bytes."""
        text = self._lines[line - 1]
        characters = column if text.isascii() else len(text.encode()[:column].decode())
        return self._line_offsets[line - 1] + characters

    def start(self, stmt: ast.stmt) -> int:
        """The offset at which the statement begins, decorators included."""
        if isinstance(stmt, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and stmt.decorator_list:
            first = stmt.decorator_list[0]
            return self.starts[self._index(self._offset(first.lineno, first.col_offset))]
        return self._offset(stmt.lineno, stmt.col_offset)

    def end(self, stmt: ast.stmt) -> int:
        """The offset just past the statement's last character."""
        assert stmt.end_lineno is not None
        assert stmt.end_col_offset is not None
        return self._offset(stmt.end_lineno, stmt.end_col_offset)

    def first_line(self, stmt: ast.stmt) -> int:
        """The index of the logical line on which the statement begins."""
        return self._index(self.start(stmt))

    def last_line(self, stmt: ast.stmt) -> int:
        """The index of the logical line on which the statement ends."""
        return self._index(self.end(stmt))

    def end_of_header(self, body_start: int) -> int:
        """For `if x: a = 1`, given where `a = 1` begins: the offset just past the colon."""
        return self._code.rindex(":", 0, body_start) + 1

    def after_keyword(self, start: int, keyword: str) -> int:
        """The offset of what follows the keyword at `start` and the spaces behind it."""
        position = start + len(keyword)
        while self._code[position] in " \t\f":
            position += 1
        return position

    def _index(self, offset: int) -> int:
        return bisect_left(self.ends, offset)


def lines_before(lines: Iterable[Line], indent: str) -> tuple[str, Written]:
    """Text of `lines` in front of a statement indented by `indent`: each followed by a newline."""
    written = list(lines)
    return "".join(f"{line.text}\n{indent}" for line in written), tuple(enumerate(written))


def lines_after(lines: Iterable[Line], indent: str) -> tuple[str, Written]:
    """Text of `lines` behind a statement indented by `indent`: each preceded by a newline."""
    written = list(lines)
    return "".join(f"\n{indent}{line.text}" for line in written), tuple(enumerate(written, start=1))


def splice(code: str, edits: Iterable[Edit]) -> Spliced:
    """The text with its edits made.

    Edits must not overlap; those that begin at the same offset are applied in the order given.
    """
    pieces: list[str] = []
    written: dict[int, Line] = {}
    kept: list[Kept] = []
    old, new, position = 1, 1, 0
    for edit in sorted(edits, key=lambda edit: edit.start):
        text = code[position : edit.start]
        kept.append(Kept(text, old, new))
        old += code.count("\n", position, edit.end)
        new += text.count("\n")
        written.update({new + index: line for index, line in edit.lines})
        new += edit.text.count("\n")
        pieces += [text, edit.text]
        position = edit.end
    kept.append(Kept(code[position:], old, new))
    return Spliced("".join([*pieces, code[position:]]), written, kept)
