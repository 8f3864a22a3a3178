"""Problems as plain values and back."""

import json
from dataclasses import fields

from rl.problems import Problem, Task


def as_row(problem: Problem) -> dict[str, object]:
    """A problem as plain values."""
    # `dataclasses.asdict` would copy every state, ten times as slowly.
    row = {field.name: getattr(problem, field.name) for field in fields(problem)}
    return {**row, "task": str(problem.task), "tags": json.dumps(problem.tags)}


def from_row(row: dict[str, object]) -> Problem:
    """The problem that `as_row` gave."""
    return Problem(**{**row, "task": Task(row["task"]), "tags": json.loads(str(row["tags"]))})  # type: ignore[arg-type]
