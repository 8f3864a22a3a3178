"""Whether what was trained on stands in a benchmark: 10-grams shared by a run's splits and the benchmark's programs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.config import BadInput
from cluster.data.splits import read_split
from rl.synthesis.similarity import Contamination

TRAINED_ON = ("sft", "rl")
"""The splits that weights come from; validation only ends SFT."""

_WORDS = 10
"""StepCodeReasoner 4.1."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What a run's training programs and a benchmark's have in common."""

    problems: dict[str, str]
    """Of the benchmark, those with a run of words that was trained on, and the first such run."""
    rows: dict[str, tuple[int, int]]
    """For each split, its programs with a run of words of the benchmark, and all of them."""

    def figures(self, total: int) -> dict[str, Any]:
        """As it is stored, of so many problems."""
        rows = {split: {"shared": shared, "programs": whole} for split, (shared, whole) in self.rows.items()}
        return {"words": _WORDS, "problems": total, "shared": len(self.problems), "examples": _few(self.problems), **rows}


def _few(problems: Mapping[str, str]) -> dict[str, str]:
    return dict(list(problems.items())[:5])


def contamination(run: Path, programs: Mapping[str, str]) -> Shared:
    """Compare the programs that a run trains on with a benchmark's.

    Args:
        run: the run's folder; what is there of `data/sft.parquet` and `data/rl.parquet` counts.
        programs: the benchmark's, by id.

    Raises:
        BadInput: neither is there.
    """
    files = {split: run / "data" / f"{split}.parquet" for split in TRAINED_ON}
    splits = {split: {problem.code for problem in read_split(path)} for split, path in files.items() if path.is_file()}
    if not splits:
        raise BadInput(f"{run}: no data to compare with (data/sft.parquet and data/rl.parquet are missing)")
    tested = Contamination(programs.values(), _WORDS)
    trained = Contamination([code for codes in splits.values() for code in codes], _WORDS)
    found = {name: trained.shared(code) for name, code in programs.items()}
    return Shared(
        {name: words for name, words in found.items() if words is not None},
        {split: (sum(tested.shared(code) is not None for code in codes), len(codes)) for split, codes in splits.items()},
    )


def compared(run: Path, programs: Mapping[str, str]) -> tuple[dict[str, Any], frozenset[str]]:
    """What a run's training programs and a benchmark's share, as it is stored, and the ids of the benchmark's that do.

    Raises:
        BadInput: as `contamination` does.
    """
    shared = contamination(run, programs)
    return {"run": str(run), **shared.figures(len(programs))}, frozenset(shared.problems)


def run_of(model: Path) -> Path | None:
    """The run that left a model: `runs/NAME/model` and `runs/NAME/models/STAGE` are its own; None of any other."""
    parents = list(model.resolve().parents)[:2]
    return next((folder for folder in parents if (folder / "config.yaml").is_file() and (folder / "data").is_dir()), None)
