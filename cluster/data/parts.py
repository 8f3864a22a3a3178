"""What a build keeps of each wave until all splits are there: a file a wave, named by the number of its first candidate."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def part_path(parts: Path, split: str, first: int) -> Path:
    """Where the rows of the wave go that begins with candidate number `first`."""
    return parts / f"{split}-{first:08d}.jsonl"


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
    try:
        rows = [json.loads(line) for line in part.read_bytes().splitlines()]
    except ValueError:
        return None
    whole = all(isinstance(row, dict) and isinstance(row.get("problem", row.get("rejected")), dict) for row in rows)
    return rows if whole and rows else None
