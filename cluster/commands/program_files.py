"""Commands on single programs and on files of them: show anchors, run in the sandbox, score responses."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cluster.config import BadInput
from cluster.runs import write_jsonl
from cluster.user_rows import LONGEST, read_rows, read_text, text
from reward.sandbox import Execution, Level, Limits, Program, Sandbox, SandboxUnavailable
from reward.scoring import score_group
from reward.tracing import Trace, bare_trace, difference, trace
from reward.truths import BY_CHANCE
from rl.anchors import Instrumented, ProgramError, StateText, hindrance, instrument
from rl.answers import same_value_text
from rl.inputs import NotAskable, asked_entry
from rl.problems import Problem, Task
from rl.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Source:
    """A program and a call of it, from a file or from a row of one."""

    id: str | None
    code: str
    call: str | None


def open_sandbox(limits: Limits, mode: Level | None, packages: Sequence[str] = ()) -> Sandbox:
    """A sandbox at a level, or at the strongest that works.

    Raises:
        BadInput: the level cannot be had on this host.
    """
    try:
        return Sandbox(limits, mode, packages)
    except SandboxUnavailable as error:
        raise BadInput(f"--mode {mode or 'full'}: {error}") from None


def read_source(path: Path, call: str | None) -> Source:
    """One program from a file of Python.

    Raises:
        BadInput: the file cannot be read.
    """
    code = read_text(path).removeprefix("\ufeff")
    if len(code) > LONGEST:
        raise BadInput(f"{path}: longer than {LONGEST} characters")
    return Source(None, code, call)


def read_sources(path: Path) -> list[Source]:
    """Programs from JSONL rows `{id, code, call}`; `input`, the arguments of a call of `f`, may stand for `call`.

    Raises:
        BadInput: names the first row that is not that.
    """
    return [
        Source(str(row.get("id", number)), text(path, number, row, "code"), _call(path, number, row))
        for number, row in read_rows(path)
    ]


def _call(path: Path, number: int, row: Mapping[str, Any]) -> str | None:
    if row.get("call") is not None:
        return text(path, number, row, "call")
    return f"f({text(path, number, row, 'input')})" if "input" in row else None


def show_anchors(sandbox: Sandbox, source: Source, state_text: StateText = "str") -> dict[str, Any]:
    """A program with its anchors, its states and its output; a row whose program does not parse keeps its text.

    Without anchors, and with the reason, where the program could notice them or does something else with them.

    Raises:
        BadInput: a file, not a row, that does not parse, or a call that is none.
    """
    code = source.code.removeprefix("\ufeff")
    try:
        instrumented = instrument(code, source.call, state_text)
    except ProgramError as error:
        if source.id is None:
            raise BadInput(str(error)) from None
        return {
            **({} if source.id is None else {"id": source.id}),
            "code": source.code,
            "anchors": [],
            "states": [],
            "output": None,
            "exception": f"SyntaxError: {error}",
            "stdout": "",
            "verdict": str(Verdict.EXCEPTION),
            "reason": None,
        }
    instrumented, traced, reason = _proven(sandbox, code, instrumented)
    return {
        **({} if source.id is None else {"id": source.id}),
        "code": instrumented.code,
        "anchors": [{"line": anchor.line, "name": anchor.name} for anchor in instrumented.anchors],
        "states": list(traced.states),
        "output": traced.output,
        "exception": traced.exception,
        "stdout": traced.stdout,
        "verdict": str(traced.verdict),
        "reason": reason,
    }


def _proven(sandbox: Sandbox, code: str, instrumented: Instrumented) -> tuple[Instrumented, Trace, str | None]:
    """What is to be shown of a program, its trace, and why it has no anchors or its trace is one of several."""
    traced = trace(sandbox, instrumented, arguments=True)
    if not instrumented.anchors:
        noticed = hindrance(ast.parse(code))
        return instrumented, traced, f"could notice anchors: {noticed}" if noticed else None
    original = traced if traced.verdict in BY_CHANCE else bare_trace(sandbox, code, instrumented.call, arguments=True)
    changed = difference(original, traced)
    if changed is None or original.verdict in BY_CHANCE:
        return instrumented, traced, None
    if difference(bare_trace(sandbox, code, instrumented.call, arguments=True), original) is not None:
        return instrumented, traced, f"not deterministic: {changed.what}"
    return Instrumented(code, instrumented.call, ()), original, f"anchors change the program: {changed.what}"


def read_files(named: Sequence[str]) -> dict[str, bytes]:
    """The files of `NAME=PATH`, by the names that a program finds them under.

    Raises:
        BadInput: one is not that, or cannot be read.
    """
    files = {}
    for option in named:
        name, equals, path = option.partition("=")
        if not (name and equals and path):
            raise BadInput(f"--file {option}: must be NAME=PATH, as data/rows.csv=rows.csv")
        try:
            files[name] = Path(path).read_bytes()
        except OSError as error:
            raise BadInput(f"--file {option}: {error.strerror}") from None
    return files


def run_isolated(
    sandbox: Sandbox, source: Source, stdin: str = "", files: Mapping[str, bytes] = MappingProxyType({})
) -> dict[str, Any]:
    """What became of one program in the sandbox.

    Raises:
        BadInput: a file's name leads out of the program's folder, or it is all too much.
    """
    try:
        execution: Execution = sandbox.run(Program(source.code, source.call, stdin=stdin, files=files))
    except ValueError as error:
        raise BadInput(str(error)) from None
    return {
        **({} if source.id is None else {"id": source.id}),
        "verdict": str(execution.verdict),
        "value": execution.value,
        "exception": execution.exception,
        "stdout": execution.stdout,
        "limit": execution.limit,
        "seconds": execution.seconds,
        "cpu_s": execution.cpu_s,
        "peak_mib": execution.peak_mib,
        "level": execution.level,
        "missing_layers": dict(sandbox.layers.missing),
        "refusals": list(sandbox.layers.refusals),
    }


def score_file(sandbox: Sandbox, path: Path, out: Path) -> dict[str, int]:
    """Score every row `{task, code, input, output, response}` of a file; the result appears whole or not at all.

    Returns:
        How many rows got which verdict.

    Raises:
        BadInput: a row is not that, its program does not run, or it does not return the `output` given; or `out` is no
            place for a file.
    """
    if out.is_dir():
        raise BadInput(f"--out {out}: is a folder, a file is needed")
    scored = []
    counts: dict[str, int] = {}
    for number, row in read_rows(path):
        problem = _problem(sandbox, path, number, row)
        response = text(path, number, row, "response")
        (score,) = score_group(problem, [response], lambda instrumented: trace(sandbox, instrumented))
        counts[str(score.verdict)] = counts.get(str(score.verdict), 0) + 1
        scored.append(
            {
                **row,
                "verdict": str(score.verdict),
                "step_rewards": score.step_rewards,
                "final_reward": None if score.verdict.is_fault else score.final_reward,
                "states": score.states,
            }
        )
    try:
        write_jsonl(out, scored)
    except OSError as error:
        raise BadInput(f"--out {out}: {error.strerror}") from None
    return counts


def _problem(sandbox: Sandbox, path: Path, number: int, row: Mapping[str, Any]) -> Problem:
    task = row.get("task", "output")
    if task not in list(Task):
        raise BadInput(f"{path}:{number}: task must be output or input, not {task!r}")
    code, output = text(path, number, row, "code"), text(path, number, row, "output")
    call = _call(path, number, row)
    if call is None:
        raise BadInput(f"{path}:{number}: input is missing")
    try:
        instrumented = instrument(code, call)
    except ProgramError as error:
        raise BadInput(f"{path}:{number}: code or input: {error}") from None
    if task == Task.INPUT:
        try:
            asked_entry(code, call)
        except NotAskable as error:
            raise BadInput(f"{path}:{number}: task input: {error}") from None
    traced = trace(sandbox, instrumented)
    if not traced.verdict.is_fault and (traced.output is None or not same_value_text(output, traced.output)):
        found = traced.output if traced.output is not None else traced.exception or str(traced.verdict)
        raise BadInput(f"{path}:{number}: output is given as {output:.80} but the call gives {found:.80}")
    return Problem(
        id=str(row.get("id", number)),
        code=code,
        call=call,
        instrumented=instrumented.code,
        states=list(traced.states),
        output=traced.output or output,
        task=Task(task),
    )
