"""What a build keeps until all splits are there: a file a wave, named by the number of its first candidate.

Of the wave under way every row is on disk as soon as it is decided, so that an interrupted build decides none twice.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cluster.runs import write_jsonl


def part_path(parts: Path, split: str, first: int) -> Path:
    """Where the rows of the wave go that begins with candidate number `first`."""
    return parts / f"{split}-{first:08d}.jsonl"


class Wave:
    """The rows of a wave under way; those that an interrupted build had decided are there already. Close it by `with`."""

    def __init__(self, parts: Path, split: str, first: int) -> None:
        """`first` is the number of its first candidate."""
        self._part = part_path(parts, split, first)
        self._unfinished = self._part.with_suffix(".unfinished")
        self.rows = _until_spoilt(self._unfinished)

    def __enter__(self) -> Self:
        # Written anew, because an interrupted build may have left half a line at its end.
        write_jsonl(self._unfinished, self.rows)
        self._file = self._unfinished.open("a")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row; it is with the operating system when this returns."""
        self.rows.append(row)
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def finish(self, rows: list[dict[str, Any]]) -> None:
        """Make the wave a part, of the rows as they have become."""
        if rows == self.rows:
            self._unfinished.replace(self._part)
        else:
            write_jsonl(self._part, rows)
            self._unfinished.unlink()


def kept_parts(parts: Path, split: str) -> Iterator[list[dict[str, Any]]]:
    """What an interrupted build of a split left, wave by wave.

    A part that does not begin where the one before ends, or that a disk has spoilt, goes, and all after it: those
    candidates are made again.
    """
    waves = sorted(parts.glob(f"{split}-*.jsonl"))
    tried = 0
    for place, wave in enumerate(waves):
        rows = _rows(wave) if wave == part_path(parts, split, tried) else None
        if rows is None:
            for later in waves[place:]:
                later.unlink()
            return
        tried += len(rows)
        yield rows


def _rows(part: Path) -> list[dict[str, Any]] | None:
    """The rows of a part; None where one of them is none."""
    lines = part.read_bytes().splitlines()
    rows = _until_spoilt(part)
    return rows if rows and len(rows) == len(lines) else None


def _until_spoilt(path: Path) -> list[dict[str, Any]]:
    """The rows of a file up to the first that is none; nothing where there is no file."""
    rows: list[dict[str, Any]] = []
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            break
        if not (
            isinstance(row, dict) and isinstance(row.get("problem", row.get("rejected")), dict) and line.endswith(b"\n")
        ):
            break
        rows.append(row)
    return rows
