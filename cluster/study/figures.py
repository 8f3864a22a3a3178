"""A study's raw numbers: one CSV of what every arm reached, one of how its training went."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Any

from cluster.config import BadInput
from cluster.evaluation.heldout import DECODINGS
from cluster.runs import RunFolder, read_jsonl, write_whole
from cluster.study.arms import arm_folder, stage_of
from cluster.study.settings import BARE, SETTINGS, SFT, StudySettings, read_settings
from rl.benchmarks.accuracy import MEASURES, estimate
from rl.benchmarks.families import method_families
from rl.benchmarks.results import group

FIGURES, TRAINING = "figures.csv", "training.csv"
NO_ANCHORS = "heldout, no anchors"
"""What the held-out split is called where its programs were shown without anchors."""
ALL_SEEDS = "all"
"""In place of a seed: each problem's mean over the seeds that have the arm."""
CURVES = ("final_reward", "step_accuracy", "trace_accuracy", "entropy", "response_length")
"""Of RL's metrics, what goes into the CSV of training, beside the share of right answers with a wrong step."""
SPENT = ("steps", "responses", "response_tokens", "seconds")
"""What is told of an arm's own training, as metrics of the split `training`."""
WRONG_STEPS = "right_answer_wrong_steps"

PerProblem = dict[str, float]
Key = tuple[str, str, str, str, str]
"""Arm, split, decoding, kind of problems, metric."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of one arm, with its 95 % interval over problems where it has one."""

    seed: str
    arm: str
    split: str
    """A held-out split; `training` for what training took."""
    decoding: str
    group: str
    """The kind of problems, such as `anchors 3-5`; empty for all of the split."""
    metric: str
    value: float
    low: float | None
    high: float | None
    problems: int


def write_figures(folder: Path) -> None:
    """Leave both CSV files in the folder of a study, of the arms that are done there.

    Raises:
        BadInput: no arm is.
    """
    settings = read_settings(folder / SETTINGS)
    done = finished_arms(settings, folder)
    if not done:
        raise BadInput(f"{folder}: no arm is evaluated yet")
    figures = collect(settings, done, folder)
    write_whole(folder / FIGURES, _csv([asdict(figure) for figure in figures], [field.name for field in fields(Figure)]))
    heads = ["seed", "arm", "step", "seconds", *CURVES, WRONG_STEPS]
    write_whole(folder / TRAINING, _csv(training_rows(settings, done, folder), heads))


def finished_arms(settings: StudySettings, folder: Path) -> dict[int, list[str]]:
    """The arms that are evaluated, by seed; not every seed need have every arm."""
    done: dict[int, list[str]] = {}
    for seed in sorted(int(path.name.removeprefix("seed-")) for path in folder.glob("seed-*")):
        for arm in (SFT, *settings.arms):
            stage = stage_of(arm, settings.arms.get(arm))
            if f"{stage}_evaluation" in RunFolder(arm_folder(folder, seed, arm)).finished_stages():
                done.setdefault(seed, []).append(arm)
    return done


def collect(settings: StudySettings, done: Mapping[int, Sequence[str]], folder: Path) -> list[Figure]:
    """Every number of these arms, seed by seed and over all seeds that an arm has.

    Differences between arms are taken within a seed, problem by problem, so that they hold where arms have other seeds.
    """
    found: list[Figure] = []
    pooled: dict[Key, list[PerProblem]] = {}
    for seed, arms in done.items():
        measured: dict[Key, PerProblem] = {}
        for arm in arms:
            run = RunFolder(arm_folder(folder, seed, arm))
            stage = stage_of(arm, settings.arms.get(arm))
            measured |= _measured(arm, stage, run, list(settings.further), settings.without_anchors)
            found += [Figure(str(seed), *one) for one in _spent(arm, stage, run)]
        measured |= _differences(settings, measured)
        for key, values in measured.items():
            pooled.setdefault(key, []).append(values)
        found += [_figure(str(seed), key, values) for key, values in measured.items()]
    return [*found, *(_figure(ALL_SEEDS, key, _over_seeds(values)) for key, values in pooled.items())]


def _measured(arm: str, stage: str, run: RunFolder, further: Sequence[str], bare: bool) -> dict[Key, PerProblem]:
    """Each metric of each problem; by kinds of problems only accuracies of greedy answers on the held-out split."""
    places = [(split, split, True) for split in ("heldout", *further)]
    if bare:
        places.append((NO_ANCHORS, "heldout", False))
    found: dict[Key, PerProblem] = {}
    for name, split, anchors in places:
        rows = read_jsonl(run.evaluation(stage, split, anchors=anchors))
        for decoding in DECODINGS:
            asked = [row for row in rows if row["decoding"] == decoding]
            for metric, values in per_problem(asked, anchors=anchors).items():
                found[arm, name, decoding, "", metric] = values
            if (name, decoding) != ("heldout", "greedy"):
                continue
            by_kind: dict[str, list[Mapping[str, Any]]] = {}
            for row in asked:
                for kind in kinds(row):
                    by_kind.setdefault(kind, []).append(row)
            for kind, some in sorted(by_kind.items()):
                values_of = per_problem(some, anchors=True)
                for metric in ("final_accuracy", "step_accuracy"):
                    found[arm, name, decoding, kind, metric] = values_of[metric]
    return found


def kinds(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The kinds of problems that an evaluated problem is of: anchors executed, lines of the program, built-in methods."""
    # An anchor's print call is a line of its own and calls no method.
    lines = sum(bool(line.strip()) and not line.strip().startswith("print(") for line in row["instrumented"].split("\n"))
    states = len(row["responses"][0]["states"])
    families = [f"methods of {family}" for family in method_families(row["instrumented"])]
    return (f"anchors {group('anchors', states)}", f"lines {group('lines', lines)}", *families)


def per_problem(rows: Sequence[Mapping[str, Any]], *, anchors: bool) -> dict[str, PerProblem]:
    """The metrics of evaluated problems, by problem.

    Without anchors no steps were asked for, so only answers and tokens count. `right_answer_wrong_steps` is, of a problem's
    right answers, the share with some step wrong; a problem without a right answer has none.
    """
    measures = MEASURES if anchors else ("final",)
    found: dict[str, PerProblem] = {f"{one}_accuracy": {row["id"]: row[one] for row in rows} for one in measures}
    found["tokens"] = {row["id"]: fmean(response["tokens"] for response in row["responses"]) for row in rows}
    if anchors:
        right = {row["id"]: [one for one in row["responses"] if one["final_reward"] == 1.0] for row in rows}
        found[WRONG_STEPS] = {
            name: fmean(any(reward < 1.0 for reward in one["step_rewards"]) for one in responses)
            for name, responses in right.items()
            if responses
        }
    return {metric: values for metric, values in found.items() if values}


def _differences(settings: StudySettings, measured: Mapping[Key, PerProblem]) -> dict[Key, PerProblem]:
    """What arms of one seed have more than SFT, than the arms they are compared with, and than without anchors."""
    found: dict[Key, PerProblem] = {}

    def note(key: Key, values: PerProblem, other: PerProblem | None) -> None:
        shared = {problem: value - other[problem] for problem, value in values.items() if problem in other} if other else {}
        if shared:
            found[key] = shared

    for key, values in measured.items():
        arm, split, decoding, kind, metric = key
        if kind:
            continue
        if arm != SFT and metric.endswith("_accuracy"):
            note((arm, split, decoding, "", gain_of(metric)), values, measured.get((SFT, split, decoding, "", metric)))
        if split != "heldout":
            continue
        for other in settings.others(arm):
            note((arm, split, decoding, "", over(metric, other)), values, measured.get((other, split, decoding, "", metric)))
        note((arm, split, decoding, "", over(metric, BARE)), values, measured.get((arm, NO_ANCHORS, decoding, "", metric)))
    return found


def gain_of(accuracy: str) -> str:
    """What the gain in an accuracy over SFT is called."""
    return accuracy.removesuffix("_accuracy") + "_gain"


def over(metric: str, other: str) -> str:
    """What an arm's difference to another one is called; `no-anchors` is the same arm without them."""
    return f"{metric} over {other}"


def _figure(seed: str, key: Key, values: PerProblem) -> Figure:
    found = estimate(list(values.values()))
    return Figure(seed, *key, found.mean, found.low, found.high, len(values))


def _over_seeds(seeds: Sequence[PerProblem]) -> PerProblem:
    """Each problem's mean over the seeds that have it."""
    problems = dict.fromkeys(problem for one in seeds for problem in one)
    return {problem: fmean(one[problem] for one in seeds if problem in one) for problem in problems}


def _spent(arm: str, stage: str, run: RunFolder) -> Iterator[tuple[Any, ...]]:
    """What the arm's own training took, as the end of a figure."""
    rows = run.rows(stage)
    spent = {"steps": float(rows[-1]["step"]), "seconds": float(rows[-1]["seconds"])}
    if stage == "rl":
        spent["responses"] = sum(row["judged"] for row in rows)
        spent["response_tokens"] = sum(row["response_tokens"] for row in rows)
    for metric, value in spent.items():
        yield arm, "training", "", "", metric, value, None, None, 0


def training_rows(settings: StudySettings, done: Mapping[int, Sequence[str]], folder: Path) -> list[dict[str, Any]]:
    """RL's metrics, a row for each seed, arm and step."""
    found = []
    for seed, arms in done.items():
        for arm in arms:
            rows = RunFolder(arm_folder(folder, seed, arm)).rows("rl")
            for row in rows:
                curves = {name: row[name] for name in CURVES}
                right, whole = row["final_reward"], row["trace_accuracy"]
                hacked = 1 - whole / right if right else None
                where = {"seed": str(seed), "arm": arm, "step": row["step"], "seconds": row["seconds"]}
                found.append({**where, **curves, WRONG_STEPS: hacked})
    return found


def _csv(rows: Sequence[Mapping[str, Any]], heads: Sequence[str]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, heads, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()} for row in rows
    )
    return file.getvalue()


def read_figures(path: Path) -> list[Figure]:
    """What `write_figures` wrote.

    Raises:
        BadInput: it is not there, or a row is none.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text())))
        return [
            Figure(
                **{name: row[name] for name in ("seed", "arm", "split", "decoding", "group", "metric")},
                value=float(row["value"]),
                low=_number(row["low"]),
                high=_number(row["high"]),
                problems=int(row["problems"]),
            )
            for row in rows
        ]
    except (OSError, KeyError, ValueError) as error:
        raise BadInput(f"{path}: no figures of a study: {error}") from None


def read_training(path: Path) -> list[dict[str, Any]]:
    """What `write_figures` wrote of training, numbers as numbers.

    Raises:
        BadInput: it is not there, or a row is none.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text())))
        return [{name: text if name in ("seed", "arm") else _number(text) for name, text in row.items()} for row in rows]
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: no training of a study: {error}") from None


def _number(text: str) -> float | None:
    return float(text) if text else None
