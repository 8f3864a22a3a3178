"""What every arm of a study answered, a row for each problem: the raw numbers, from which every figure follows.

They are gathered from the folders of arms that are done, and joined with those of arms that were done elsewhere.
"""

import csv
import gzip
import io
import re
import subprocess
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from cluster.config import BadInput
from cluster.evaluation.heldout import DECODINGS
from cluster.runs import RunFolder, read_jsonl, write_bytes_whole, write_whole
from cluster.study.settings import SFT
from rl.benchmarks.families import method_families
from rl.benchmarks.results import group

OUTCOMES = "outcomes.csv.gz"
HELDOUT = "heldout"
NO_ANCHORS = "heldout, no anchors"
"""What the held-out split is called where its programs were shown without anchors."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one arm of one seed did at one problem: means over its responses."""

    seed: int
    arm: str
    split: str
    decoding: str
    problem: str
    final_accuracy: float
    step_accuracy: float | None
    """None, as the next two, where programs were shown without anchors: no steps were asked for."""
    trace_accuracy: float | None
    right_answer_wrong_steps: float | None
    """Of the right answers, the share with some step wrong; None also where there is no right answer."""
    tokens: float
    kinds: tuple[str, ...]
    """The kinds of problems that this one is of; told of greedy answers on the held-out split."""
    code: str = ""
    """The versions of the code that worked on the arm; empty where none was noted."""


_CODE = "code.txt"
"""In an arm's folder, the versions of the code that worked on it."""


def note_code(run: RunFolder, stage: str) -> None:
    """Note the version of the code that works on an arm, as long as the arm is not done."""
    if f"{stage}_evaluation" not in run.finished_stages():
        write_whole(run.path / _CODE, " ".join(dict.fromkeys([*_noted(run).split(), code_version()])))


def _noted(run: RunFolder) -> str:
    path = run.path / _CODE
    return path.read_text() if path.exists() else ""


def code_version() -> str:
    """The commit of this code, `-dirty` where files differ from it, the documents aside; `unknown` outside of a checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return "unknown"
    # A study's own reports are among the documents.
    code = ["--untracked-files=no", "--", ".", ":(exclude)docs"]
    asked = ["git", "-C", str(root), "status", "--porcelain=v2", "--branch", *code]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    commit = re.match(r"# branch\.oid ([0-9a-f]{12})", told)
    if commit is None:
        return "unknown"
    changed = any(not line.startswith("#") for line in told.splitlines())
    return f"{commit[1]}-dirty" if changed else commit[1]


def codes_told(outcomes: Sequence[Outcome]) -> str:
    """A sentence on seeds that were done by different code; empty if all were done by the same."""
    codes: dict[int, dict[str, None]] = {}
    for one in outcomes:
        codes.setdefault(one.seed, {}).update(dict.fromkeys(one.code.split() or ["unknown"]))
    if len({*map(frozenset, codes.values())}) < 2:
        return ""
    parts = [f"{seed}: {', '.join(versions)}" for seed, versions in codes.items()]
    return f"Not all seeds were done by the same version of the code ({'; '.join(parts)})."


def outcomes_of(seed: int, arm: str, stage: str, run: RunFolder, further: Sequence[str], bare: bool) -> Iterator[Outcome]:
    """An arm's outcomes on every split that it was measured on.

    Args:
        stage: what the arm's own training is called in its run.
        further: the splits beside the held-out one.
        bare: whether the held-out split was also shown without anchors.
    """
    code = _noted(run)
    places = [(split, split, True) for split in (HELDOUT, *further)]
    if bare:
        places.append((NO_ANCHORS, HELDOUT, False))
    for name, split, anchors in places:
        rows = read_jsonl(run.evaluation(stage, split, anchors=anchors))
        for decoding in DECODINGS:
            told = (name, decoding) == (HELDOUT, "greedy")
            for row in rows:
                if row["decoding"] == decoding:
                    found = outcome(row, seed, arm, name, anchors=anchors, with_kinds=told)
                    yield replace(found, code=code)


def outcome(row: Mapping[str, Any], seed: int, arm: str, split: str, *, anchors: bool, with_kinds: bool) -> Outcome:
    """One evaluated problem."""
    right = [one for one in row["responses"] if one["final_reward"] == 1.0]
    wrong = [any(reward < 1.0 for reward in one["step_rewards"]) for one in right]
    return Outcome(
        seed=seed,
        arm=arm,
        split=split,
        decoding=row["decoding"],
        problem=row["id"],
        final_accuracy=row["final"],
        step_accuracy=row["step"] if anchors else None,
        trace_accuracy=row["trace"] if anchors else None,
        right_answer_wrong_steps=fmean(wrong) if anchors and wrong else None,
        tokens=fmean(response["tokens"] for response in row["responses"]),
        kinds=kinds(row) if with_kinds else (),
    )


def kinds(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The kinds of problems that an evaluated problem is of: anchors executed, lines of the program, built-in methods."""
    # An anchor's print call is a line of its own and calls no method.
    lines = sum(bool(line.strip()) and not line.strip().startswith("print(") for line in row["instrumented"].split("\n"))
    states = len(row["responses"][0]["states"])
    families = [f"methods of {family}" for family in method_families(row["instrumented"])]
    return (f"anchors {group('anchors', states)}", f"lines {group('lines', lines)}", *families)


def joined(ours: Sequence[Outcome], earlier: Sequence[Outcome]) -> list[Outcome]:
    """Ours, and of the earlier ones those of arms and seeds that ours lack, by seed.

    Raises:
        BadInput: a seed's SFT model answered otherwise before: its arms did not start from the same model.
    """
    have = {(one.seed, one.arm) for one in ours}
    for seed in sorted({seed for seed, arm in have if arm == SFT}):
        now, before = ([one for one in some if (one.seed, one.arm) == (seed, SFT)] for some in (ours, earlier))
        if before and sorted(map(_answered, now)) != sorted(map(_answered, before)):
            raise BadInput(
                f"seed {seed}: the SFT model answers otherwise than the one of the arms that were reported before, so they"
                " cannot be compared; do all arms of this seed here, and report into another document"
            )
    found = [*ours, *(one for one in earlier if (one.seed, one.arm) not in have)]
    return sorted(found, key=lambda one: one.seed)


def _answered(one: Outcome) -> list[str]:
    return _cells(replace(one, code=""))


def _cells(one: Outcome) -> list[str]:
    """An outcome as the file holds it."""
    values = astuple(replace(one, kinds="|".join(one.kinds)))  # type: ignore[arg-type]
    return ["" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value) for value in values]


def write_outcomes(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write them as a packed CSV file; the same outcomes are the same bytes."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([field.name for field in fields(Outcome)])
    writer.writerows(map(_cells, outcomes))
    write_bytes_whole(path, gzip.compress(file.getvalue().encode(), mtime=0))


def read_outcomes(path: Path) -> list[Outcome]:
    """What `write_outcomes` wrote.

    Raises:
        BadInput: it is not there, or a row is none.
    """
    try:
        rows = csv.DictReader(io.StringIO(gzip.decompress(path.read_bytes()).decode()))
        return [
            Outcome(
                seed=int(row["seed"]),
                arm=row["arm"],
                split=row["split"],
                decoding=row["decoding"],
                problem=row["problem"],
                final_accuracy=float(row["final_accuracy"]),
                step_accuracy=_number(row["step_accuracy"]),
                trace_accuracy=_number(row["trace_accuracy"]),
                right_answer_wrong_steps=_number(row["right_answer_wrong_steps"]),
                tokens=float(row["tokens"]),
                kinds=tuple(filter(None, row["kinds"].split("|"))),
                code=row["code"],
            )
            for row in rows
        ]
    except (OSError, EOFError, zlib.error, KeyError, ValueError, TypeError, AttributeError) as error:
        raise BadInput(f"{path}: no outcomes of a study: {error}") from None


def _number(text: str) -> float | None:
    return float(text) if text else None
