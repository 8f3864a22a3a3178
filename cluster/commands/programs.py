"""`codereason anchors`, `sandbox` and `score`: for one's own programs and responses."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.commands.json_output import kept_for_json
from cluster.commands.options import AsJson, Packages, Runs, named_packages
from cluster.config import BadInput, RunSettings, load
from reward.sandbox import Level

if TYPE_CHECKING:
    from cluster.commands.program_files import Source
    from reward.sandbox import Sandbox

ProgramFile = Annotated[Path | None, typer.Argument(help="A file of Python.")]
Call = Annotated[str | None, typer.Option("--call", help="Expression to evaluate after the program: f(1, [2]).")]
Rows = Annotated[Path | None, typer.Option("--jsonl", help="Rows {id, code, call} instead of a file; one object a row.")]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.01, max=3600, help="Seconds, of wall clock and of CPU, for one run.")
]
Memory = Annotated[int, typer.Option("--memory", min=16, max=1 << 20, help="MiB for one run.")]
Mode = Annotated[Level | None, typer.Option("--mode", help="Isolation: full, userns or nons; the strongest by default.")]


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
    from cluster.commands.program_files import show_anchors

    if teacher is not None:
        if as_repr:
            raise BadInput("--repr: a teacher's anchors show str(value)")
        _teacher_anchors(_sources(file, call, jsonl), load(teacher, []), runs, timeout, memory, mode, as_json)
        return

    def show(shown: dict[str, Any]) -> None:
        states, found = "\n".join(shown["states"]), shown["exception"] or shown["output"]
        whole = f"{shown['code'].rstrip()}\n\n{states}\n\n{shown['verdict']}: {found}"
        whole += f"\n{shown['reason']}" if shown["reason"] else ""
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
    from cluster.commands.program_files import open_sandbox
    from cluster.data.teacher.anchors import summary_of, teacher_anchors, told
    from reward.sandbox import Limits

    limits = Limits(wall_s=timeout, cpu_s=timeout, memory_mib=memory)
    with kept_for_json(as_json), open_sandbox(limits, mode) as opened:
        rows = teacher_anchors(sources, settings, runs / settings.name / "anchors", opened)
    summary = summary_of(rows)
    for row in rows:
        typer.echo(json.dumps(row) if as_json else told(row))
    typer.echo(json.dumps(summary) if as_json else told(summary))


def sandbox(
    file: ProgramFile = None,
    call: Call = None,
    jsonl: Rows = None,
    stdin: Annotated[Path | None, typer.Option("--stdin", help="A file that the program reads as its input.")] = None,
    files: Annotated[
        list[str] | None, typer.Option("--file", help="NAME=PATH: a file beside the program; as often as needed.")
    ] = None,
    packages: Packages = "",
    timeout: Timeout = 2.0,
    memory: Memory = 512,
    mode: Mode = None,
    as_json: AsJson = False,
) -> None:
    """Run a program isolated and say what became of it."""
    from cluster.commands.program_files import read_files, run_isolated
    from cluster.user_rows import read_text

    def show(result: dict[str, Any]) -> None:
        found = result["exception"] or result["value"]
        told = f"{result['stdout']}{result['verdict']}: {found}  ({result['seconds']:.3f} s, level {result['level']})"
        typer.echo(told.encode(errors="backslashreplace").decode())
        for layer, why in result["missing_layers"].items():
            typer.echo(f"does not hold here: {layer}: {why}", err=True)
        for why in result["refusals"]:
            typer.echo(f"not to be had here: {why}", err=True)

    sources, brought = _sources(file, call, jsonl), read_files(files or [])
    examine = partial(run_isolated, stdin="" if stdin is None else read_text(stdin), files=brought)
    shown = None if as_json or jsonl else show
    _each_program(sources, examine, shown, timeout, memory, mode, named_packages(packages))


def _each_program(
    sources: "list[Source]",
    examine: "Callable[[Sandbox, Source], dict[str, Any]]",
    show: Callable[[dict[str, Any]], None] | None,
    timeout: float,
    memory: int,
    mode: Level | None,
    packages: Sequence[str] = (),
) -> None:
    """Examine programs in one sandbox and show each result, as a line of JSON where there is no `show`."""
    from cluster.commands.program_files import open_sandbox
    from reward.sandbox import Limits

    with open_sandbox(Limits(wall_s=timeout, cpu_s=timeout, memory_mib=memory), mode, packages) as opened:
        for source in sources:
            result = examine(opened, source)
            if show is None:
                typer.echo(json.dumps(result))
            else:
                show(result)


def score(
    rows: Annotated[Path, typer.Argument(help="JSONL of {task, code, input, output, response}.")],
    out: Annotated[Path, typer.Option("--out", help="Where the scored rows go.")],
    timeout: Timeout = 2.0,
    memory: Memory = 512,
    mode: Mode = None,
    as_json: AsJson = False,
) -> None:
    """Score responses against what execution says."""
    from cluster.commands.program_files import open_sandbox, score_file
    from reward.sandbox import Limits

    with open_sandbox(Limits(wall_s=timeout, cpu_s=timeout, memory_mib=memory), mode) as opened:
        counts = score_file(opened, rows, out)
    summary = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    typer.echo(json.dumps({"out": str(out), "verdicts": counts}) if as_json else f"{out}: {summary or 'no rows'}")


def _sources(file: Path | None, call: str | None, jsonl: Path | None) -> "list[Source]":
    from cluster.commands.program_files import read_source, read_sources

    if file is not None and jsonl is None:
        return [read_source(file, call)]
    if jsonl is not None and file is None:
        return read_sources(jsonl)
    raise BadInput("give either a file of Python or --jsonl FILE")
