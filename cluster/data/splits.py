"""Splits on disk: one Parquet file each, which `datasets.load_dataset` reads."""

from pathlib import Path

from datasets import Dataset, disable_progress_bars, load_dataset
from datasets.exceptions import DatasetGenerationError
from pyarrow import ArrowException

from cluster.config import BadInput
from cluster.data.plain_rows import as_row, from_row
from rl.problems import Problem

disable_progress_bars()

SPLITS = ("heldout", "validation", "sft", "rl")
"""In the order they are filled: the held-out programs are known before any other."""


def write_split(path: Path, problems: list[Problem]) -> None:
    """Write problems as Parquet, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    Dataset.from_list([as_row(problem) for problem in problems]).to_parquet(str(unfinished))
    unfinished.replace(path)


def read_split(path: Path) -> list[Problem]:
    """Read what `write_split` wrote.

    Raises:
        BadInput: it is no Parquet file, or a spoilt one.
    """
    try:
        rows = load_dataset("parquet", data_files=str(path), split="train")
    except (ArrowException, DatasetGenerationError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(f"{path}: cannot be read as Parquet: {why}") from None
    return [from_row(row) for row in rows]
