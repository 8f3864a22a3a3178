"""The command `codereason`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cluster.config import BadInput, load

app = typer.Typer(
    name="codereason",
    help="Teach language models to predict what a Python program does.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigFile = Annotated[Path, typer.Argument(help="YAML configuration, for example configs/demo.yaml.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Settings to change: key.path=value.")]
Runs = Annotated[Path, typer.Option("--runs", help="Folder that holds the runs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def _carry_out(config: Path, overrides: list[str] | None, runs: Path, as_json: bool, until: str | None) -> None:
    from cluster.run import carry_out

    settings = load(config, overrides or [])
    console = Console(stderr=as_json)
    run = carry_out(settings, runs, console, until)
    report = None
    if until is None:
        from cluster.report import write_report

        report = write_report(run.path)
    if as_json:
        typer.echo(run.summary.read_text() if until is None else json.dumps({"run": str(run.path), "stage": until}))
    elif report is not None:
        console.print(summary_table(json.loads(run.summary.read_text())))
        console.print(f"model   {run.trained_model}\nreport  {report}")


@app.command()
def run(
    config: ConfigFile, overrides: Overrides = None, runs: Runs = Path("runs"), as_json: AsJson = False
) -> None:
    """The main job: build data, SFT, RL, evaluate, report. Resumes where it stopped."""
    _carry_out(config, overrides, runs, as_json, None)


@app.command()
def data(
    config: ConfigFile, overrides: Overrides = None, runs: Runs = Path("runs"), as_json: AsJson = False
) -> None:
    """Build the data of a run and stop there."""
    _carry_out(config, overrides, runs, as_json, "data")


@app.command()
def sft(
    config: ConfigFile, overrides: Overrides = None, runs: Runs = Path("runs"), as_json: AsJson = False
) -> None:
    """A run up to its supervised model."""
    _carry_out(config, overrides, runs, as_json, "sft")


@app.command()
def train(
    config: ConfigFile, overrides: Overrides = None, runs: Runs = Path("runs"), as_json: AsJson = False
) -> None:
    """A run up to its RL model."""
    _carry_out(config, overrides, runs, as_json, "train")


@app.command("eval")
def evaluate(
    config: ConfigFile, overrides: Overrides = None, runs: Runs = Path("runs"), as_json: AsJson = False
) -> None:
    """A run up to the evaluation of its models."""
    _carry_out(config, overrides, runs, as_json, "eval")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A run's folder: runs/NAME.")], as_json: AsJson = False
) -> None:
    """Write a run's report.html anew."""
    from cluster.report import write_report

    if not (folder / "config.yaml").exists():
        raise BadInput(f"{folder}: no run there (config.yaml is missing)")
    path = write_report(folder)
    typer.echo(json.dumps({"report": str(path)}) if as_json else str(path))


def summary_table(summary: dict) -> Table:
    """A run's figures for the terminal."""
    table = Table(title=f"{summary['name']}: held-out accuracy in %, with 95 % intervals", title_justify="left")
    for column in ("model", "decoding", "final answer", "steps", "whole trace"):
        table.add_column(column)
    for model in [key for key in ("sft", "sft_longer", "terminal", "rl") if key in summary]:
        for decoding, figures in summary[model].items():
            cells = []
            for measure in ("final", "step", "trace"):
                low, high = figures[f"{measure}_accuracy_interval"]
                cells.append(f"{figures[f'{measure}_accuracy']:.1%}  [{low:.1%}, {high:.1%}]".replace("%", ""))
            table.add_row(model, decoding, *cells)
    return table


def main() -> None:
    """Entry point: bad input ends with one line and status 2, Ctrl-C with status 130."""
    try:
        app(standalone_mode=False)
    except BadInput as error:
        sys.stderr.write(f"codereason: {error}\n")
        sys.exit(2)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("codereason: stopped; run the same command again to go on from the last checkpoint\n")
        sys.exit(130)
