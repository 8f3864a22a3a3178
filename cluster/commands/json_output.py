"""Standard output where it is for JSON and nothing else."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, ParamSpec

import typer

P = ParamSpec("P")


@contextmanager
def kept_for_json(wanted: bool) -> Iterator[None]:
    """In the block, if wanted, what Python code prints goes to standard error: Ray tells a driver so of failed tasks."""
    if not wanted:
        yield
        return
    with redirect_stdout(sys.stderr):
        yield


def print_measured(measure: Callable[P, dict[str, Any]], *args: P.args, **kwargs: P.kwargs) -> None:
    """Print what it measures of these as JSON, and nothing that is printed meanwhile."""
    with kept_for_json(True):
        found = measure(*args, **kwargs)
    typer.echo(json.dumps(found, indent=2))
