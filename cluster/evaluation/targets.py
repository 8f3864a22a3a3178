"""The papers' figures, as targets, and a run's own beside them.

From StepCodeReasoner (arXiv 2605.11922): tables 2 and 3 (CodeReasoner's own rows are reprinted there), 4, 5 (SFT only)
and 6. Single cells are targets; several of the paper's averages do not follow from its cells. All are of 7B models but where
14B is named, greedy, judged by the final answer alone, with anchors by GPT-4o, and without problems of more than 10 anchors.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

COLUMNS = ("SFT only", "CodeReasoner-7B", "CodeReasoner-14B", "StepCodeReasoner-7B", "GPT-4o")

TARGETS: dict[str, tuple[float | None, ...]] = {
    "cruxeval-output": (0.770, 0.856, 0.912, 0.916, 0.905),
    "cruxeval-input": (0.750, 0.863, 0.868, 0.905, 0.806),
    "livecodebench-output": (0.730, 0.810, 0.866, 0.884, 0.848),
    "livecodebench-input": (0.700, 0.743, 0.825, 0.845, 0.653),
    "reval-coverage": (0.742, 0.864, 0.937, 0.944, 0.875),
    "reval-state": (0.582, 0.672, 0.799, 0.823, 0.724),
    "reval-path": (0.421, 0.514, 0.606, 0.631, 0.647),
    "reval-output": (0.703, 0.843, 0.910, 0.918, 0.845),
    "humaneval": (None, 0.876, 0.889, 0.901, None),
    "mbpp": (None, 0.824, 0.841, 0.850, None),
}
"""Greedy pass@1 by benchmark, in the order of `COLUMNS`; None where the paper gives none."""

STEP_ACCURACY = (None, 0.635, None, 0.807, None)
"""Anchors stated exactly, of CRUXEval's output task (table 6)."""


def beside_the_paper(run: Path) -> list[dict[str, Any]]:
    """A run's benchmark figures with the paper's, a row for each figure; none where the run evaluated no benchmark.

    Rows hold `model` (the stage), `benchmark`, `anchors`, `what`, `problems`, `ours` (strict) and `interval`, `official`,
    and `paper`, a mapping from the columns that have a figure.
    """
    rows: list[dict[str, Any]] = []
    for path in sorted((run / "benchmarks").glob("*/*/figures.json")):
        rows += _rows(path.parent.parent.name, json.loads(path.read_text()))
    return rows


def _rows(stage: str, found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, scores in found["greedy"]["scores"].items():
        common = {"model": stage, "benchmark": name, "anchors": found["anchors"], "problems": scores["problems"]}
        yield {
            **common,
            "what": "pass@1",
            **_own(scores["strict"]["pass@1"]),
            "official": scores["official"]["pass@1"]["mean"],
            "paper": _named(TARGETS.get(name, ())),
        }
        first = name == "cruxeval-output"
        if "step_accuracy" in scores:
            paper = _named(STEP_ACCURACY) if first else {}
            yield {**common, "what": "step accuracy", **_own(scores["step_accuracy"]), "official": None, "paper": paper}
        if "right_answer_wrong_steps" in scores:
            own = _own(scores["right_answer_wrong_steps"])
            yield {**common, "what": "right answer, wrong steps", **own, "official": None, "paper": {}}


def _own(estimate: dict[str, float]) -> dict[str, Any]:
    return {"ours": estimate["mean"], "interval": [estimate["low"], estimate["high"]]}


def _named(values: tuple[float | None, ...]) -> dict[str, float]:
    return {column: value for column, value in zip(COLUMNS, values, strict=False) if value is not None}
