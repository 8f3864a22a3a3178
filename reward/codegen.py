"""Generated code inside the sandbox: the official checks, and outputs that are compared outside of it."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from reward.official import LIMITS as OFFICIAL_LIMITS
from reward.official import CheckNotRun
from reward.programs import Limits, Program
from reward.tracing import Runner
from rl.answers import UnreadableAnswer
from rl.benchmarks.codegen import CodingProblem, asserted_outputs, output_holds
from rl.verdicts import Verdict

LIMITS = Limits(wall_s=60.0, cpu_s=60.0, memory_mib=4096, output_bytes=1 << 24)
"""For the canonical solution on all inputs; 4 GiB is EvalPlus's own bound. The sandbox itself must allow as much."""

_LEAST_S, _FACTOR = 1.0, 4.0
"""EvalPlus's time limit, there for each input: so many seconds, or so many times what the canonical solution takes."""

_LONG = 20_000
"""Characters beyond which an output is told by its digest: equal or not, without any tolerance."""

_CALLER = f"""

def outputs_of_calls(function, inputs):
    from builtins import Exception, hex, int, len, type  # The program may have given these names to something else.
    from hashlib import sha256
    def text(value):
        huge = type(value) is int and value.bit_length() > 10_000
        shown = hex(value) if huge else f'{{value!r}}'
        if len(shown) <= {_LONG}:
            return shown
        digest = sha256(shown.encode(errors='backslashreplace')).hexdigest()
        return f'<{{len(shown)}} characters with SHA-256 {{digest}}>'
    told = []
    for given in inputs:
        try:
            told.append((True, text(function(*given))))
        except Exception as error:
            told.append((False, type(error).__name__))
    return told
"""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a function returned for each input, as `repr`; None where it raised."""

    values: tuple[str | None, ...]
    seconds: float
    """Wall clock of the whole run."""


def outputs(sandbox: Runner, program: str, problem: CodingProblem, limits: Limits = LIMITS) -> Outputs | None:
    """Calls a program's function on all of the problem's inputs, one after the other in one process.

    Returns:
        None where the process did not come to its end: the program does not load, or took too much time or memory.

    Raises:
        CheckNotRun: the sandbox failed.
    """
    inputs = ", ".join(f"({''.join(f'{_source(value)}, ' for value in given)})" for given in problem.inputs)
    call = f"outputs_of_calls({problem.entry_point}, [{inputs}])"
    execution = sandbox.run(Program(program + _CALLER, call), limits)
    if execution.verdict is Verdict.SANDBOX_ERROR:
        raise CheckNotRun(f"{problem.id}: not run: {execution.exception}")
    if execution.verdict is not Verdict.OK or execution.value is None:
        return None
    told = _told(execution.value, len(problem.inputs))
    return None if told is None else Outputs(told, execution.seconds)


def passes_plus(
    sandbox: Runner, program: str, problem: CodingProblem, expected: Outputs, *, exact: bool, limits: Limits = LIMITS
) -> bool:
    """Whether a program returns what the canonical solution returns, for all inputs.

    Args:
        sandbox: runs it; the expected outputs stay outside.
        program: the solution with its prompt.
        problem: what it solves.
        expected: of the canonical solution, from `outputs`.
        exact: types must agree; see `rl.benchmarks.codegen.output_holds`.
        limits: the most that it may use up. Its time is EvalPlus's, taken over all inputs together.

    Raises:
        CheckNotRun: the sandbox failed.
    """
    seconds = min(limits.wall_s, _LEAST_S + _FACTOR * expected.seconds)
    allowed = Limits(seconds, min(seconds, limits.cpu_s), limits.memory_mib, limits.output_bytes)
    found = outputs(sandbox, program, problem, allowed)
    if found is None:
        return False
    return all(
        (value is None and wanted is None)
        or (value is not None and wanted is not None and output_holds(problem, given, value, wanted, exact=exact))
        for given, value, wanted in zip(problem.inputs, found.values, expected.values, strict=True)
    )


def asserts_values(problem: CodingProblem) -> bool:
    """Whether the base test asserts any value that can be compared outside the sandbox."""
    return bool(asserted_outputs(problem)[1])


def passes_asserted(sandbox: Runner, program: str, problem: CodingProblem, limits: Limits = OFFICIAL_LIMITS) -> bool:
    """Whether a program returns what the base test asserts, compared by `==` outside the sandbox.

    A value that prints as no literal, nor as a dictionary of another class, differs from every literal: an object may call
    itself equal to anything.

    Raises:
        CheckNotRun: the sandbox failed.
        ValueError: the test asserts no value.
    """
    asserted, expected = asserted_outputs(problem)
    if not expected:
        raise ValueError(f"{problem.id}: its test asserts no value")
    found = outputs(sandbox, program, asserted, limits)
    return found is not None and all(
        value is not None and output_holds(asserted, given, value, wanted, exact=False)
        for given, value, wanted in zip(asserted.inputs, found.values, expected, strict=True)
    )


def _told(value: str, count: int) -> tuple[str | None, ...] | None:
    """The child's word, if it is a list of as many outputs as there are inputs."""
    try:
        rows = _pairs(value)
    except UnreadableAnswer:
        return None
    if len(rows) != count:
        return None
    return tuple(text if returned else None for returned, text in rows)


def _pairs(value: str) -> Sequence[tuple[bool, str]]:
    try:
        rows = ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise UnreadableAnswer(f"no list of outputs: {error}") from None
    match rows:
        case list() if all(
            isinstance(row, tuple) and len(row) == 2 and isinstance(row[0], bool) and isinstance(row[1], str) for row in rows
        ):
            return rows
    raise UnreadableAnswer("no list of outputs")


def _source(value: object) -> str:
    """A value as an expression that needs no name, infinities and nan included."""
    if isinstance(value, float):
        return repr(value).replace("inf", "1e999").replace("nan", "(1e999 - 1e999)")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_source(key)}: {_source(item)}" for key, item in value.items()) + "}"
    if isinstance(value, set):
        return "{" + "".join(f"{_source(item)}, " for item in value) + "*()}"
    if isinstance(value, tuple):
        return "(" + "".join(f"{_source(item)}, " for item in value) + ")"
    if isinstance(value, list):
        return "[" + ", ".join(map(_source, value)) + "]"
    return repr(value)
