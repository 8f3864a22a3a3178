"""How each cell of the grid fared."""

import csv

from cluster.data.card import _cells
from cluster.data.cell_counts import write_cells
from rl.problems import Problem
from rl.synthesis.grid import cells

NAMES = [str(cell) for cell in cells()]


def test_every_cell_has_a_row(tmp_path):
    path = tmp_path / "cells.csv"
    write_cells(path, [NAMES[0], "", NAMES[0], NAMES[3]], [NAMES[0], "", NAMES[1]])
    with path.open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["cell", "tried", "kept", "share"]
    assert [name for name, *_ in rows] == NAMES
    assert [row[1:] for row in rows[:4]] == [
        ["3", "2", "0.6667"],
        ["1", "0", "0.0000"],
        ["0", "0", ""],
        ["1", "1", "1.0000"],
    ]


def test_without_the_grid_there_is_none(tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text("of another build")
    write_cells(path, ["", ""], [""])
    assert not path.exists()


def problems(names):
    return {"rl": [Problem("a", "", "", "", [], "", tags={"cell": name}) for name in names]}


def test_the_card_names_the_empty_cells():
    told = _cells(problems([name for name in NAMES if name not in NAMES[5:7]]))
    assert f"{len(NAMES) - 2} of {len(NAMES)} cells hold a problem" in told
    assert told.endswith(f"Empty: `{NAMES[5]}`, `{NAMES[6]}`.")
    assert "Empty" not in _cells(problems(NAMES))
    assert f" and {len(NAMES) - 41} more." in _cells(problems(NAMES[:1]))
