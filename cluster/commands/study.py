"""`codereason study` and `codereason report`: several seeds or several arms, and what finished folders show."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cluster.commands.ending import interruptible
from cluster.commands.json_output import kept_for_json
from cluster.commands.options import AsJson, ConfigFile, Overrides, Runs
from cluster.config import BadInput, load
from cluster.security import stay_on_loopback


def study(
    config: ConfigFile,
    overrides: Overrides = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Seeds, separated by commas.")] = "1,2,3",
    runs: Runs = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """The same run with several seeds, or a study of several arms, and the figures over all. Resumes where it stopped."""
    from cluster.study.settings import is_study

    chosen = _seeds(seeds)
    console = Console(stderr=as_json)
    if is_study(config):
        _arms(config, overrides or [], chosen, runs, console, as_json)
        return
    settings = load(config, overrides or [])
    stay_on_loopback(settings)
    from cluster.reports.page import write_report
    from cluster.reports.tables import terminal_table
    from cluster.study.seeds import carry_out_study

    with interruptible(), kept_for_json(as_json):
        folder = carry_out_study(settings, chosen, runs, console)
    page = write_report(folder)
    summary = json.loads((folder / "summary.json").read_text())
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        console.print(terminal_table(summary))
        console.print(f"report  {page}")


def _seeds(given: str) -> list[int]:
    try:
        chosen = [int(seed) for seed in given.split(",")]
    except ValueError:
        raise BadInput(f"--seeds {given}: must be whole numbers separated by commas") from None
    if len(set(chosen)) != len(chosen):
        raise BadInput(f"--seeds {given}: the same seed twice")
    return chosen


def _arms(config: Path, overrides: list[str], seeds: list[int], runs: Path, console: Console, as_json: bool) -> None:
    from cluster.study.settings import SFT, load_study

    wanted = load_study(config, overrides)
    stay_on_loopback(wanted.run_settings(SFT, seeds[0]))
    from cluster.study.arms import carry_out_arms
    from cluster.study.document import write_tables
    from cluster.study.figures import FIGURES, TRAINING, write_figures

    folder = (runs / wanted.settings.name).resolve()
    with interruptible(), kept_for_json(as_json):
        carry_out_arms(wanted, seeds, folder, console)
    write_figures(folder)
    found = {"tables": write_tables(folder), "figures": folder / FIGURES, "training": folder / TRAINING}
    if as_json:
        typer.echo(json.dumps({name: str(path) for name, path in found.items()}))
    else:
        for name, path in found.items():
            console.print(f"{name:<9} {path}", soft_wrap=True)


def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a run or a study: runs/NAME.")],
    curve: Annotated[Path | None, typer.Option("--curve", help="Also write RL's rewards as a picture (SVG).")] = None,
    tables: Annotated[Path | None, typer.Option("--tables", help="Also write the figures as Markdown.")] = None,
    document: Annotated[
        Path | None, typer.Option("--document", help="A Markdown file whose places are filled from a study of arms.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write report.html anew; of a study of arms, its tables and pictures."""
    from cluster.reports.page import reward_curve_svg, write_report
    from cluster.reports.tables import markdown_tables
    from cluster.runs import write_whole
    from cluster.study.settings import SETTINGS

    if (folder / SETTINGS).exists():
        if curve is not None or tables is not None:
            raise BadInput(f"{folder}: a study of arms: its tables and pictures go into --document")
        _report_arms(folder, document, as_json)
        return
    if document is not None:
        raise BadInput(f"{folder}: --document goes with a study of arms ({SETTINGS} is missing)")
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


def _report_arms(folder: Path, document: Path | None, as_json: bool) -> None:
    from cluster.study.document import write_document, write_tables
    from cluster.study.figures import write_figures

    if list(folder.glob("seed-*")):  # Else a copy of its figures alone, as beside a document.
        write_figures(folder, None if document is None else document.with_suffix(""))
    if document is None:
        document = write_tables(folder)
    else:
        write_document(folder, document)
    typer.echo(json.dumps({"report": str(document)}) if as_json else str(document))
