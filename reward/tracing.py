"""Ground truth by execution: the states at every anchor of an instrumented program, and what its call gives.

An instrumented program is what a model is shown. Here its anchors are not printed but intercepted, so that a state is
exact even where a value's text has line breaks, and the program's own output is kept apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from reward.programs import Execution, Limits, Program
from rl.answers import same_value_text
from rl.verdicts import Verdict

if TYPE_CHECKING:
    from rl.anchors import Instrumented


class Runner(Protocol):
    """Runs programs in isolation: a sandbox, or several."""

    def run(self, program: Program, limits: Limits | None = None) -> Execution:
        """One run; see `reward.sandbox.Sandbox.run`."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What an instrumented program does when its call is evaluated."""

    verdict: Verdict
    output: str | None
    """`repr` of the call's value."""
    type_name: str | None
    exception: str | None
    """`TypeName: message`."""
    states: tuple[str, ...]
    """`NAME: value`, one for every anchor that was executed, in order of execution."""
    stdout: str
    """What the program prints itself."""
    arguments: str | None = None
    """`repr` of the call's arguments after it, by place and by name, where that was asked for; see `Program`."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One thing the anchors changed. It is false, so that `if agree(...)` reads as it should."""

    what: str
    """verdict, output, type_name, exception, stdout or arguments."""
    original: str | None
    instrumented: str | None

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return f"{self.what}: {self.original!r} without anchors, {self.instrumented!r} with them"


def trace(sandbox: Runner, instrumented: Instrumented, limits: Limits | None = None, *, arguments: bool = False) -> Trace:
    """Executes an instrumented program and records its states, and if asked its arguments as they are after the call.

    Raises:
        ValueError: an anchor's line holds no anchor.
    """
    return trace_of(sandbox.run(traced_program(instrumented, arguments=arguments), limits), arguments)


def traced_program(instrumented: Instrumented, *, arguments: bool = False) -> Program:
    """What to run for an instrumented program's trace."""
    lines = tuple(anchor.line for anchor in instrumented.anchors)
    return Program(instrumented.code, instrumented.call, lines, keep_arguments=arguments)


def agree(sandbox: Runner, code: str, instrumented: Instrumented, limits: Limits | None = None) -> bool | Disagreement:
    """Whether the anchors leave the program as it was: True, or the first thing they changed, which is false.

    Raises:
        ValueError: an anchor's line holds no anchor.
    """
    return agrees_with(sandbox, code, instrumented.call, trace(sandbox, instrumented, limits, arguments=True), limits)


def agrees_with(
    sandbox: Runner, code: str, call: str | None, traced: Trace, limits: Limits | None = None
) -> bool | Disagreement:
    """Whether a program does what its instrumented form was seen to do: True, or the first difference, which is false.

    They are compared by verdict, value, type, exception, own output and, where the trace has them, arguments. A run that
    ended in `sandbox_error` says nothing about the program and disagrees with everything.
    """
    found = difference(bare_trace(sandbox, code, call, limits, arguments=traced.arguments is not None), traced)
    return True if found is None else found


def bare_trace(
    sandbox: Runner, code: str, call: str | None, limits: Limits | None = None, *, arguments: bool = False
) -> Trace:
    """Executes a program as it is; there are no states."""
    return trace_of(sandbox.run(Program(code, call, keep_arguments=arguments), limits), arguments)


def difference(original: Trace, instrumented: Trace) -> Disagreement | None:
    """The first thing in which two runs of a program, its states aside, differ; None if there is none.

    A run that ended in `sandbox_error` says nothing about the program and differs from everything.
    """
    for what in ("verdict", "output", "type_name", "exception", "stdout"):
        before, after = getattr(original, what), getattr(instrumented, what)
        if before != after or before is Verdict.SANDBOX_ERROR:
            return Disagreement(what, before, after)
    if not _same_arguments(original.arguments, instrumented.arguments):
        return Disagreement("arguments", original.arguments, instrumented.arguments)
    return None


def _same_arguments(left: str | None, right: str | None) -> bool:
    """Whether two texts of arguments show the same: in whatever order sets are gone through, wherever objects lie."""
    if left is None or right is None or left == right:
        return left == right
    return same_value_text(left, right) or _ADDRESS.sub("", left) == _ADDRESS.sub("", right)


_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def trace_of(execution: Execution, arguments: bool) -> Trace:
    """What a run tells of its program; `arguments` says whether they were kept."""
    states, kept = execution.states, None
    if arguments and execution.verdict in (Verdict.OK, Verdict.EXCEPTION) and states:
        *others, kept = states
        states = tuple(others)
    return Trace(
        verdict=execution.verdict,
        output=execution.value,
        type_name=execution.type_name,
        exception=execution.exception,
        states=states,
        stdout=execution.stdout,
        arguments=kept,
    )
