"""The funnel: every candidate that was tried, kept or set aside for one reason, counted by split."""

import json
from pathlib import Path

from rich.table import Table

from cluster.data.splits import SPLITS

Funnel = dict[str, dict[str, int]]
"""By split: how many are `kept`, and how many were set aside for each reason."""


def read_funnel(folder: Path) -> Funnel:
    """The funnel of the data in a folder."""
    funnel: Funnel = json.loads((folder / "funnel.json").read_text())
    return funnel


def funnel_rows(funnel: Funnel) -> list[list[object]]:
    """What was kept, what was set aside for what, and what was tried: a row each, a column for every split."""
    reasons = sorted({reason for counts in funnel.values() for reason in counts} - {"kept"})
    rows = [[reason, *(funnel[name].get(reason, 0) for name in SPLITS)] for reason in ["kept", *reasons]]
    return [*rows, ["tried", *(sum(funnel[name].values()) for name in SPLITS)]]


def funnel_table(funnel: Funnel) -> Table:
    """The same for the terminal."""
    table = Table(title="candidates by split", title_justify="left")
    table.add_column("")
    for name in SPLITS:
        table.add_column(name, justify="right")
    for reason, *counts in funnel_rows(funnel):
        table.add_row(str(reason), *(f"{count:,}" for count in counts), end_section=reason == "kept")
    return table
