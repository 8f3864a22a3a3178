"""`codereason eval`: of a run's models on its held-out split, of any model on a benchmark, or of stored answers to one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from pydantic import ValidationError
from rich.console import Console

from cluster.config import BadInput, override
from rl.problems import Task

_WITH_ANSWERS = ("--trained-on", "--out")
"""Options that also go with stored answers."""


def evaluate_benchmark(
    name: str,
    overrides: list[str],
    runs: Path,
    task: Task | None,
    data: Path | None,
    predictions: Path | None,
    model: str | None,
    options: Mapping[str, Any],
    as_json: bool,
) -> None:
    """A benchmark, by stored answers or by a model.

    Raises:
        BadInput: the options do not go together, or what they name is wrong.
    """
    from cluster.evaluation.questions import choose

    if (predictions is None) == (model is None):
        raise BadInput(f"eval {name}: give one of --model WHERE and --predictions FILE")
    benchmark = choose(name, task, data)
    console = Console(stderr=as_json)
    if predictions is not None:
        wrong = [option for option, value in options.items() if value is not None and option not in _WITH_ANSWERS]
        if given := wrong + overrides:
            raise BadInput(f"eval {name}: {given[0]} goes with --model, not with --predictions")
        _by_answers(benchmark, predictions, options["--trained-on"], options["--out"], as_json, console)
        return
    assert model is not None
    _by_model(benchmark, overrides, runs, model, options, as_json, console)


def _by_answers(
    benchmark: Any, predictions: Path, trained_on: Path | None, out: Path | None, as_json: bool, console: Console
) -> None:
    from cluster.evaluation.contamination import compared
    from cluster.evaluation.questions import programs_of
    from cluster.evaluation.stored_answers import scored_answers, show
    from cluster.runs import write_whole

    shared, known = (None, frozenset[str]()) if trained_on is None else compared(trained_on, programs_of(benchmark))
    verdicts = None if out is None else out / "verdicts.jsonl"
    found = scored_answers(predictions, benchmark, trained_on=known, verdicts=verdicts)
    if shared is not None:
        found["contamination"] = shared
    if out is not None:
        write_whole(out / "figures.json", json.dumps(found, indent=2))
    if as_json:
        typer.echo(json.dumps(found))
        return
    show(found, console)
    console.print(_contamination(found))
    if out is not None:
        console.print(f"verdicts and figures  {out}", soft_wrap=True)


def _by_model(
    benchmark: Any, overrides: list[str], runs: Path, model: str, options: Mapping[str, Any], as_json: bool, console: Console
) -> None:
    from cluster.commands.ending import interruptible
    from cluster.commands.json_output import kept_for_json
    from cluster.evaluation.answering import AskSettings
    from cluster.evaluation.benchmark import Wanted, default_folder, evaluate_model
    from cluster.evaluation.stored_answers import show

    raw: dict[str, Any] = {}
    for one in overrides:
        override(raw, one)
    try:
        settings = AskSettings.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    endpoint, anchors = options["--endpoint"], options["--anchors"] is not False
    if options["--key-variable"] is not None and endpoint is None:
        raise BadInput("--key-variable goes with --endpoint")
    wanted = Wanted(
        benchmark=benchmark,
        model=model,
        endpoint=endpoint,
        key_variable=options["--key-variable"],
        anchors=anchors,
        style=options["--prompts"] or ("trained" if endpoint is None and Path(model).exists() else "instructed"),
        samples=options["--samples"] or 0,
        limit=options["--limit"],
        settings=settings,
        trained_on=options["--trained-on"],
        out=options["--out"] or default_folder(runs, model, endpoint, benchmark, anchors),
    )
    with interruptible("the answers it has"), kept_for_json(as_json):
        found = evaluate_model(wanted, Console(stderr=True))
    if as_json:
        typer.echo(json.dumps(found))
        return
    for decoding in ("greedy", "sampled"):
        if decoding in found:
            show(found[decoding], console, decoding)
    console.print(_contamination(found))
    for reason, count in found.get("unanswered", {}).items():
        console.print(f"{count} questions without an answer: {reason}", markup=False)
    console.print(f"answers, verdicts and figures  {wanted.out}", soft_wrap=True)


def _contamination(found: Mapping[str, Any]) -> str:
    shared = found.get("contamination")
    if shared is None:
        return "contamination: not checked, as no run's training data is known; name the run with --trained-on RUN"
    splits = ", ".join(
        f"{shared[split]['shared']} of {shared[split]['programs']} programs of {split}"
        for split in ("sft", "rl")
        if split in shared
    )
    return (
        f"contamination: {shared['shared']} of {shared['problems']} problems share {shared['words']} words in a row with "
        f"what {shared['run']} trains on ({splits})"
    )
