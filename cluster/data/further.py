"""Held-out splits beside a run's four: other kinds of programs, to measure how far a model's skill carries."""

import shutil
from collections.abc import Mapping

from cluster.config import RunSettings, SplitSettings
from cluster.data.factory import Factory, Split, fill, require_enough
from cluster.data.lengths import Budget
from cluster.data.screening import Screen
from cluster.data.sources import open_source
from cluster.data.splits import SPLITS, read_split, write_split
from cluster.monitoring.progress import Advance
from cluster.runs import RunFolder


def build_further(settings: RunSettings, further: Mapping[str, SplitSettings], run: RunFolder, advance: Advance) -> None:
    """Fill the splits and leave them beside the four, none of whose programs comes in.

    All are drawn by `data.heldout_seed`, so they are the same for every seed, but for what its four splits hold.

    Args:
        settings: the run's, whose four splits are there.
        further: the splits by name.
        run: where they go.
        advance: told of every problem that is kept.

    Raises:
        BadInput: a split asks a teacher, cannot be read, or gives too few problems.
    """
    screen = Screen(settings.data.filters)
    for name in SPLITS:
        for problem in read_split(run.split(name)):
            screen.take(problem, name)
    parts = run.path / "data" / "further-parts"
    shutil.rmtree(parts, ignore_errors=True)  # Few problems: what was interrupted begins anew.
    factory = Factory(settings, screen, None, None, Budget(settings.data), parts, advance)
    for name, wanted in further.items():
        split = Split(name)
        fill(split, wanted, open_source(name, wanted, settings.data.heldout_seed, None), factory)
        require_enough(split, wanted)
        write_split(run.split(name), split.problems)
    shutil.rmtree(parts)
