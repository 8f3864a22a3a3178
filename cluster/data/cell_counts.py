"""How each cell of the grid fared: `cells.csv`."""

import csv
import io
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from cluster.runs import write_whole
from rl.synthesis.grid import cells


def write_cells(path: Path, kept: Iterable[str], set_aside: Iterable[str]) -> None:
    """Write a row for every cell of the grid, with the candidates tried of it, the problems kept, and their share.

    Args:
        path: where to.
        kept: the cell of every problem that was kept, over all splits; empty for one that was written for none.
        set_aside: the same of every candidate that was set aside.

    Where no candidate has a cell there is no file.
    """
    counts = Counter(filter(None, kept))
    tried = counts + Counter(filter(None, set_aside))
    if not tried:
        path.unlink(missing_ok=True)
        return
    page = io.StringIO()
    rows = csv.writer(page, lineterminator="\n")
    rows.writerow(["cell", "tried", "kept", "share"])
    for cell in map(str, cells()):
        share = f"{counts[cell] / tried[cell]:.4f}" if tried[cell] else ""
        rows.writerow([cell, tried[cell], counts[cell], share])
    write_whole(path, page.getvalue())
