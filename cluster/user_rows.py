"""Files of programs that a user gives: read line by line, and refused with the line that is wrong."""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cluster.config import BadInput

LONGEST = 1_000_000
"""Characters that any text in a row may have; the sandbox takes a few million."""


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        BadInput: it cannot be read, or is no UTF-8.
    """
    try:
        return path.read_text()
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: {error}") from None


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, perhaps gzipped, that are not blank, with their numbers.

    Raises:
        BadInput: it cannot be read.
    """
    try:
        packed = path.read_bytes()
        data = gzip.decompress(packed) if path.suffix == ".gz" else packed
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            yield number, line


def as_object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """A line as the JSON object it must be.

    Raises:
        BadInput: it is none.
    """
    try:
        row = json.loads(line.decode("utf-8-sig"))  # editors put a mark in front of the first line
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}:{number}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}:{number}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise BadInput(f"{path}:{number}: must be a JSON object")
    return row


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file, perhaps gzipped, with their line numbers.

    Raises:
        BadInput: the file cannot be read, or a line is not a JSON object.
    """
    for number, line in read_lines(path):
        yield number, as_object(path, number, line)


def text(path: Path | str, number: int, row: Mapping[str, Any], field: str) -> str:
    """A field that must be a string.

    Raises:
        BadInput: it is missing, is something else, or is too long.
    """
    value = row.get(field)
    if not isinstance(value, str):
        raise BadInput(f"{path}:{number}: {field} must be a string")
    if len(value) > LONGEST:
        raise BadInput(f"{path}:{number}: {field} is longer than {LONGEST} characters")
    return value
