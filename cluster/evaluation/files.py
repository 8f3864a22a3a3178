"""Files of benchmarks and of stored answers, as their users have them: JSONL, the same gzipped, or Parquet.

Answers may also be one JSON object from ids to lists of texts, as CRUXEval's own generations are.
"""

import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cluster.config import BadInput

FOLDER = Path("benchmarks-data")
"""Where benchmarks are looked for if no path is given; not under version control."""


def read_table(path: Path) -> list[dict[str, Any]]:
    """The rows of a file by its name's end: .jsonl, .jsonl.gz or .parquet.

    Raises:
        BadInput: it cannot be read; names the file and the line.
    """
    try:
        if path.suffix == ".parquet":
            return _parquet(path)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from None
    rows = []
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise BadInput(f"{path}:{number}: not JSON: {error}") from None
            if not isinstance(row, dict):
                raise BadInput(f"{path}:{number}: must be a JSON object")
            rows.append(row)
    return rows


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def _parquet(path: Path) -> list[dict[str, Any]]:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table as read_parquet

    try:
        rows: list[dict[str, Any]] = read_parquet(path).to_pylist()
    except ArrowException as error:
        raise BadInput(f"{path}: not Parquet: {error}") from None
    return rows


def is_mapping(path: Path) -> bool:
    """Whether a file of answers is one JSON object, by its name's end."""
    return path.name.endswith((".json", ".json.gz"))


def read_predictions(path: Path) -> dict[str, list[str]]:
    """Stored answers by id: rows `{id, responses: [..]}`, or one JSON object `{id: [..]}`.

    Raises:
        BadInput: a row is not that, has no response, or repeats an id.
    """
    found: dict[str, list[str]] = {}
    for number, row in enumerate(_entries(path) if is_mapping(path) else read_table(path), start=1):
        name, responses = row.get("id"), row.get("responses")
        if not isinstance(name, str):
            raise BadInput(f"{path}: row {number}: id must be a string")
        if not isinstance(responses, list) or not responses or not all(isinstance(text, str) for text in responses):
            raise BadInput(f"{path}: row {number}: {name}: responses must be a list of strings, one at least")
        if name in found:
            raise BadInput(f"{path}: row {number}: id {name} stands in an earlier row too")
        found[name] = responses
    if not found:
        raise BadInput(f"{path}: no rows")
    return found


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not JSON: {error}; rows of answers go into a file that ends in .jsonl") from None
    if not isinstance(found, dict):
        raise BadInput(
            f"{path}: must be one JSON object from ids to lists of answers, or rows in a file that ends in .jsonl"
        )
    return [{"id": name, "responses": responses} for name, responses in found.items()]


def known(predictions: Iterable[str], ids: Mapping[str, object], path: Path) -> None:
    """Refuses answers to problems that the benchmark has not.

    Raises:
        BadInput: names the first of them.
    """
    for name in predictions:
        if name not in ids:
            raise BadInput(f"{path}: id {name} is none of the benchmark's {len(ids)}, such as {next(iter(ids), 'none')}")
