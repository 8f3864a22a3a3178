"""Files of programs that a user gives: read line by line, and refused with the line that is wrong."""

import json
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


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file with their line numbers.

    Raises:
        BadInput: the file cannot be read, or a line is not a JSON object.
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{path}:{number}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise BadInput(f"{path}:{number}: must be a JSON object")
        yield number, row


def text(path: Path, number: int, row: Mapping[str, Any], field: str) -> str:
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
