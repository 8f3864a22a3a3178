"""The data stage: programs in, executed problems out, one Parquet file a split.

Every program is instrumented and run twice in the sandbox, as it is and with its anchors; both must agree, or the row is
set aside with its reason. Held-out programs come first and from a seed of their own, and no other split may hold one.
"""

import ast
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

from datasets import Dataset, disable_progress_bars, load_dataset

from cluster.config import BadInput, RunSettings, SplitSettings
from cluster.runs import RunFolder, write_jsonl, write_whole
from cluster.user_rows import read_rows, text
from reward.sandbox import Sandbox, SandboxUnavailable
from reward.settings import RewardSettings, sandbox_limits
from reward.tracing import Trace, agrees_with, trace
from rl.anchors import ProgramError, instrument
from rl.answers import UnreadableAnswer, literal, same
from rl.problems import Problem, Task
from rl.seeds import derived_seed
from rl.synthesis.chains import chain
from rl.synthesis.generator import Grammar, generate
from rl.verdicts import Verdict

disable_progress_bars()

SPLITS = ("heldout", "validation", "sft", "rl")
"""In the order they are drawn: the held-out programs are known before any other."""

MAX_STATES = 10
"""Problems with longer traces are dropped (StepCodeReasoner 3.2)."""

_CHUNK = 64
"""Candidates that one sandbox executes, at most, before their results are looked at."""

_ENOUGH_TRIES = 20
"""A split is given up when so many times its size were tried: the grammar is too small for it."""

Advance = Callable[[int], None]
"""Told how many problems more are done."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A program before it was executed."""

    id: str
    code: str
    call: str
    output: str | None
    """What its source says the call returns, if it says so."""
    source: str


class Rejected(Exception):
    """A candidate that is no problem: a reason, the same for all of its kind, and perhaps what is special about it."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


def build(settings: RunSettings, run: RunFolder, advance: Advance) -> None:
    """Make every split and leave it under the run's `data/`, with what was set aside and a count of why.

    Raises:
        BadInput: a file cannot be read, or a split cannot be filled.
    """
    taken: set[str] = set()
    funnel: dict[str, dict[str, int]] = {}
    rejected: list[dict[str, str]] = []
    with ExitStack() as opened:
        sandboxes = [opened.enter_context(_sandbox(settings.reward)) for _ in range(os.cpu_count() or 1)]
        for name in SPLITS:
            split: SplitSettings = getattr(settings.data, name)
            seed = settings.data.heldout_seed if name == "heldout" else settings.seed
            problems, reasons = _fill(split, _candidates(name, split, seed), taken, sandboxes, rejected, advance)
            if len(problems) < split.problems and split.file is None:
                raise BadInput(
                    f"data.{name}.grammar: gave only {len(problems)} of {split.problems} different problems "
                    f"({json.dumps(reasons)}); widen the grammar or ask for fewer"
                )
            if not problems:
                raise BadInput(f"{split.file}: no row is a problem that can be used ({json.dumps(reasons)})")
            write_split(run.split(name), [replace(problem, decoupled=settings.data.decoupled) for problem in problems])
            funnel[name] = {"kept": len(problems), **reasons}
    write_jsonl(run.path / "data" / "rejected.jsonl", rejected)
    write_whole(run.path / "data" / "funnel.json", json.dumps(funnel, indent=2))


def _sandbox(settings: RewardSettings) -> Sandbox:
    try:
        return Sandbox(sandbox_limits(settings), settings.mode, settings.packages)
    except SandboxUnavailable as error:
        raise BadInput(f"reward.mode: {error}") from None


def write_split(path: Path, problems: list[Problem]) -> None:
    """Write problems as Parquet, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    rows = [{**asdict(problem), "task": str(problem.task), "tags": json.dumps(problem.tags)} for problem in problems]
    Dataset.from_list(rows).to_parquet(str(unfinished))
    unfinished.replace(path)


def read_split(path: Path) -> list[Problem]:
    """Read what `write_split` wrote."""
    rows = load_dataset("parquet", data_files=str(path), split="train")
    return [Problem(**{**row, "task": Task(row["task"]), "tags": json.loads(row["tags"])}) for row in rows]


def _fill(
    split: SplitSettings,
    candidates: Iterator[Candidate],
    taken: set[str],
    sandboxes: Sequence[Sandbox],
    rejected: list[dict[str, str]],
    advance: Advance,
) -> tuple[list[Problem], dict[str, int]]:
    """Problems of a split, and how many candidates were set aside for which reason."""
    problems: list[Problem] = []
    reasons: Counter[str] = Counter()
    tries = split.problems * _ENOUGH_TRIES if split.file is None else None
    outcomes = _made(islice(candidates, tries), split, sandboxes)
    for candidate, outcome in outcomes:
        fingerprint = "" if isinstance(outcome, Rejected) else program_fingerprint(candidate.code)
        if fingerprint in taken:
            outcome = Rejected("program already in a split")
        if isinstance(outcome, Rejected):
            reasons[outcome.reason] += 1
            rejected.append({**asdict(candidate), "output": candidate.output or "", "reason": str(outcome)})
            continue
        taken.add(fingerprint)
        problems.append(outcome)
        advance(1)
        if len(problems) == split.problems:
            break
    return problems, dict(reasons)


def _made(
    candidates: Iterator[Candidate], split: SplitSettings, sandboxes: Sequence[Sandbox]
) -> Iterator[tuple[Candidate, Problem | Rejected]]:
    """Each candidate with what became of it, in order; as many are executed at a time as there are sandboxes."""

    def make(sandbox: Sandbox, share: list[Candidate]) -> list[Problem | Rejected]:
        outcomes: list[Problem | Rejected] = []
        for candidate in share:
            try:
                outcomes.append(make_problem(candidate, split, sandbox))
            except Rejected as reason:
                outcomes.append(reason)
        return outcomes

    with ThreadPoolExecutor(len(sandboxes)) as threads:
        while chunk := list(islice(candidates, min(_CHUNK * len(sandboxes), split.problems))):
            shares = [chunk[begin :: len(sandboxes)] for begin in range(len(sandboxes))]
            found = list(threads.map(make, sandboxes, shares))
            for index, candidate in enumerate(chunk):
                yield candidate, found[index % len(sandboxes)][index // len(sandboxes)]


def program_fingerprint(code: str) -> str:
    """Equal for programs that differ in layout and comments alone."""
    return ast.dump(ast.parse(code))


def make_problem(candidate: Candidate, split: SplitSettings, sandbox: Sandbox) -> Problem:
    """Execute a candidate and make it a problem.

    Raises:
        Rejected: it does not run to a value, its anchors change it, its trace is too long, or its source is wrong about
            its output.
    """
    try:
        instrumented = instrument(candidate.code, candidate.call)
    except ProgramError as error:
        raise Rejected("not a program", str(error)) from None
    traced = trace(sandbox, instrumented)
    if traced.verdict is not Verdict.OK or traced.output is None:
        raise Rejected(f"execution: {traced.verdict}")
    if not agrees_with(sandbox, candidate.code, candidate.call, traced):
        raise Rejected("anchors change the program")
    if candidate.output is not None and not same_value_text(candidate.output, traced.output):
        raise Rejected("recorded output is not what the call returns")
    if not 1 <= len(traced.states) <= MAX_STATES:
        raise Rejected(f"trace length {'0' if not traced.states else f'over {MAX_STATES}'}")
    if any(" at 0x" in text for text in (*traced.states, traced.output)):
        raise Rejected("a value shows its address")
    if any("\ud800" <= character <= "\udfff" for text in traced.states for character in text):
        raise Rejected("a value has no text in UTF-8")
    text = _chain(candidate, traced) if split.chains else ""
    return Problem(
        id=candidate.id,
        code=candidate.code,
        call=candidate.call,
        instrumented=instrumented.code,
        states=list(traced.states),
        output=traced.output,
        task=split.task,
        chain=text,
        source=candidate.source,
        tags={"anchors": str(len(traced.states))},
    )


def _chain(candidate: Candidate, traced: Trace) -> str:
    try:
        return chain(candidate.code, candidate.call, traced.states, traced.output or "")
    except ValueError as error:
        raise Rejected("no chain", str(error)) from None


def same_value_text(recorded: str, output: str) -> bool:
    """Whether a recorded output, in whatever spacing, quotes and order of a set, is the value that `output` shows."""
    try:
        return same(literal(recorded), literal(output))
    except UnreadableAnswer:
        return recorded.strip() == output


def _candidates(name: str, split: SplitSettings, seed: int) -> Iterator[Candidate]:
    if split.file is not None:
        yield from read_programs(split.file)
        return
    grammar = Grammar(**split.grammar.model_dump())
    index = 0
    while True:
        code, call = generate(derived_seed(seed, name), index, grammar)
        yield Candidate(f"{name}-{index}", code, call, None, "generator")
        index += 1


def read_programs(path: Path) -> list[Candidate]:
    """Rows of a CRUXEval-shaped JSONL file.

    Raises:
        BadInput: the file or a row is not that; the message names the row.
    """
    candidates: dict[str, Candidate] = {}
    for number, row in read_rows(path):
        code, arguments, output = (text(path, number, row, field) for field in ("code", "input", "output"))
        name = str(row.get("id", f"{path.stem}-{number}"))
        if name in candidates:
            raise BadInput(f"{path}:{number}: id {name} is another row's already")
        candidates[name] = Candidate(name, code, f"{row.get('entry', 'f')}({arguments})", output, path.stem)
    return list(candidates.values())
