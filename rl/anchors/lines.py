"""Which line of the original is which line of the instrumented program, and back (REval's questions name lines)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

_PHYSICAL_LINE = re.compile(r"[^\n]*\n|[^\n]+")


class Kept(NamedTuple):
    """Text of the original that is in the edited text as well: where it begins in each (lines count from 1)."""

    text: str
    old_line: int
    new_line: int


@dataclass(frozen=True, slots=True)
class LineMap:
    """Lines of the original and of the instrumented program, counted from 1."""

    instrumented: tuple[int, ...]
    """For each line of the original, the line on which its text now begins."""
    original: tuple[int | None, ...]
    """For each line of the instrumented program, the line its text comes from; None for an anchor."""

    def to_instrumented(self, line: int) -> int:
        """Where the text of a line of the original begins.

        Raises:
            ValueError: the original has no such line.
        """
        return self.instrumented[_index(line, self.instrumented)]

    def to_original(self, line: int) -> int | None:
        """Where a line of the instrumented program comes from; None for an anchor.

        `return return_val`, which closes a statement that was opened up, comes from the line of its `return`.

        Raises:
            ValueError: the instrumented program has no such line.
        """
        return self.original[_index(line, self.original)]


def _index(line: int, lines: tuple[object, ...]) -> int:
    if not 1 <= line <= len(lines):
        raise ValueError(f"line {line}: the program has lines 1 to {len(lines)}")
    return line - 1


def line_map(old_lines: int, new_lines: int, kept: Iterable[Kept], written: Mapping[int, int | None]) -> LineMap:
    """The map of an edited text.

    A line whose text was torn apart (`a = 1; b = 2`) begins where its first character that is no blank went; a line of
    which nothing is left (a lone `;`) goes where the text before it went. `written` overrides the origin of new lines.
    """
    forward, backward = _Firsts(), _Firsts()
    for piece in kept:
        for offset, fragment in enumerate(_PHYSICAL_LINE.findall(piece.text)):
            old, new = piece.old_line + offset, piece.new_line + offset
            forward.add(old, new, bool(fragment.strip()))
            backward.add(new, old, bool(fragment.strip()))
    origins = enumerate(backward.filled(new_lines), start=1)
    return LineMap(tuple(forward.filled(old_lines)), tuple(written.get(line, origin) for line, origin in origins))


class _Firsts:
    """For each line the first counterpart that shares a character with it, one that is no blank if there is one."""

    def __init__(self) -> None:
        self._solid: dict[int, int] = {}
        self._blank: dict[int, int] = {}

    def add(self, line: int, counterpart: int, solid: bool) -> None:
        (self._solid if solid else self._blank).setdefault(line, counterpart)

    def filled(self, lines: int) -> list[int]:
        found, last = [], 1
        for line in range(1, lines + 1):
            last = self._solid.get(line, self._blank.get(line, last))
            found.append(last)
        return found
