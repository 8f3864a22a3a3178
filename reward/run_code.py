"""The shape of SandboxFusion's `/run_code`: a request as a program with its limits, and what became of it as a response.

Names and meanings are those of bytedance/SandboxFusion (`sandbox/server/sandbox_api.py`, `sandbox/runners/types.py`).
"""

import base64
import re
from pathlib import PurePosixPath
from typing import Literal

from pydantic import BaseModel, Field

from reward.programs import Execution, Limits, Program
from rl.verdicts import Verdict

LANGUAGES = ("python",)

_EXIT_STATUS = re.compile(r"SystemExit(?:: (?P<status>None|True|False|-?[0-9]{1,18}))?")


class RunCodeRequest(BaseModel):
    """What a client asks for; fields that are not named here are ignored."""

    code: str
    language: str
    stdin: str | None = None
    compile_timeout: float = Field(10.0, ge=0, allow_inf_nan=False)
    """Seconds; nothing is compiled here, so it bounds nothing."""
    run_timeout: float = Field(10.0, gt=0, allow_inf_nan=False)
    """Seconds of wall clock."""
    memory_limit_MB: int = -1
    """MiB; what is not positive leaves it to the server."""
    files: dict[str, str | None] = {}
    """Contents in base64, by path; null is no file."""
    fetch_files: list[str] = []


class CommandRunResult(BaseModel):
    """How the program ended."""

    status: Literal["Finished", "Error", "TimeLimitExceeded"]
    execution_time: float | None = None
    """Seconds of wall clock."""
    return_code: int | None = None
    stdout: str | None = None
    stderr: str | None = None


class RunCodeResponse(BaseModel):
    """`SandboxError` says something about the machinery and nothing about the program."""

    status: Literal["Success", "Failed", "SandboxError"]
    message: str = ""
    compile_result: CommandRunResult | None = None
    run_result: CommandRunResult | None = None
    executor_pod_name: str | None = None
    files: dict[str, str] = {}


def program(request: RunCodeRequest) -> Program:
    """The program a request is about.

    Raises:
        ValueError: a file is not base64.
    """
    files = {}
    for name, content in request.files.items():
        if content is not None:
            try:
                files[str(PurePosixPath(name))] = base64.b64decode("".join(content.split()), validate=True)
            except ValueError as error:
                raise ValueError(f"files: {name!r:.300} is not base64: {error}") from None
    # An interpreter takes the mark at the beginning of a file for what it is.
    return Program(request.code.removeprefix("\ufeff"), stdin=request.stdin or "", files=files, keep_stderr=True)


def limits(request: RunCodeRequest, most: Limits) -> Limits:
    """What a request asks for, and no more than `most`."""
    wall_s = min(request.run_timeout, most.wall_s)
    memory_mib = min(request.memory_limit_MB, most.memory_mib) if request.memory_limit_MB > 0 else most.memory_mib
    return Limits(wall_s, min(wall_s, most.cpu_s), memory_mib, most.output_bytes)


def response(request: RunCodeRequest, files: Program, allowed: Limits, execution: Execution) -> RunCodeResponse:
    """What became of a request's program, run with the limits `allowed`."""
    if execution.verdict.is_fault:
        return fault(execution.exception or "the sandbox failed")
    return_code, said = _ending(request, allowed, execution)
    result = CommandRunResult(
        status="TimeLimitExceeded" if execution.verdict is Verdict.TIMEOUT else "Finished",
        execution_time=execution.seconds,
        return_code=return_code,
        stdout=execution.stdout,
        stderr=_sendable(execution.stderr + said),
    )
    # A program cannot change its files, so what it was given is what is there afterwards.
    there = {name: files.files.get(str(PurePosixPath(name))) for name in request.fetch_files}
    fetched = {name: base64.b64encode(content).decode() for name, content in there.items() if content is not None}
    return RunCodeResponse(status="Success" if return_code == 0 else "Failed", run_result=result, files=fetched)


def fault(message: str) -> RunCodeResponse:
    """The machinery failed: nothing is known of the program."""
    message = _sendable(message)
    return RunCodeResponse(
        status="SandboxError", message=message, run_result=CommandRunResult(status="Error", stderr=message)
    )


def _ending(request: RunCodeRequest, allowed: Limits, execution: Execution) -> tuple[int | None, str]:
    """Return code (none where time ran out) and what ends stderr. What the sandbox stopped, or cannot vouch for, has 1."""
    match execution.verdict:
        case Verdict.OK:
            return 0, ""
        case Verdict.EXCEPTION:
            return _raised(execution.exception or "")
        case Verdict.TIMEOUT:
            cut = ", the most this server allows" if request.run_timeout > allowed.wall_s else ""
            return None, f"TimeLimitExceeded: {allowed.wall_s:g} s{cut}\n"
        case Verdict.MEMORY:
            cut = ", the most this server allows" if request.memory_limit_MB > allowed.memory_mib else ""
            return 1, f"MemoryError: the limit is {allowed.memory_mib} MiB{cut}\n"
        case Verdict.OUTPUT_LIMIT:
            return 1, f"OutputLimitExceeded: ended after {allowed.output_bytes} bytes of output\n"
        case Verdict.CRASHED:
            return 1, "Crashed: the process was ended by a signal\n"
        case _:
            return 1, "NoResult: the process ended before the program did\n"


def _raised(exception: str) -> tuple[int, str]:
    """Return code and last line of stderr of an interpreter that ends with `exception`, its traceback's last line."""
    ended = _EXIT_STATUS.fullmatch(exception)
    if ended is None:
        return 1, exception.removeprefix("SystemExit: ") + "\n"
    match ended["status"]:
        case None | "None" | "False":
            return 0, ""
        case "True":
            return 1, ""
        case number:
            return int(number) & 0xFF, ""


def _sendable(text: str) -> str:
    """The text without lone surrogates, which no JSON in UTF-8 holds."""
    return text.encode(errors="backslashreplace").decode()
