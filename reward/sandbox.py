"""Runs programs that nobody trusts: `Sandbox().run(Program(...))` says what became of one, whatever it tried.

A sandbox is a zygote process (`reward/zygote/`) that forks one confined child a run, and this side of the conversation
with it. What comes back from a child is taken for what it is, untrusted bytes. No expected value ever goes in.
"""

import json
import math
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from reward import report
from reward.zygote import frames
from reward.zygote.isolation import LEVELS
from reward.zygote.serve import MAX_REQUEST_BYTES, Answer, Request
from rl.verdicts import Verdict

Level = Literal["full", "userns", "nons"]

_START_S = 30.0
_GRACE_S = 5.0
"""How long after the wall-clock limit the zygote may take to answer, on a busy machine."""
_MAX_ANSWER_BYTES = 64 << 20
_ROOM = Path(__file__).parent
_SELF_TEST = _ROOM / "zygote" / "selftest.py"
_ALL_BLOCKED = repr(dict.fromkeys(("write a file", "open a socket", "fork", "exec", "signal", "read"), "BLOCKED"))
_BOOT = "import sys; sys.path.append(sys.argv[1]); from zygote.serve import main; main()"


class SandboxUnavailable(Exception):
    """The isolation asked for cannot be had here; the message says which layer is missing and what to do."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use up."""

    wall_s: float = 2.0
    cpu_s: float = 1.0
    memory_mib: int = 512
    """Beyond what the interpreter itself takes."""
    output_bytes: int = 65536
    """For stdout (bytes), for the value's repr and for all states together (characters)."""

    def __post_init__(self) -> None:
        """Refuses limits that are not positive, finite numbers.

        Raises:
            ValueError: naming the limit.
        """
        for field in fields(self):
            bound = getattr(self, field.name)
            if not (bound > 0 and math.isfinite(bound)):
                raise ValueError(f"{field.name}: {bound} is no limit, a positive number is")


@dataclass(frozen=True, slots=True)
class Program:
    """Something to run."""

    code: str
    call: str | None = None
    """One expression, evaluated after the code, whose value is wanted."""
    anchor_lines: tuple[int, ...] = ()
    """Lines of `code` with a `print(f"NAME: {NAME}")` whose text is recorded as a state instead of printed."""


@dataclass(frozen=True, slots=True)
class Execution:
    """What became of one run."""

    verdict: Verdict
    value: str | None = None
    """`repr` of the call's value."""
    type_name: str | None = None
    exception: str | None = None
    """`TypeName: message`; with `sandbox_error`, what went wrong with the machinery."""
    stdout: str = ""
    """What the program printed itself, up to the limit."""
    states: tuple[str, ...] = ()
    """`NAME: value`, one for every anchor that was reached, in order."""
    seconds: float = 0.0
    """Wall-clock time from the start of the process to its end."""
    level: str = ""


class Sandbox:
    """Runs programs one at a time, each in a process of its own. Not for use by several threads at once.

    `mode` asks for one level of isolation; None takes the best there is (see `reward.zygote.isolation`).
    """

    def __init__(self, limits: Limits = Limits(), mode: Level | None = None) -> None:
        """Starts the zygote and attacks it once (`zygote/selftest.py`).

        Raises:
            SandboxUnavailable: the level, or with None every level, lacks a layer, or an attack got through.
        """
        self._limits = limits
        self._zygote: Zygote | None = None
        refusals: list[str] = []
        for level in LEVELS if mode is None else (mode,):
            try:
                self.level = level
                self._zygote = self._start()
                return
            except SandboxUnavailable as error:
                refusals.append(str(error))
        raise SandboxUnavailable("; ".join(refusals))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the zygote. A closed sandbox starts a new one when it is used again."""
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None

    def run(self, program: Program, limits: Limits | None = None) -> Execution:
        """Runs a program; whatever it does is told by the verdict.

        A fault of the machinery (the zygote died, a layer could not be applied) is tried once more and then told as
        `sandbox_error`.

        Raises:
            ValueError: a line of `anchor_lines` holds no anchor, or the program's text is beyond all measure.
        """
        for _ in range(2):
            try:
                if self._zygote is None:
                    self._zygote = self._start()
                return self._zygote.run(program, limits or self._limits)
            except (ZygoteFault, SandboxUnavailable) as error:
                fault = str(error)
                self.close()
            except BaseException as error:
                if not isinstance(error, ValueError):
                    self.close()  # Interrupted: an answer may be on its way that the next run would take for its own.
                raise
        return Execution(Verdict.SANDBOX_ERROR, exception=fault, level=self.level)

    def _start(self) -> "Zygote":
        zygote = Zygote(self.level)
        try:
            _self_test(zygote)
        except ZygoteFault as error:
            zygote.close()
            raise SandboxUnavailable(f"level {self.level} does not hold here: {error}") from None
        return zygote


def _self_test(zygote: "Zygote") -> None:
    """Attacks the zygote's children.

    Raises:
        ZygoteFault: an attack got through, or did not say that it was blocked.
    """
    program = Program(_SELF_TEST.read_text(encoding="utf-8"), f"attack_all({zygote.pid})")
    execution = zygote.run(program, Limits())
    if execution.value != _ALL_BLOCKED:
        raise ZygoteFault(f"the self-test answered {execution.value or execution.exception or execution.verdict}")


class ZygoteFault(Exception):
    """The zygote died, did not answer, or could not confine a child: nothing the program is to blame for."""


class Zygote:
    """One zygote process and the socket to it."""

    def __init__(self, level: str, without: tuple[str, ...] = ()) -> None:
        """Starts the process.

        `without` leaves layers out, so that a test can show what each of them holds; nothing else may pass it.

        Raises:
            SandboxUnavailable: a layer of the level is missing.
        """
        self.level = level
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-S", "-s", "-P", "-X", "utf8", "-c", _BOOT),
                    *(str(_ROOM), level, str(theirs.fileno()), *without),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",
                env=_environment(),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        try:
            self._connection.settimeout(_START_S)
            hello = json.loads(self._receive())
        except ZygoteFault as error:
            self.close()
            raise SandboxUnavailable(f"level {level} does not start: {error}") from None
        if "missing" in hello:
            self.close()
            raise SandboxUnavailable(str(hello["missing"]))

    @property
    def pid(self) -> int:
        """The zygote's process id."""
        return self._process.pid

    def run(self, program: Program, limits: Limits) -> Execution:
        """One run; see `Sandbox.run`.

        Raises:
            ZygoteFault: the machinery failed.
            ValueError: an anchor line without an anchor, or a text beyond all measure.
        """
        request: Request = {
            "code": program.code,
            "call": program.call,
            "anchor_lines": list(program.anchor_lines),
            "wall_s": limits.wall_s,
            "cpu_s": limits.cpu_s,
            "memory_mib": limits.memory_mib,
            "output_bytes": limits.output_bytes,
        }
        payload = json.dumps(request).encode()
        if len(payload) > MAX_REQUEST_BYTES:
            raise ValueError(f"code: the program takes {len(payload)} bytes, {MAX_REQUEST_BYTES} can be run")
        self._connection.settimeout(limits.wall_s + _GRACE_S)
        try:
            self._connection.sendall(frames.pack(payload))
        except OSError as error:
            raise ZygoteFault(f"the zygote does not listen: {error}") from None
        answer: Answer = json.loads(self._receive())
        return _execution(answer, self._receive(), self._receive(), limits, self.level)

    def _receive(self) -> bytes:
        try:
            return frames.receive(self._connection, _MAX_ANSWER_BYTES)
        except TimeoutError:
            raise ZygoteFault("the zygote does not answer") from None
        except (frames.BrokenFrame, OSError) as error:
            raise ZygoteFault(f"the zygote is gone: {error}") from None

    def close(self) -> None:
        """Ends the process; it kills its child, if it has one, on its way."""
        self._connection.close()
        try:
            self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _environment() -> dict[str, str]:
    """What the zygote's environment holds: nothing a program's result could depend on but what is fixed here."""
    kept = ("LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE")
    fixed = {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    return fixed | {name: os.environ[name] for name in kept if name in os.environ}


def _execution(answer: Answer, stdout: bytes, told: bytes, limits: Limits, level: str) -> Execution:
    """Reads the zygote's answer; `told` comes from the child.

    Its first bytes were written before the program ran: I, the layers hold; then A, an anchor is missing, or P, the
    program starts.

    Raises:
        ZygoteFault: the child was never confined.
        ValueError: an anchor line without an anchor.
    """
    how, seconds = answer["how"], answer["seconds"]
    if not told.startswith(b"I"):
        raise ZygoteFault(f"a child could not be confined: {told[1:].decode(errors='replace') or how}")
    if told.startswith(b"IA"):
        raise ValueError(f"anchor_lines: {told[2:].decode(errors='replace')}")
    printed = stdout.decode(errors="replace")
    if how == "exit" and answer["number"] == 0:
        found = report.read(told[1:].removeprefix(b"P"), limits.output_bytes)
        if found is not None:
            return Execution(
                found.verdict,
                value=found.value,
                type_name=found.type_name,
                exception=found.exception,
                stdout=printed,
                states=found.states,
                seconds=seconds,
                level=level,
            )
    return Execution(_ENDINGS[how], stdout=printed, seconds=seconds, level=level)


_ENDINGS = {
    "exit": Verdict.NO_RESULT,
    "signal": Verdict.CRASHED,
    "timeout": Verdict.TIMEOUT,
    "output": Verdict.OUTPUT_LIMIT,
    "memory": Verdict.MEMORY,
}
"""What the zygote saw, where the child said nothing that can be read."""
