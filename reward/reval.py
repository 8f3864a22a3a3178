"""REval inside the sandbox: what its runs do, line by line, and whether its answers hold."""

import ast
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reward.programs import Limits, Program
from reward.tracing import Runner
from rl.answers import UnreadableAnswer, literal, same
from rl.benchmarks.reval import RevalProbe, RevalRun
from rl.benchmarks.reval_state import StateAnswer, filled_gaps, with_gaps_filled
from rl.verdicts import Verdict

LIMITS = Limits(wall_s=60.0, cpu_s=60.0, memory_mib=2048, output_bytes=1 << 24)
"""Officially 120 s and no other bound; values of all states together may take 16 MiB."""

_TRACER, _ANSWERS = (
    (Path(__file__).parent / name).read_text(encoding="utf-8") for name in ("reval_tracer.py", "reval_answers.py")
)


class RunNotTraced(RuntimeError):
    """A run of the benchmark did not end well, so that nothing is known about its probes; says which and why."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What execution says about one probe."""

    ran: bool
    following: frozenset[int]
    """Lines that ran next, counted from 1; -1 for none."""
    values: tuple[tuple[str, str], ...] | None
    """Type and `repr` of the values after the line, in order; None where the variable has none (`Nil`)."""


def observe(sandbox: Runner, run: RevalRun, *, official: bool, limits: Limits = LIMITS) -> list[Observation]:
    """Traces one run and says what it shows of each of its probes.

    Args:
        sandbox: runs it.
        run: what is run and asked.
        official: as REval's own tracer sees it, or frame by frame; see `reward.reval_tracer`.
        limits: of the run.

    Raises:
        RunNotTraced: the run ended in any other way than by returning.
    """
    probes = [(probe.line, probe.variable) for probe in run.probes]
    execution = sandbox.run(Program(_TRACER, f"report{(*_program(run), probes, official)!r}"), limits)
    if execution.verdict is not Verdict.OK or execution.value is None:
        raise RunNotTraced(f"{run.id}: {execution.exception or execution.verdict}")
    rows: Sequence[tuple[bool, list[int], list[list[str]] | None]] = json.loads(ast.literal_eval(execution.value))
    return [
        Observation(ran, frozenset(following), None if values is None else tuple((kind, text) for kind, text in values))
        for ran, following, values in rows
    ]


def state_is_right(
    sandbox: Runner, run: RevalRun, probe: RevalProbe, answer: StateAnswer | None, limits: Limits = LIMITS
) -> bool:
    """Whether a state answer is right by the official rules: evaluated in the sandbox, next to the values of the run.

    Raises:
        RunNotTraced: the machinery failed.
    """
    if answer is None:
        return False
    watched = (*_program(run), [(probe.line, probe.variable)], True)
    seen = f"observe{watched!r}[0][0][2]"
    if answer.is_nil:
        return _holds(sandbox, run, f"{seen} is None", limits)
    value = _iso_moment(answer.value or "") if answer.kind == "datetime.datetime" else answer.value
    return value is not None and _holds(sandbox, run, f"state_answer_holds({value!r}, {answer.kind!r}, {seen})", limits)


def output_is_right(sandbox: Runner, run: RevalRun, completed: str | None, limits: Limits = LIMITS) -> bool:
    """Whether a completed test passes by the official rules: it raises nothing.

    Args:
        sandbox: runs it.
        run: what the test is about.
        completed: what `rl.benchmarks.reval.completed_test` returns; None fails without being run.
        limits: of the run.

    Raises:
        RunNotTraced: the machinery failed.
    """
    if completed is None:
        return False
    return _holds(sandbox, run, f"completed_test_passes{(*_program(run), completed)!r}", limits)


def output_is_exact(sandbox: Runner, run: RevalRun, completed: str, limits: Limits = LIMITS) -> bool:
    """Whether a completed test fills every gap of the given one, and changes nothing else, with a literal that holds.

    A function's value is compared outside the sandbox, with its exact type; a class's test is run with the literals.

    Raises:
        RunNotTraced: the machinery failed, or a function of the benchmark has no value.
    """
    gaps = filled_gaps(completed, run.assertion)
    if gaps is None:
        return False
    if run.program.test:
        return output_is_right(sandbox, run, with_gaps_filled(run.assertion, gaps), limits)
    call = run.assertion.strip().removeprefix("assert ").rpartition("==")[0].strip()
    execution = sandbox.run(Program(run.program.code, call), limits)
    if execution.verdict is not Verdict.OK or execution.value is None:
        raise RunNotTraced(f"{run.id}: {execution.exception or execution.verdict}")
    try:
        return same(literal(gaps[0]), literal(execution.value))
    except UnreadableAnswer:
        return gaps[0] == execution.value


def _program(run: RevalRun) -> tuple[str, str, str, str | int]:
    return run.program.code, run.program.entry_point, run.program.test, run.given


def _holds(sandbox: Runner, run: RevalRun, call: str, limits: Limits) -> bool:
    execution = sandbox.run(Program(f"{_TRACER}\n{_ANSWERS}", call), limits)
    if execution.verdict.is_fault:
        raise RunNotTraced(f"{run.id}: {execution.exception}")
    return execution.verdict is Verdict.OK and execution.value == "True"


def _iso_moment(text: str) -> str | None:
    """A date and time in any writing that dateutil reads, as ISO 8601; None for anything else."""
    from dateutil.parser import parse

    try:
        return str(parse(text).isoformat())
    except (ValueError, OverflowError, TypeError):
        return None
