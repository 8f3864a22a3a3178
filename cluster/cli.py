"""The command `codereason`."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from cluster import audit, bench, job_commands, sandbox_service, watch_commands
from cluster.config import BadInput, RunSettings, load
from cluster.eval_command import evaluate_benchmark
from cluster.security import present_token, stay_on_loopback
from reward.sandbox import Level
from rl.benchmarks.asking import Style
from rl.problems import Task

if TYPE_CHECKING:
    from cluster.programs import Source
    from reward.sandbox import Sandbox

app = typer.Typer(
    name="codereason",
    help="Teach language models to predict what a Python program does.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(bench.app, name="bench")
app.command()(audit.audit)
app.command()(sandbox_service.serve_sandbox)
app.command()(job_commands.submit)
app.command("list")(job_commands.list_jobs)
app.command()(job_commands.logs)
app.command()(job_commands.stop)
app.command()(watch_commands.status)
app.command()(watch_commands.dashboard)

ConfigFile = Annotated[Path, typer.Argument(help="YAML configuration, for example configs/demo.yaml.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Settings to change: key.path=value.")]
Runs = Annotated[Path, typer.Option("--runs", help="Folder that holds the runs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C in the block ends the command with one line and status 130, a failed worker with its cause and status 1."""
    from ray.exceptions import RayError

    from cluster.collection import PoolUnresponsive, StaleEngine
    from cluster.session import PoolNotStarted
    from learner.launch import LearnerFailed

    try:
        yield
    except (LearnerFailed, PoolUnresponsive, StaleEngine, PoolNotStarted, RayError) as error:
        # What a worker raised comes with its whole traceback; the last line says what it was.
        cause = str(error).strip().splitlines()[-1] if isinstance(error, RayError) else " ".join(str(error).split())
        sys.stderr.write(f"codereason: {cause}\ncodereason: the same command goes on from the last checkpoint\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("codereason: stopped; run the same command again to go on from the last checkpoint\n")
        sys.exit(130)


def _carry_out(config: Path, overrides: list[str] | None, runs: Path, as_json: bool, until: str | None) -> None:
    settings = load(config, overrides or [])
    stay_on_loopback(settings)
    from cluster.run import carry_out

    console = Console(stderr=as_json)
    with interruptible():
        run = carry_out(settings, runs, console, until)
    report = None
    if until is None:
        from cluster.report import write_report
        from cluster.tables import terminal_table

        report = write_report(run.path)
    if as_json:
        typer.echo(run.summary.read_text() if until is None else json.dumps({"run": str(run.path), "stage": until}))
    elif report is not None:
        console.print(terminal_table(json.loads(run.summary.read_text())))
        console.print(f"model   {run.trained_model}\nreport  {report}")


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
    from cluster.dry_run import show_dry_run
    from cluster.placement import require
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
        Path | None, typer.Option("--predictions", help="Score stored answers instead: rows {id, responses: [..]}.")
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
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the answers; in the model's run else.")] = None,
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


@app.command()
def study(
    config: ConfigFile,
    overrides: Overrides = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Seeds, separated by commas.")] = "1,2,3",
    runs: Runs = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """The same run with several seeds, and its figures over all of them. Resumes where it stopped."""
    settings = load(config, overrides or [])
    stay_on_loopback(settings)
    from cluster.report import write_report
    from cluster.study import carry_out_study
    from cluster.tables import terminal_table

    try:
        chosen = [int(seed) for seed in seeds.split(",")]
    except ValueError:
        raise BadInput(f"--seeds {seeds}: must be whole numbers separated by commas") from None
    if len(set(chosen)) != len(chosen):
        raise BadInput(f"--seeds {seeds}: the same seed twice")
    console = Console(stderr=as_json)
    with interruptible():
        folder = carry_out_study(settings, chosen, runs, console)
    report = write_report(folder)
    summary = json.loads((folder / "summary.json").read_text())
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        console.print(terminal_table(summary))
        console.print(f"report  {report}")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a run or a study: runs/NAME.")],
    curve: Annotated[Path | None, typer.Option("--curve", help="Also write RL's rewards as a picture (SVG).")] = None,
    tables: Annotated[Path | None, typer.Option("--tables", help="Also write the figures as Markdown.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write report.html anew."""
    from cluster.report import reward_curve_svg, write_report
    from cluster.runs import write_whole
    from cluster.tables import markdown_tables

    if not (folder / "config.yaml").exists() and not list(folder.glob("seed-*/config.yaml")):
        raise BadInput(f"{folder}: no run and no study there (config.yaml is missing)")
    for target in (curve, tables):
        if target is not None and not target.resolve().parent.is_dir():
            raise BadInput(f"{target}: no such folder")
    if tables is not None:
        if not (folder / "summary.json").exists():
            raise BadInput(f"{folder}: not finished (summary.json is missing), so it has no figures yet")
        write_whole(tables, markdown_tables(json.loads((folder / "summary.json").read_text())))
    if curve is not None:
        write_whole(curve, reward_curve_svg(folder))
    path = write_report(folder)
    typer.echo(json.dumps({"report": str(path)}) if as_json else str(path))


ProgramFile = Annotated[Path | None, typer.Argument(help="A file of Python.")]
Call = Annotated[str | None, typer.Option("--call", help="Expression to evaluate after the program: f(1, [2]).")]
Rows = Annotated[Path | None, typer.Option("--jsonl", help="Rows {id, code, call} instead of a file; one object a row.")]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.01, max=3600, help="Seconds, of wall clock and of CPU, for one run.")
]
Memory = Annotated[int, typer.Option("--memory", min=16, max=1 << 20, help="MiB for one run.")]
Mode = Annotated[Level | None, typer.Option("--mode", help="Isolation: full, userns or nons; the strongest by default.")]


@app.command()
def anchors(
    file: ProgramFile = None,
    call: Call = None,
    jsonl: Rows = None,
    timeout: Timeout = 2.0,
    memory: Memory = 512,
    mode: Mode = None,
    as_repr: Annotated[bool, typer.Option("--repr", help="States as repr(value), strings quoted; str(value) else.")] = False,
    teacher: Annotated[
        Path | None, typer.Option("--teacher", help="Configuration whose data.teacher places them instead; verified.")
    ] = None,
    runs: Runs = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Show a program with its print anchors, its states and its output."""
    from cluster.programs import show_anchors

    if teacher is not None:
        if as_repr:
            raise BadInput("--repr: a teacher's anchors show str(value)")
        _teacher_anchors(_sources(file, call, jsonl), load(teacher, []), runs, timeout, memory, mode, as_json)
        return

    def show(shown: dict[str, Any]) -> None:
        states, found = "\n".join(shown["states"]), shown["exception"] or shown["output"]
        whole = f"{shown['code'].rstrip()}\n\n{states}\n\n{shown['verdict']}: {found}"
        # A state may hold half a character, which no terminal takes.
        typer.echo(whole.encode(errors="backslashreplace").decode())

    examine = partial(show_anchors, state_text="repr" if as_repr else "str")
    _each_program(_sources(file, call, jsonl), examine, None if as_json or jsonl else show, timeout, memory, mode)


def _teacher_anchors(
    sources: "list[Source]",
    settings: RunSettings,
    runs: Path,
    timeout: float,
    memory: int,
    mode: Level | None,
    as_json: bool,
) -> None:
    """Show what a teacher's anchors come to, a program after the other and in sum."""
    from cluster.data.teacher.anchors import summary_of, teacher_anchors, told
    from cluster.programs import open_sandbox
    from reward.sandbox import Limits

    with open_sandbox(Limits(wall_s=timeout, cpu_s=timeout, memory_mib=memory), mode) as opened:
        rows = teacher_anchors(sources, settings, runs / settings.name / "anchors", opened)
    summary = summary_of(rows)
    for row in rows:
        typer.echo(json.dumps(row) if as_json else told(row))
    typer.echo(json.dumps(summary) if as_json else told(summary))


@app.command()
def sandbox(
    file: ProgramFile = None,
    call: Call = None,
    jsonl: Rows = None,
    timeout: Timeout = 2.0,
    memory: Memory = 512,
    mode: Mode = None,
    as_json: AsJson = False,
) -> None:
    """Run a program isolated and say what became of it."""
    from cluster.programs import run_isolated

    def show(result: dict[str, Any]) -> None:
        typer.echo(result["stdout"], nl=False)
        found = result["exception"] or result["value"]
        typer.echo(f"{result['verdict']}: {found}  ({result['seconds']:.3f} s, level {result['level']})")
        for layer, why in result["missing_layers"].items():
            typer.echo(f"does not hold here: {layer}: {why}", err=True)

    _each_program(_sources(file, call, jsonl), run_isolated, None if as_json or jsonl else show, timeout, memory, mode)


def _each_program(
    sources: "list[Source]",
    examine: "Callable[[Sandbox, Source], dict[str, Any]]",
    show: Callable[[dict[str, Any]], None] | None,
    timeout: float,
    memory: int,
    mode: Level | None,
) -> None:
    """Examine programs in one sandbox and show each result, as a line of JSON where there is no `show`."""
    from cluster.programs import open_sandbox
    from reward.sandbox import Limits

    with open_sandbox(Limits(wall_s=timeout, cpu_s=timeout, memory_mib=memory), mode) as opened:
        for source in sources:
            result = examine(opened, source)
            if show is None:
                typer.echo(json.dumps(result))
            else:
                show(result)


@app.command()
def score(
    rows: Annotated[Path, typer.Argument(help="JSONL of {task, code, input, output, response}.")],
    out: Annotated[Path, typer.Option("--out", help="Where the scored rows go.")],
    timeout: Timeout = 2.0,
    memory: Memory = 512,
    mode: Mode = None,
    as_json: AsJson = False,
) -> None:
    """Score responses against what execution says."""
    from cluster.programs import open_sandbox, score_file
    from reward.sandbox import Limits

    with open_sandbox(Limits(wall_s=timeout, cpu_s=timeout, memory_mib=memory), mode) as opened:
        counts = score_file(opened, rows, out)
    summary = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    typer.echo(json.dumps({"out": str(out), "verdicts": counts}) if as_json else f"{out}: {summary or 'no rows'}")


def _sources(file: Path | None, call: str | None, jsonl: Path | None) -> "list[Source]":
    from cluster.programs import read_source, read_sources

    if file is not None and jsonl is None:
        return [read_source(file, call)]
    if jsonl is not None and file is None:
        return read_sources(jsonl)
    raise BadInput("give either a file of Python or --jsonl FILE")


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
    except typer.Abort:
        sys.exit(130)
