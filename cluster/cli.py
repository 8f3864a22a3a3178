"""The command `codereason`."""

import errno
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cluster.commands import audit, bench, jobs, programs, serve_sandbox, study, watch
from cluster.commands.ending import interruptible
from cluster.commands.evaluate import evaluate_benchmark
from cluster.commands.json_output import kept_for_json
from cluster.commands.options import AsJson, ConfigFile, Overrides, Runs
from cluster.config import BadInput, RunSettings, load
from cluster.security import present_token, stay_on_loopback
from rl.benchmarks.asking import Style
from rl.problems import Task

app = typer.Typer(
    name="codereason",
    help="Teach language models to predict what a Python program does.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(bench.app, name="bench")
app.command()(audit.audit)
app.command()(serve_sandbox.serve_sandbox)
app.command()(jobs.submit)
app.command("list")(jobs.list_jobs)
app.command()(jobs.logs)
app.command()(jobs.stop)
app.command()(jobs.scale)
app.command()(watch.status)
app.command()(watch.dashboard)
app.command()(study.study)
app.command()(study.report)
app.command()(programs.anchors)
app.command()(programs.sandbox)
app.command()(programs.score)


def _carry_out(config: Path, overrides: list[str] | None, runs: Path, as_json: bool, until: str | None) -> None:
    settings = load(config, overrides or [])
    stay_on_loopback(settings)
    from cluster.run import carry_out

    console = Console(stderr=as_json)
    with interruptible(), kept_for_json(as_json):
        run = carry_out(settings, runs / settings.name, console, until)
    report = None
    if until is None:
        from cluster.reports.page import write_report
        from cluster.reports.tables import terminal_table

        report = write_report(run.path)
    if until == "data":
        _show_data(run.path, console, as_json)
    elif as_json:
        typer.echo(run.summary.read_text() if until is None else json.dumps({"run": str(run.path), "stage": until}))
    elif report is not None:
        console.print(terminal_table(json.loads(run.summary.read_text())))
        console.print(f"model   {run.trained_model}\nreport  {report}")


def _show_data(run: Path, console: Console, as_json: bool) -> None:
    from cluster.data.funnel import funnel_table, read_funnel

    funnel, card = read_funnel(run / "data"), run / "data" / "README.md"
    if as_json:
        typer.echo(json.dumps({"run": str(run), "stage": "data", "funnel": funnel, "card": str(card)}))
    else:
        console.print(funnel_table(funnel))
        console.print(f"card  {card}", soft_wrap=True)


@app.command()
def run(
    config: ConfigFile,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the resolved settings, memory, downloads and placement, and start nothing."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """The main job: build data, SFT, RL, evaluate, report. Resumes where it stopped."""
    if dry_run:
        _show_dry_run(load(config, overrides or []), as_json)
        return
    _carry_out(config, overrides, runs, as_json, None)


def _show_dry_run(settings: RunSettings, as_json: bool) -> None:
    stay_on_loopback(settings)
    from cluster.jobs.dry_run import show_dry_run
    from cluster.jobs.placement import require
    from cluster.run import placement_of

    placement = placement_of(settings)
    show_dry_run(settings, placement, Console(), as_json)
    try:
        require(placement)
    except BadInput as error:
        # Without a cluster's address the plan was made for this machine, which a recipe need not be meant for.
        if settings.cluster.address or os.environ.get("RAY_ADDRESS"):
            raise
        typer.echo(str(error), err=True)


@app.command()
def data(config: ConfigFile, overrides: Overrides = None, runs: Runs = Path("runs"), as_json: AsJson = False) -> None:
    """Build the data of a run and stop there."""
    _carry_out(config, overrides, runs, as_json, "data")


@app.command()
def sft(config: ConfigFile, overrides: Overrides = None, runs: Runs = Path("runs"), as_json: AsJson = False) -> None:
    """A run up to its supervised model."""
    _carry_out(config, overrides, runs, as_json, "sft")


@app.command()
def train(config: ConfigFile, overrides: Overrides = None, runs: Runs = Path("runs"), as_json: AsJson = False) -> None:
    """A run up to its RL model."""
    _carry_out(config, overrides, runs, as_json, "train")


@app.command("eval")
def evaluate(
    what: Annotated[
        str,
        typer.Argument(help="A run's YAML configuration; or a benchmark: cruxeval, livecodebench, .., or a file of rows."),
    ],
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    model: Annotated[
        str | None, typer.Option("--model", help="A model's folder, its name on the hub, or with --endpoint its name there.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", help="Base URL of an OpenAI-compatible endpoint, mostly ending in /v1.")
    ] = None,
    key_variable: Annotated[
        str | None, typer.Option("--key-variable", help="Environment variable that holds the endpoint's key.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", help="Stored answers to score: rows {id, responses: [..]}, or {id: [..]} (.json)."),
    ] = None,
    task: Annotated[Task | None, typer.Option("--task", help="Which side is predicted; output by default.")] = None,
    anchors: Annotated[
        bool | None, typer.Option("--anchors/--no-anchors", help="Whether programs are shown with print anchors; yes.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, help="Sampled answers beside the greedy one, for pass@k.")
    ] = None,
    prompts: Annotated[
        Style | None, typer.Option("--prompts", help="As in training here (a folder's), or with the format spelled out.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Ask the first so many questions only.")] = None,
    trained_on: Annotated[
        Path | None, typer.Option("--trained-on", help="The run whose data is compared with the benchmark.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="The benchmark's file or folder; benchmarks-data/.. else.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of answers, verdicts and figures; in the model's run else.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A run up to the evaluation of its models; or a benchmark, answered by a model or from a file of answers."""
    options = {
        "--endpoint": endpoint,
        "--key-variable": key_variable,
        "--anchors": anchors,
        "--samples": samples,
        "--prompts": prompts,
        "--limit": limit,
        "--trained-on": trained_on,
        "--out": out,
    }
    if Path(what).suffix not in (".yaml", ".yml"):
        evaluate_benchmark(what, overrides or [], runs, task, data, predictions, model, options, as_json)
        return
    foreign = {"--model": model, "--predictions": predictions, "--task": task, "--data": data, **options}
    for option, value in foreign.items():
        if value is not None:
            raise BadInput(f"eval {what}: {option} goes with a benchmark, not with a run's configuration")
    _carry_out(Path(what), overrides, runs, as_json, "eval")


_NO_PLACE = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
    errno.ENAMETOOLONG,
}  # fmt: skip
"""Why a file cannot be where the user wants it; any other failure of one is a fault of ours."""


def main() -> None:
    """Entry point: bad input ends with one line and status 2, Ctrl-C with status 130."""
    present_token()
    try:
        sys.exit(app(standalone_mode=False))
    except (BadInput, typer.TyperException) as error:
        message = error.format_message() if isinstance(error, typer.TyperException) else str(error)
        if message:  # There is none where the help was shown instead.
            sys.stderr.write(f"codereason: {' '.join(message.split())}\n")
        sys.exit(2)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if error.errno not in _NO_PLACE or (error.filename is None and not full):
            raise
        sys.stderr.write(f"codereason: {error.filename or 'a file could not be written'}: {error.strerror}\n")
        sys.exit(2)
    except typer.Abort:
        sys.exit(130)
