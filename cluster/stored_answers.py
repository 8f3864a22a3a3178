"""`codereason eval --predictions FILE --benchmark NAME`: scores stored answers to a benchmark, without a model."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from cluster.benchmark_files import FOLDER, read_predictions
from cluster.benchmark_scores import JUDGES
from cluster.config import BadInput
from cluster.progress import counting
from cluster.reval_scores import TASKS, consistency, coverage_rates, judge_reval
from reward.codegen import LIMITS as LARGEST
from reward.official import CheckNotRun
from reward.reval import RunNotTraced
from reward.sandbox import Sandbox, SandboxUnavailable
from rl.benchmarks.results import RULES, Judged, figures

NAMES = (*JUDGES, "reval")


def score_stored_answers(predictions: Path, benchmark: str, data: Path | None, as_json: bool) -> None:
    """Judges a file of answers and prints pass@k by both rules, with intervals and by kinds of problems.

    Raises:
        BadInput: there is no such benchmark, a file is missing or wrong, or the sandbox cannot be had.
    """
    if benchmark not in NAMES:
        raise BadInput(f"--benchmark {benchmark}: must be one of {', '.join(NAMES)}")
    answers = read_predictions(predictions)
    where = data or FOLDER / (benchmark if benchmark == "reval" else JUDGES[benchmark][1])
    if not where.exists():
        raise BadInput(f"--data {where}: not there; give the benchmark's data with --data or put it there")
    try:
        with (
            Sandbox(LARGEST, packages=_packages()) as sandbox,
            counting(Console(stderr=True), benchmark, len(answers)) as advance,
        ):
            scored = _judged(sandbox, benchmark, where, answers, predictions, advance)
    except SandboxUnavailable as error:
        raise BadInput(f"sandbox: {error}") from None
    except (CheckNotRun, RunNotTraced) as error:
        raise BadInput(f"{where}: {error}") from None
    found = {"benchmark": benchmark, "data": str(where), "predictions": str(predictions), **scored}
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _show(found)


def _packages() -> list[str]:
    """numpy, where it is installed: programs of REval and LiveCodeBench may use it."""
    from importlib.util import find_spec

    return ["numpy"] if find_spec("numpy") else []


def _judged(
    sandbox: Sandbox, benchmark: str, data: Path, answers: Mapping[str, list[str]], source: Path, advance: Any
) -> dict[str, Any]:
    if benchmark != "reval":
        judged = []
        for problem in JUDGES[benchmark][0](sandbox, data, answers, source):
            judged.append(problem)
            advance(1)
        return {"scores": {benchmark: _figures(judged, data)}}
    both = []
    for task, problem in judge_reval(sandbox, data, answers, source):
        both.append((task, problem))
        advance(1)
    by_task = {task: [problem for name, problem in both if name == task] for task in TASKS}
    scores = {f"reval-{task}": _figures(problems, data) for task, problems in by_task.items() if problems}
    return {"scores": scores, "coverage": coverage_rates(both), "consistency": consistency(both)}


def _figures(judged: list[Judged], data: Path) -> dict[str, Any]:
    if all(verdict is None for problem in judged for verdict in problem.strict):
        raise BadInput(f"{data}: none of {len(judged)} problems could be run here")
    return figures(judged)


def _show(found: Mapping[str, Any]) -> None:
    console = Console()
    for name, scores in found["scores"].items():
        masked = f", {scores['masked']} masked" if scores["masked"] else ""
        table = Table(
            title=f"{name}: {scores['problems']} problems, {scores['responses']} responses{masked}; per cent [95 %]"
        )
        for column in ("", "problems", *RULES):
            table.add_column(column)
        for measure in scores["strict"]:
            table.add_row(measure, str(scores["problems"]), *(_percent(scores[rule][measure]) for rule in RULES))
        for trait, groups in scores["by"].items():
            table.add_section()
            for label, part in groups.items():
                cells = (_percent(part[rule]) for rule in RULES)
                table.add_row(f"{trait} {label}", str(part["problems"]), *cells)
        console.print(table)
    for rule, rates in found.get("coverage", {}).items():
        console.print(f"coverage, {rule}: " + ", ".join(f"{name} {100 * rate:.1f}" for name, rate in rates.items()))
    if found.get("consistency", {}).get("probes"):
        whole = found["consistency"]
        shown = ", ".join(f"{rule} {whole[rule]:.2f}" for rule in RULES)
        console.print(f"incremental consistency over {whole['probes']} probes: {shown}")


def _percent(estimate: Mapping[str, float]) -> str:
    mean, low, high = (100 * estimate[name] for name in ("mean", "low", "high"))
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"
