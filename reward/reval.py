"""REval inside the sandbox: what its runs do, line by line, and whether its answers hold."""

import ast
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reward.programs import Limits, Program
from reward.tracing import Runner
from rl.benchmarks.reval import RevalRun
from rl.verdicts import Verdict

LIMITS = Limits(wall_s=60.0, cpu_s=60.0, memory_mib=2048, output_bytes=1 << 24)
"""Officially 120 s and no other bound; values of all states together may take 16 MiB."""

_TRACER = (Path(__file__).parent / "reval_tracer.py").read_text(encoding="utf-8")


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
    program = run.program
    probes = [(probe.line, probe.variable) for probe in run.probes]
    arguments = (program.code, program.entry_point, program.test, run.given, probes, official)
    execution = sandbox.run(Program(_TRACER, f"report{arguments!r}"), limits)
    if execution.verdict is not Verdict.OK or execution.value is None:
        raise RunNotTraced(f"{run.id}: {execution.exception or execution.verdict}")
    rows: Sequence[tuple[bool, list[int], list[list[str]] | None]] = json.loads(ast.literal_eval(execution.value))
    return [
        Observation(ran, frozenset(following), None if values is None else tuple((kind, text) for kind, text in values))
        for ran, following, values in rows
    ]
