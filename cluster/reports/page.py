"""A run as one page: `report.html`, self-contained and without a single script.

Everything in it is read from the run's folder, whatever is there yet. Responses are a model's words: they are escaped,
characters that would be invisible or reorder a line are made visible, and the page forbids itself scripts and requests.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cluster.evaluation.targets import COLUMNS, beside_the_paper
from cluster.reports.charts import LIGHT, REWARDS, Metrics, line_chart, series, shown_charts
from cluster.runs import RunFolder, read_jsonl, write_whole

Row = dict[str, Any]

MODELS = {
    "sft": "SFT",
    "sft_longer": "SFT, longer",
    "terminal": "RL, final reward only",
    "step": "RL, Step-GRPO",
    "rl_only": "RL without SFT",
    "rl": "RL",
}
"""Stages that leave a model, in the order of the tables, as a reader knows them."""

MEASURES = {"final": "Final answer", "step": "Steps", "trace": "Whole trace"}

_CASES = 8
_TURN = ("wrong → right", "wrong → right", "wrong → wrong", "right → wrong", "right → right", "wrong", "right")
"""The kinds of problems, in the order of the page; a kind that is here twice gives two a turn."""

_UNSEEN = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    **dict.fromkeys([*range(0x80, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD),
    **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD),
}
"""Control characters, marks that reorder text, and lone surrogates, which UTF-8 cannot hold: each to a visible sign."""


def write_report(folder: Path) -> Path:
    """Write the report of a run, or of a study over seeds, finished or not, into its folder.

    Returns:
        The page's path.
    """
    page = _environment().get_template("report.html.j2").render(_page(folder)).translate(_UNSEEN)
    path = folder / "report.html"
    write_whole(path, page)
    return path


def reward_curve_svg(folder: Path) -> str:
    """The rewards of RL over its steps as a picture that stands alone, on a light background."""
    return line_chart(REWARDS, series(REWARDS, read_metrics(folder)), LIGHT)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cluster.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "points": points,
        "signed": signed,
        "duration": duration,
        "count": "{:,}".format,
    }
    return environment


def percent(fraction: float) -> str:
    """0.4312 as `43.1%`."""
    return f"{fraction:.1%}"


def points(fraction: float) -> str:
    """A difference of fractions in percentage points with its sign: `+5.0`, `−2.1`, `0.0`."""
    text = f"{100 * fraction:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def signed(value: float) -> str:
    """An advantage: `+1.10`, `−0.52`, `0.00`."""
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", "−")


def duration(seconds: float) -> str:
    """`0.4 s`, `20 s`, `14 min 32 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


# What is in the folder.


def _parts(folder: Path) -> dict[str, RunFolder]:
    """A study's runs by the name of their seed; a run is its own only part, without a name."""
    seeds = sorted(folder.glob("seed-*/config.yaml"), key=lambda path: (len(path.parent.name), path.parent.name))
    runs = {path.parent.name.replace("-", " "): RunFolder(path.parent) for path in seeds}
    return runs if runs and not (folder / "metrics.jsonl").exists() else {"": RunFolder(folder)}


def read_metrics(folder: Path) -> Metrics:
    """The metrics of a run or a study, by seed and stage.

    Longer SFT goes on with SFT, so its epochs count on from where SFT ended.
    """
    found: dict[str, dict[str, list[Row]]] = {}
    for name, run in _parts(folder).items():
        stages: dict[str, list[Row]] = {}
        for row in read_jsonl(run.metrics):
            stages.setdefault(row["stage"], []).append(row)
        if stages.get("sft"):
            ended = stages["sft"][-1].get("epoch", 0)
            for row in stages.get("sft_longer", []):
                row["epoch"] = row.get("epoch", 0) + ended
        found[name] = stages
    return found


def _wall_seconds(summary: Row, parts: Mapping[str, RunFolder]) -> dict[str, float]:
    """Wall seconds of each stage; of a study without a summary, the mean over the runs that have finished the stage."""
    finished = [summary["wall_seconds"]] if "wall_seconds" in summary else [run.finished_stages() for run in parts.values()]
    stages = dict.fromkeys(stage for one in finished for stage in one)
    return {_stage_name(stage): fmean(one[stage] for one in finished if stage in one) for stage in stages}


def _stage_name(stage: str) -> str:
    """`rl_evaluation` as `RL: evaluation`."""
    model = stage.removesuffix("_evaluation")
    return MODELS.get(model, model) + (": evaluation" if model != stage else "")


def _facts(metrics: Metrics) -> list[tuple[str, str]]:
    """How the RL loop did, in a few figures over all parts."""
    rows = [row for stages in metrics.values() for row in stages.get("rl", [])]
    tokens = _values(rows, "response_tokens")
    took = sum(stages["rl"][-1].get("seconds", 0.0) for stages in metrics.values() if stages.get("rl"))
    facts = [("RL steps", f"{len(rows):,}")] if rows else []
    if tokens:
        facts.append(("Response tokens", f"{sum(tokens):,.0f}"))
    if tokens and took:
        facts.append(("Tokens a second, whole loop", f"{sum(tokens) / took:,.0f}"))
    for label, field in (("Largest mismatch after a sync", "sync_mismatch"), ("Largest staleness", "staleness")):
        if values := _values(rows, field):
            facts.append((label, f"{max(values):.2g}"))
    return facts


def _values(rows: Iterable[Mapping[str, Any]], field: str) -> list[float]:
    return [row[field] for row in rows if row.get(field) is not None and math.isfinite(row[field])]


# Trajectories.


def _cases(run: RunFolder) -> Row:
    """Held-out problems before and after RL, greedy; before alone if there is no after yet.

    Which: of each kind the first in held-out order, so nobody picks the pretty ones.
    """
    before, after = (_greedy(run.evaluation(stage)) for stage in ("sft", "rl"))
    both = [id for id in before if id in after] if after else list(before)
    kinds: dict[str, list[str]] = {}
    for id in both:
        kinds.setdefault(_kind(before[id], after.get(id)), []).append(id)
    models = {MODELS["sft"]: before, **({MODELS["rl"]: after} if after else {})}
    task = _heldout_task(run)
    return {
        "counts": {kind: len(kinds[kind]) for kind in dict.fromkeys(_TURN) if kind in kinds},
        "problems": len(both),
        "after": bool(after),
        "shown": [_case(kind, id, models, task) for kind, id in _in_turns(kinds)],
    }


def _greedy(path: Path) -> dict[str, Row]:
    return {row["id"]: row for row in read_jsonl(path) if row["decoding"] == "greedy" and row["responses"]}


def _kind(before: Row, after: Row | None) -> str:
    rows = [before] if after is None else [before, after]
    words = ["right" if row["responses"][0]["final_reward"] == 1.0 else "wrong" for row in rows]
    return " → ".join(words)


def _in_turns(kinds: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """(kind, id) of at most `_CASES` problems, each kind giving one a turn, and the improved ones two."""
    turn = [kind for kind in _TURN if kind in kinds]
    waiting = {kind: list(ids) for kind, ids in kinds.items()}
    chosen: list[tuple[str, str]] = []
    while len(chosen) < _CASES and any(waiting.values()):
        for kind in turn:
            if waiting[kind] and len(chosen) < _CASES:
                chosen.append((kind, waiting[kind].pop(0)))
    return sorted(chosen, key=lambda case: turn.index(case[0]))


def _case(kind: str, id: str, models: Mapping[str, Mapping[str, Row]], task: str) -> Row:
    """One problem with, for each model, what its response states at every anchor; `task` is the split's."""
    row = next(iter(models.values()))[id]
    responses = {name: rows[id]["responses"][0] for name, rows in models.items()}
    traces = [response["states"] for response in responses.values()]
    return {
        "kind": kind,
        "id": id,
        "program": row["instrumented"].splitlines(),
        "call": row["call"],
        "output": row["output"],
        "models": list(models),
        # Of an input task each response is judged against the trace of the input that it proposes itself.
        "one_trace": all(trace == traces[0] for trace in traces),
        "rows": [
            [_cell(response, place) for response in responses.values()]
            for place in range(max(len(trace) for trace in traces))
        ],
        "answers": [
            {"said": response["answer"], "right": response["final_reward"] == 1.0} for response in responses.values()
        ],
        "right_answer": f"any call that returns {row['output']}" if row.get("task", task) == "input" else row["output"],
        "beyond": {
            name: more for name, one in responses.items() if (more := len(one["predicted"]) - len(one["states"])) > 0
        },
        "texts": {name: response["text"] for name, response in responses.items()},
    }


def _cell(response: Row, place: int) -> Row | None:
    """What a response states at an anchor and what is true there; None where its execution has no such anchor."""
    if place >= len(response["states"]):
        return None
    predicted = response["predicted"]
    return {
        "true": response["states"][place],
        "said": predicted[place] if place < len(predicted) else None,
        "right": response["step_rewards"][place] == 1.0,
    }


def _heldout_task(run: RunFolder) -> str:
    """What the held-out split asks for; its rows say it themselves where it asks for both."""
    config = run.path / "config.yaml"
    settings = yaml.safe_load(config.read_text()) if config.exists() else {}
    return str(settings.get("data", {}).get("heldout", {}).get("task", "output"))


def _training_group(run: RunFolder) -> Row | None:
    """Responses of one group from the last step written down: the best, the middle and the worst by mean advantage.

    The group is the first of the step that has both positive and negative advantages; if none has, the first.
    """
    for path in sorted(run.rollouts("rl").glob("step-*.jsonl"), reverse=True):
        groups: dict[str, list[Row]] = {}
        for row in read_jsonl(path):
            if row["advantages"]:
                groups.setdefault(row["problem_id"], []).append(row)
        if not groups:
            continue
        group = next((rows for rows in groups.values() if _differ(rows)), next(iter(groups.values())))
        ranked = sorted(group, key=lambda row: -fmean(row["advantages"]))
        places = sorted({0, len(ranked) // 2, len(ranked) - 1})
        largest = max(abs(advantage) for row in ranked for advantage in row["advantages"])
        return {
            "step": int(path.stem.removeprefix("step-")),
            "size": len(group),
            "problem": group[0],
            "program": group[0]["instrumented"].splitlines(),
            "largest": largest,
            "responses": [_heat(ranked[place], largest) for place in places],
        }
    return None


def _differ(rows: Sequence[Row]) -> bool:
    advantages = [advantage for row in rows for advantage in row["advantages"]]
    return min(advantages) < 0 < max(advantages)


def _heat(row: Row, largest: float) -> Row:
    tokens = [
        {"text": text, "advantage": advantage, "heat": round(advantage / largest, 3) if largest else 0.0}
        for text, advantage in zip(row["tokens"], row["advantages"], strict=True)
    ]
    right = sum(reward == 1.0 for reward in row["step_rewards"])
    return {
        "tokens": tokens,
        "verdict": row["verdict"],
        "right": row["final_reward"] == 1.0,
        "steps_right": right,
        "steps": len(row["step_rewards"]),
        "mean": fmean(row["advantages"]),
    }


# The page.


def _page(folder: Path) -> Row:
    """Everything the template shows."""
    parts = _parts(folder)
    first_name, first = next(iter(parts.items()))
    summary_file = folder / "summary.json"
    summary: Row = json.loads(summary_file.read_text()) if summary_file.exists() else {}
    metrics = read_metrics(folder)
    config = next((file for file in (folder / "config.yaml", first.path / "config.yaml") if file.exists()), None)
    wall = _wall_seconds(summary, parts)
    return {
        "name": summary.get("name", folder.resolve().name),
        "summary": summary,
        "models": {model: label for model, label in MODELS.items() if model in summary},
        "measures": MEASURES,
        "gains": summary.get("gains", {}),
        "parts": [name for name in parts if name],
        "first_part": first_name,
        "charts": [
            {"svg": Markup(line_chart(chart, lines)), "note": chart.note, "wide": chart is REWARDS}
            for chart, lines in shown_charts(metrics)
        ],
        "facts": _facts(metrics),
        "wall": wall,
        "longest": max(wall.values(), default=0.0),
        "config": config.read_text() if config else None,
        "benchmarks": [row for run in parts.values() for row in beside_the_paper(run.path)],
        "paper": COLUMNS,
        "cases": _cases(first),
        "group": _training_group(first),
    }
