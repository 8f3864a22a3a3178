"""`codereason bench NAME`: how fast a part is, as JSON with its ratios."""

import ast
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cluster.commands.json_output import kept_for_json, print_measured
from cluster.commands.options import Overrides
from cluster.config import BadInput, load
from cluster.user_rows import as_object, read_lines
from learner.settings import ScratchModel
from reward.sandbox import Level, SandboxUnavailable

app = typer.Typer(help="Measure speed; prints JSON with the ratios.", no_args_is_help=True)

_ROOT = Path(__file__).parents[2]
_CRUXEVAL = _ROOT / "tests" / "data" / "cruxeval.jsonl"
_GRID = _ROOT / "configs" / "data.yaml"
_BENCHMARKS = ", ".join(str(_CRUXEVAL.with_name(name)) for name in ("cruxeval.jsonl", "humaneval.jsonl.gz", "mbpp.jsonl.gz"))
_SMALLER = (
    *(
        f"data.{split}.problems={count}"
        for split, count in (("sft", 1400), ("rl", 1400), ("heldout", 100), ("validation", 100))
    ),
    f"data.filters.benchmarks=[{_BENCHMARKS}]",
)
"""What makes of `_GRID` a build of a minute or less that can be started from anywhere."""
_PROMPT = 384
"""Tokens that a prompt of the demo's problems may have."""


@app.command()
def sandbox(
    programs: Annotated[Path, typer.Option(help="JSONL of {code, input, output}.")] = _CRUXEVAL,
    runs: Annotated[int, typer.Option(min=10, help="Runs that the sandbox is timed over.")] = 4000,
    slots: Annotated[int, typer.Option(min=1, help="Runs at a time, for every way of running them.")] = 4,
    mode: Annotated[Level | None, typer.Option(help="Isolation level; the best there is if not given.")] = None,
    pool: Annotated[bool, typer.Option(help="Whether to measure through Ray Serve as well.")] = True,
) -> None:
    """Isolated runs against CRUXEval's official way and against a fresh Python process each."""
    import benchmarks.sandbox

    rows = _rows(programs)
    with kept_for_json(True):
        with _told(mode):
            found = benchmarks.sandbox.measure(rows, runs=runs, slots=slots, mode=mode)
        if pool:
            import benchmarks.reward_pool

            found |= benchmarks.reward_pool.measure(rows, runs=runs, slots=slots, mode=mode)
    typer.echo(json.dumps(found, indent=2))


@app.command()
def soak(
    programs: Annotated[Path, typer.Option(help="JSONL of {code, input, output}.")] = _CRUXEVAL,
    runs: Annotated[int, typer.Option(min=100, help="Runs; one in twenty is of a hostile program.")] = 100_000,
    slots: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 2,
    mode: Annotated[Level | None, typer.Option(help="Isolation level; the best there is if not given.")] = None,
) -> None:
    """What many runs leave behind; exits with 1 where that is anything, or where a verdict is not the right one."""
    import benchmarks.soak

    rows = _rows(programs)
    for row in rows:
        try:
            ast.literal_eval(row["output"])
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise BadInput(f"{row['place']}: output must be a literal, not {row['output']!r:.80}") from None
    with _told(mode):
        found = benchmarks.soak.measure(rows, runs=runs, slots=slots, mode=mode)
    typer.echo(json.dumps(found, indent=2))
    for trouble in ("leaks", "unexpected"):
        if found[trouble]:
            typer.echo(f"codereason: {trouble}: {'; '.join(found[trouble])}", err=True)
    if found["leaks"] or found["unexpected"]:
        raise typer.Exit(1)


@app.command()
def data(
    config: Annotated[
        Path | None, typer.Argument(help="YAML configuration whose data is built; 3,000 problems of the grid else.")
    ] = None,
    overrides: Overrides = None,
    slots: Annotated[int, typer.Option(min=1, help="Bare runs at a time.")] = 2,
) -> None:
    """Finished, verified problems a second, against bare sandbox runs of the same programs."""
    import benchmarks.data

    settings = load(config or _GRID, [*([] if config else _SMALLER), *(overrides or [])])
    print_measured(benchmarks.data.measure, settings, slots=slots)


@app.command()
def learner(
    sequences: Annotated[int, typer.Option(min=2, help="Sequences in the batch, of mixed lengths.")] = 96,
    rounds: Annotated[int, typer.Option(min=1, help="Timed steps of each way, which take turns.")] = 5,
    token_budget: Annotated[int, typer.Option(min=64, help="Tokens of a micro-batch.")] = 8192,
    layers: Annotated[int, typer.Option(min=1, help="Layers of the model.")] = 4,
    hidden: Annotated[int, typer.Option(min=32, help="Its width.")] = 128,
    vocabulary: Annotated[int, typer.Option(min=300, help="Its vocabulary.")] = 400,
    threads: Annotated[int, typer.Option(min=1, help="Threads.")] = 1,
) -> None:
    """Packed sequences against padded ones, and against a bare DeepSpeed loop over the same packed rows."""
    import benchmarks.learner

    model = ScratchModel(
        layers=layers, hidden=hidden, heads=max(hidden // 32, 1), intermediate=3 * hidden, vocabulary=vocabulary
    )
    print_measured(
        benchmarks.learner.measure,
        model=model,
        sequences=sequences,
        token_budget=token_budget,
        rounds=rounds,
        threads=threads,
    )


@app.command()
def scaling(
    run: Annotated[Path, typer.Argument(help="The folder of a run, whose metrics.jsonl the times are taken from.")],
    loads: Annotated[
        int | None, typer.Option(min=1, help="Rollout replicas that load weights at a time; all of them if not given.")
    ] = None,
) -> None:
    """How a run would go with 1 to 1,000 rollout replicas, simulated with its own times; see docs/scaling.md."""
    import benchmarks.scaling
    from benchmarks.simulation import Cluster
    from cluster.runs import RunFolder

    settings = load(run / "config.yaml", [])
    folder = RunFolder(run)
    replicas = settings.rollout.replicas
    cluster = Cluster(
        replicas=replicas,
        places=-(-settings.rl.groups * (settings.rl.max_staleness + 1) // replicas),
        slots=settings.reward.replicas * settings.reward.slots,
        learners=settings.learner.workers,
        loads=replicas,
        groups=settings.rl.groups,
        ahead=settings.rl.max_staleness,
    )
    try:
        found = benchmarks.scaling.measure(benchmarks.scaling.measured(folder.rows("rl"), cluster), loads)
    except benchmarks.scaling.Unmeasured as error:
        raise BadInput(f"{folder.metrics}: {error}") from None
    typer.echo(json.dumps(found, indent=2))


_Layers = Annotated[int, typer.Option(min=1, help="Layers of the model, which is made from nothing.")]
_Hidden = Annotated[int, typer.Option(min=32, help="Its width.")]
_Vocabulary = Annotated[int, typer.Option(min=300, help="Its vocabulary.")]
_Groups = Annotated[int, typer.Option(min=1, help="Problems in a batch.")]
_GroupSize = Annotated[int, typer.Option(min=2, help="Responses to each.")]
_Tokens = Annotated[int, typer.Option(min=1, help="Tokens of a response.")]
_Steps = Annotated[int, typer.Option(min=4, help="Steps of each kind; the first ones do not count.")]


@app.command()
def controller(
    in_flight: Annotated[
        list[int] | None, typer.Option(min=1, help="Groups in flight, several times if wanted; 10, 100 and 1000 else.")
    ] = None,
    trajectories: Annotated[int, typer.Option(min=1, help="Timed for each of these, at least.")] = 8000,
    group_size: _GroupSize = 8,
) -> None:
    """CPU time of the experience stream for a trajectory, its pools simulated."""
    import benchmarks.controller

    print_measured(
        benchmarks.controller.measure,
        in_flight=in_flight or [10, 100, 1000],
        trajectories=trajectories,
        group_size=group_size,
    )


@app.command()
def rollout(
    prompts: Annotated[int, typer.Option(min=1, help="Prompts asked at once.")] = 16,
    group_size: _GroupSize = 8,
    tokens: _Tokens = 128,
    rounds: Annotated[int, typer.Option(min=1, help="Timed rounds of each way, which take turns.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Threads of either engine.")] = 1,
    layers: _Layers = 6,
    hidden: _Hidden = 256,
    vocabulary: _Vocabulary = 512,
) -> None:
    """Tokens a second through the rollout service against vLLM's offline engine."""
    import benchmarks.rollout

    print_measured(
        benchmarks.rollout.measure,
        model=_model(layers, hidden, vocabulary, tokens),
        prompts=prompts,
        samples=group_size,
        tokens=tokens,
        rounds=rounds,
        threads=threads,
    )


@app.command()
def weights(
    mib: Annotated[int, typer.Option(min=1, help="Size of the model, about, in fp32.")] = 500,
    rounds: Annotated[int, typer.Option(min=1, help="Timed rounds.")] = 5,
) -> None:
    """New weights from the learner's memory into the engine, against a copy of the same bytes."""
    import benchmarks.weights

    print_measured(benchmarks.weights.measure, mib=mib, rounds=rounds)


@app.command()
def step(
    groups: _Groups = 16,
    group_size: _GroupSize = 8,
    tokens: _Tokens = 128,
    steps: _Steps = 8,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the engine, and of the learner.")] = 1,
    layers: _Layers = 6,
    hidden: _Hidden = 256,
    vocabulary: _Vocabulary = 512,
) -> None:
    """A whole step, on-policy and overlapped, against its raw phases."""
    import benchmarks.step

    print_measured(
        benchmarks.step.measure,
        model=_model(layers, hidden, vocabulary, tokens),
        groups=groups,
        group_size=group_size,
        tokens=tokens,
        steps=steps,
        threads=threads,
    )


@app.command()
def trl(
    folder: Annotated[Path, typer.Option("--trl", help="Where TRL is; `make bench-trl` puts it there.")] = _ROOT / ".bench",
    groups: _Groups = 8,
    group_size: _GroupSize = 8,
    tokens: _Tokens = 128,
    steps: _Steps = 8,
    threads: Annotated[int, typer.Option(min=1, help="Threads of TRL, and of our engine and our learner by turns.")] = 2,
    accumulation: Annotated[int, typer.Option(min=1, help="Parts in which TRL goes over a batch.")] = 1,
    layers: _Layers = 6,
    hidden: _Hidden = 256,
    vocabulary: _Vocabulary = 512,
) -> None:
    """A whole step, on-policy, against TRL's GRPO trainer on the same model and prompts."""
    import benchmarks.against_trl

    print_measured(
        benchmarks.against_trl.measure,
        folder=folder,
        model=_model(layers, hidden, vocabulary, tokens),
        groups=groups,
        group_size=group_size,
        tokens=tokens,
        steps=steps,
        threads=threads,
        accumulation=accumulation,
    )


def _model(layers: int, hidden: int, vocabulary: int, tokens: int) -> ScratchModel:
    """An architecture with room for the demo's prompts and responses of so many tokens.

    Raises:
        BadInput: the width cannot be divided into heads.
    """
    if hidden % 32:
        raise BadInput(f"--hidden {hidden}: must be a multiple of 32")
    return ScratchModel(
        layers=layers,
        hidden=hidden,
        heads=hidden // 32,
        intermediate=3 * hidden,
        vocabulary=vocabulary,
        max_length=_PROMPT + tokens,
    )


@contextmanager
def _told(mode: Level | None) -> Iterator[None]:
    """Tells as bad input that the level, or a row, does not do.

    Raises:
        BadInput: in place of what says so.
    """
    from benchmarks.sandbox import Unfit

    try:
        yield
    except SandboxUnavailable as error:
        raise BadInput(f"--mode {mode or 'full'}: {error}") from None
    except Unfit as error:
        raise BadInput(str(error)) from None


def _rows(path: Path) -> list[dict[str, str]]:
    """The programs to run, each with its `place`, `FILE:LINE`.

    Raises:
        BadInput: the file cannot be read or is empty, or a line lacks a field.
    """
    rows = {number: as_object(path, number, line) for number, line in read_lines(path)}
    for number, row in rows.items():
        if not all(isinstance(row.get(field), str) for field in ("code", "input", "output")):
            raise BadInput(f"{path}:{number}: must have code, input and output, each a string")
    if not rows:
        raise BadInput(f"{path}: has no programs")
    return [row | {"place": f"{path}:{number}"} for number, row in rows.items()]
