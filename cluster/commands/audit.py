"""`codereason audit RUN`: executes a sample of a run's rewards anew, and names every row that does not agree.

A row is trusted for nothing but its response. The program, its call and the output wanted come from the run's data; the
verdict, the final reward and every step reward come from a fresh sandbox that remembers nothing, which also runs the
problem's own call. Where that cannot execute the row, or the verdict stored is one that a busy machine can cause, nothing is
known of its reward: it is told apart, and neither agrees nor disagrees. So is a masked row that does score now.
"""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.config import BadInput, load
from cluster.user_rows import text
from reward.sandbox import Sandbox, SandboxUnavailable
from reward.scoring import score_group
from reward.settings import RewardSettings, sandbox_limits
from reward.tracing import trace
from reward.truths import BY_CHANCE
from rl.anchors import ProgramError
from rl.answers import same, same_value_text
from rl.verdicts import Verdict

if TYPE_CHECKING:
    from rl.anchors import Instrumented
    from rl.problems import Problem
    from rl.trajectories import Score

_CLAIMS = ("call", "instrumented", "output")
"""What a row repeats of its problem."""

_UNDECIDED = 3
"""Exit status where of some rows, or of all, nothing can be said and all others agree."""
_TRIES = 3
"""How often a row is executed when a busy machine could be why it differs."""


@dataclass(frozen=True, slots=True)
class Row:
    """One scored response as it was written down."""

    path: Path
    line: int
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that does not agree, in the first field that does not."""

    place: str
    """`FILE:LINE`."""
    field: str
    stored: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.place}: {self.field}: {_short(self.stored)} is stored, {_short(self.found)} was found"


@dataclass(frozen=True, slots=True)
class Undecided:
    """A row that neither agrees nor disagrees."""

    place: str
    """`FILE:LINE`."""
    why: str

    def __str__(self) -> str:
        return f"{self.place}: {self.why}"


class Unmasked(Undecided):
    """A row that was masked, and scores now."""


_NOT_EXECUTED = "not executed: the sandbox failed on it, or its problem's own program does not run"


def audit(
    run: Annotated[Path, typer.Argument(help="The folder of a run: runs/NAME.")],
    sample: Annotated[int, typer.Option("--sample", min=1, help="Rows to execute; all if there are fewer.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Draws the sample.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Execute a sample of a run's rewards anew; status 1 and the rows' names if not all agree, 3 if some are undecided."""
    from rich.console import Console

    from cluster.monitoring.progress import counting

    settings = load(run / "config.yaml", []).reward
    total, rows = sampled(run, sample, seed)
    problems = _problems(run)
    masked = 0
    found: list[Difference | Undecided] = []
    with _fresh(settings) as sandbox, counting(Console(stderr=True), "audit", len(rows)) as advance:
        own_output = cache(partial(_own_output, sandbox))
        for row in rows:
            one = difference(row, problems, sandbox, own_output)
            found += [one] if one is not None else []
            masked += _masked(row) and not isinstance(one, Difference)
            advance(1)
    differences = [one for one in found if isinstance(one, Difference)]
    unmasked = [one.place for one in found if isinstance(one, Unmasked)]
    undecided = [one.place for one in found if isinstance(one, Undecided) and not isinstance(one, Unmasked)]
    executed = len(rows) - masked - len(undecided)
    figures = {"run": str(run), "rows": total, "executed": executed, "agree": executed - len(differences), "masked": masked}
    if as_json:
        told = {"differences": [asdict(one) for one in differences], "undecided": undecided, "unmasked": unmasked}
        typer.echo(json.dumps(figures | told))
    else:
        for one in found:
            typer.echo(str(one))
        aside = f", {len(undecided)} that nothing can be said of" if undecided else ""
        typer.echo(
            f"{run}: {figures['agree']} of {executed} rewards agree with a new execution "
            f"(drawn from {total} rows, {masked} masked ones left out{aside})"
        )
    if differences:
        raise typer.Exit(1)
    if undecided or not executed:
        raise typer.Exit(_UNDECIDED)


def sampled(run: Path, sample: int, seed: int) -> tuple[int, list[Row]]:
    """How many rows the run's rollouts have, and a sample of them in the files' order.

    A last line that was cut short by a crash is no row.

    Raises:
        BadInput: there is no row, or a sampled line is not a JSON object.
    """
    files = sorted((run / "rollouts").rglob("*.jsonl"))
    ends = list(accumulate(path.read_bytes().count(b"\n") for path in files))
    if not ends or not ends[-1]:
        raise BadInput(f"{run / 'rollouts'}: no rollouts there; a run has them once RL has begun")
    chosen = sorted(random.Random(seed).sample(range(ends[-1]), min(sample, ends[-1])))
    rows: list[Row] = []
    for path, begin, end in zip(files, [0, *ends], ends, strict=False):
        numbers = [index - begin for index in chosen if begin <= index < end]
        rows.extend(_read(path, numbers))
    return ends[-1], rows


def _read(path: Path, numbers: list[int]) -> Iterator[Row]:
    lines = path.read_bytes().split(b"\n") if numbers else []
    for number in numbers:
        try:
            fields = json.loads(lines[number])
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{path}:{number + 1}: not JSON: {error}") from None
        if not isinstance(fields, dict):
            raise BadInput(f"{path}:{number + 1}: must be a JSON object")
        yield Row(path, number + 1, fields)


def _problems(run: Path) -> "dict[str, Problem]":
    """What the run's rollouts were about: every stage that samples takes its problems from the RL split."""
    from cluster.data.splits import read_split
    from cluster.runs import RunFolder

    path = RunFolder(run).split("rl")
    if not path.exists():
        raise BadInput(f"{path}: not there, so the rollouts have no problems to be held against")
    return {problem.id: problem for problem in read_split(path)}


def _fresh(settings: RewardSettings) -> Sandbox:
    try:
        return Sandbox(sandbox_limits(settings), settings.mode, settings.packages)
    except SandboxUnavailable as error:
        raise BadInput(f"reward.mode: {error}") from None


def _masked(row: Row) -> bool:
    """Whether the machinery failed on the row, so that nothing was learned from it: one that has rewards is no such row."""
    verdict = text(row.path, row.line, row.fields, "verdict")
    if verdict not in list(Verdict):
        raise BadInput(f"{row.path}:{row.line}: verdict must be one of {', '.join(Verdict)}, not {verdict!r}")
    return Verdict(verdict).is_fault and same([row.fields.get("final_reward"), row.fields.get("step_rewards")], [0.0, []])


def difference(
    row: Row, problems: "Mapping[str, Problem]", sandbox: Sandbox, own_output: "Callable[[Instrumented], str | None]"
) -> Difference | Undecided | None:
    """The first thing about a row that does not agree with the run's data or with its execution, if there was one.

    Args:
        row: what was stored.
        problems: the run's data.
        sandbox: executes the row anew.
        own_output: what a problem's own call gives, None where it does not run.

    Raises:
        BadInput: the row has no `problem_id`, `text` or `verdict`, or its problem's program is none.
    """
    place = f"{row.path}:{row.line}"
    name = text(row.path, row.line, row.fields, "problem_id")
    response = text(row.path, row.line, row.fields, "text")
    problem = problems.get(name)
    if problem is None:
        return Difference(place, "problem_id", name, None)
    facts: dict[str, Any] = {claim: getattr(problem, claim) for claim in _CLAIMS}
    try:
        program = problem.program()
    except ProgramError as error:
        raise BadInput(f"the run's data: problem {name}: {error}") from None
    output = own_output(program)
    if output is not None and not same_value_text(problem.output, output):
        facts["output"] = output
    # The end-of-text token behind the response lies outside of every block, so it may stay.
    masked, stored = _masked(row), Verdict(row.fields["verdict"])
    score = _scored(problem, response, stored, sandbox)
    known = not score.verdict.is_fault
    chance = stored in BY_CHANCE and score.verdict is not stored and _earned_nothing(row)
    if known and not masked and not chance:
        facts |= {"verdict": str(score.verdict), "final_reward": score.final_reward, "step_rewards": score.step_rewards}
    for field, found in facts.items():
        if not same(row.fields.get(field), found):
            return Difference(place, field, row.fields.get(field), found)
    if masked:
        return Unmasked(place, f"masked, and scores now: {score.verdict}") if known else None
    if chance and known:
        return Undecided(place, f"{stored} is stored, which a busy machine can cause, and {score.verdict} was found")
    return None if known and output is not None else Undecided(place, _NOT_EXECUTED)


def _own_output(sandbox: Sandbox, program: "Instrumented") -> str | None:
    found = trace(sandbox, program)
    return found.output if found.verdict is Verdict.OK else None


def _earned_nothing(row: Row) -> bool:
    steps = row.fields.get("step_rewards")
    return same(row.fields.get("final_reward"), 0.0) and isinstance(steps, list) and not any(steps)


def _scored(problem: "Problem", response: str, stored: Verdict, sandbox: Sandbox) -> "Score":
    """The response's score; where it differs in a way that a busy machine can cause, it is asked for again."""
    for _ in range(_TRIES):
        (score,) = score_group(problem, [response], partial(trace, sandbox))
        if score.verdict is stored or score.verdict not in BY_CHANCE:
            break
    return score


def _short(value: Any) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= 200 else f"{shown[:200]}.."
