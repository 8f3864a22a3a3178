"""One zygote process and the conversation with it."""

import importlib.util
import marshal
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

from reward.control_groups import ControlGroup
from reward.endings import Pipe, ZygoteFault, execution, executions
from reward.layers import Layers
from reward.programs import Execution, Limits, Program
from reward.zygote import messages
from reward.zygote.interception import MAX_STATES
from reward.zygote.program import MAX_MESSAGE, pack, pack_together

PACKAGES = {"numpy": ("numpy", "numpy.fft", "numpy.linalg", "numpy.ma", "numpy.polynomial", "numpy.random")}
"""Third-party packages that programs may use, each with the modules to load before the doors close."""

_START_S = 30.0
_GRACE_S = 5.0
"""How long after the wall-clock limit the zygote may take to answer, on a busy machine."""
_QUICK_MS = 5
"""Most runs are over by then, and need be looked at only once: the pipes hold what is written meanwhile."""
_NEAR = 0.9
"""From this part of its limit on, a program that was killed from outside is taken to have run out of memory."""
_MOST_ENTRIES = 1000
"""Files and folders of one program. A page each and a request's bytes fit into a sandbox's folder."""
_MOST_NAME_BYTES = 255
_MOST_PATH_BYTES = 3072
"""The kernel takes 4095, of which the way to the program's folder takes some."""
_ROOM = Path(__file__).parent
_PYTHON = (sys.executable, "-S", "-s", "-P", "-X", "utf8", "-c")
_BOOT = "import sys; sys.path.append(sys.argv[1]); from zygote.serve import main; main()"


class SandboxUnavailable(Exception):
    """The isolation asked for cannot be had here; the message says why and what to do."""


class LayerMissing(SandboxUnavailable):
    """This machine does not give a layer that the level is made of; a lower level may do without."""


class Zygote:
    """One zygote process, the socket to it, and the pipes that its children, one after the other, write to."""

    def __init__(
        self,
        level: str,
        packages: Sequence[str] = (),
        without: Sequence[str] = (),
        memory_mib: int = Limits().memory_mib,
        seed: int = 0,
    ) -> None:
        """Starts the process. `memory_mib` is what its group allows; a run's own limit may be lower.

        `seed` is that of hashes and of `random`. `without` leaves layers out, so that a test can show what each of them
        holds; nothing else may pass it.

        Raises:
            LayerMissing: the level cannot be had here.
            SandboxUnavailable: a package is missing.
            ZygoteFault: the process does not start, as where the machine has no descriptor or memory to spare.
        """
        self.level = level
        folders, modules = _located(packages)
        self._held = ExitStack()
        """Ends the process, then puts away what it used, the last first."""
        try:
            box = self._box() if level == "nons" or "namespaces" in without else ""
            self.group = ControlGroup(memory_mib)
            self._held.callback(self.group.remove)
            self._launch([level], [folders, modules, box, *without], _environment(seed))
            missing = self._welcome()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise ZygoteFault(f"no zygote can be started: {error}") from None
            raise
        self._over = select.poll()
        self._over.register(self._connection, select.POLLIN)
        self._anything = select.poll()
        for file in (self._connection, self._stdout, self._report, self._stderr):
            self._anything.register(file, select.POLLIN)
        self.layers = Layers(level, missing | self.group.missing)

    def _box(self) -> str:
        """A folder for the files of programs, where no namespace has one: whatever becomes of the zygote, it goes."""
        path = tempfile.mkdtemp(prefix="codereason-box-")
        self._held.callback(shutil.rmtree, path, ignore_errors=True)  # A zygote that ends in peace removes it itself.
        os.chmod(path, 0o755)
        return path

    def _launch(self, before: Sequence[str], after: Sequence[str], environment: dict[str, str]) -> None:
        """Starts the process; the numbers of its descriptors go between the arguments `before` and `after`."""
        self._connection, theirs = socket.socketpair()
        self._held.callback(self._connection.close)
        with theirs, ExitStack() as given:
            self._stdout, their_stdout = self._pipe(given)
            self._report, their_report = self._pipe(given)
            self._stderr, their_stderr = self._pipe(given)
            passed = (theirs.fileno(), their_report, their_stderr)
            self._process = subprocess.Popen(
                [*_PYTHON, _BOOT, str(_ROOM), *before, *map(str, passed), *after],
                stdin=subprocess.DEVNULL,
                stdout=their_stdout,
                cwd="/",
                env=environment,
                pass_fds=passed,
                start_new_session=True,
            )
        self._held.callback(self._end)
        self.group.take(self._process.pid)

    def _pipe(self, given: ExitStack) -> tuple[int, int]:
        """The ends of a new pipe: the reading one, which is kept, and the writing one, which `given` closes."""
        reader, writer = os.pipe()
        self._held.callback(os.close, reader)
        given.callback(os.close, writer)
        os.set_blocking(reader, False)
        # Where a child can see /proc, nobody opens the reading end there and takes back what the sandbox wrote.
        os.fchmod(reader, 0)
        return reader, writer

    def _welcome(self) -> dict[str, str]:
        """Waits until the zygote is ready: the layers that it lacks.

        Raises:
            LayerMissing: a layer of the level cannot be had.
            SandboxUnavailable: a package cannot be loaded.
            ZygoteFault: it says nothing.
        """
        try:
            self._connection.settimeout(_START_S)
            welcome = messages.receive_frame(self._connection)
        except (messages.Lost, OSError) as error:
            raise ZygoteFault(f"the zygote does not start: {error}") from None
        if welcome.startswith(messages.MISSING):
            raise LayerMissing(welcome.removeprefix(messages.MISSING))
        reached, *lacking = welcome.split("\n")
        if reached != self.level:
            raise SandboxUnavailable(welcome)
        return {name: why for name, _, why in (line.partition(": ") for line in lacking)}

    @property
    def pid(self) -> int:
        """The zygote's process id."""
        return self._process.pid

    def run(self, program: Program, limits: Limits) -> Execution:
        """One run; see `Sandbox.run`.

        Raises:
            ZygoteFault: the machinery failed.
            ValueError: an anchor line without an anchor, a file's name that leads elsewhere, or a text beyond all measure.
        """
        stdin = program.stdin.encode()
        files = marshal.dumps(_checked(program.files)) if program.files else b""
        packed = pack(
            program.code, program.call, program.anchor_lines, limits.output_bytes, bool(stdin), program.keep_arguments
        )
        message = _request(limits, stdin, files, packed, program.keep_stderr)
        status, pipes = self._conversation(message, limits, program.keep_stderr)
        return execution(status, *pipes, limits, program.call is not None, self.level)

    def run_together(self, programs: Sequence[Program], limits: Limits) -> list[Execution | None]:
        """Several in one child; see `Sandbox.run_together`.

        Raises:
            ZygoteFault: the machinery failed.
        """
        asked = [(one.code, one.call, one.anchor_lines, one.keep_arguments) for one in programs]
        message = _request(limits, b"", b"", pack_together(asked, limits.output_bytes), keep_stderr=False)
        status, pipes = self._conversation(message, limits, keep_stderr=False)
        return executions(status, *pipes, limits, [one.call is not None for one in programs], self.level)

    def _conversation(
        self, message: bytes, limits: Limits, keep_stderr: bool
    ) -> tuple[messages.Status, tuple[Pipe, Pipe, Pipe]]:
        """Sends a request; how the child ended, and its output, standard error and report.

        Raises:
            ZygoteFault: the machinery failed.
        """
        # A character is at most twelve bytes of JSON, and the report holds a value, all states and a message.
        report_cap = 12 * (2 * limits.output_bytes + MAX_MESSAGE) + 16 * MAX_STATES
        stdout, told = Pipe(self._stdout, limits.output_bytes), Pipe(self._report, report_cap)
        stderr = Pipe(self._stderr, limits.output_bytes)
        pipes = (stdout, told, stderr) if keep_stderr else (stdout, told)
        self._connection.settimeout(limits.wall_s + _GRACE_S)
        try:
            self._connection.sendall(message)
            if not self._over.poll(_QUICK_MS):
                self._follow(pipes, time.monotonic() + limits.wall_s + _GRACE_S)
            status = messages.receive_status(self._connection)
        except TimeoutError:
            raise ZygoteFault("the zygote does not answer") from None
        except (messages.Lost, OSError) as error:
            raise ZygoteFault(f"the zygote is gone: {error}") from None
        if status.how == messages.MEMORY and not self._ran_out(status, limits):
            raise ZygoteFault("a child was killed from outside")
        # Nobody is left who could write: what is in the pipes now is all there is.
        for pipe in pipes:
            pipe.read_all()
        return status, (stdout, stderr, told)

    def _follow(self, pipes: Sequence[Pipe], deadline: float) -> None:
        """Reads what a longer run writes until it is over, and ends it when that is too much.

        Raises:
            TimeoutError: the deadline passed.
        """
        killed = False
        while True:
            left = deadline - time.monotonic()
            ready = [descriptor for descriptor, _ in self._anything.poll(max(0.0, 1000 * left))]
            if self._connection.fileno() in ready:
                return
            if left <= 0:
                raise TimeoutError
            for pipe in pipes:
                if pipe.descriptor in ready:
                    pipe.read()
            if not killed and any(pipe.overflows for pipe in pipes):
                self._connection.sendall(messages.KILL)
                killed = True

    def _ran_out(self, status: messages.Status, limits: Limits) -> bool:
        """Whether a child that was killed had used up its own memory, and not another process the machine's."""
        return self.group.killed() or status.peak_kib >= _NEAR * 1024 * limits.memory_mib

    def close(self) -> None:
        """Ends the process; it kills its child, if it has one, on its way."""
        self._held.close()

    def _end(self) -> None:
        self._connection.close()
        try:
            self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _located(packages: Sequence[str]) -> tuple[str, str]:
    """Where the packages are, and the modules to load, both as the zygote wants them.

    Raises:
        SandboxUnavailable: a package is not one of those programs may use, or is not installed.
    """
    folders: dict[str, None] = {}
    for package in packages:
        if package not in PACKAGES:
            raise SandboxUnavailable(f"packages: {package} is none of those programs may use: {', '.join(PACKAGES)}")
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise SandboxUnavailable(f"packages: {package} is not installed here")
        folders[str(Path(spec.origin).parents[1])] = None
    return os.pathsep.join(folders), " ".join(module for package in packages for module in PACKAGES[package])


def _environment(seed: int) -> dict[str, str]:
    """What the zygote's environment holds: nothing a program's result could depend on but what is fixed here."""
    kept = ("LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE")
    fixed = {"PYTHONHASHSEED": str(seed), "TZ": "UTC", "LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"}
    # Symbols are looked up once here instead of by every child.
    fixed["LD_BIND_NOW"] = "1"
    # The columns of each instruction, which only a traceback's marks show, are some hundred pages for each fork to copy.
    fixed["PYTHONNODEBUGRANGES"] = "1"
    return fixed | {name: os.environ[name] for name in kept if name in os.environ}


def _request(limits: Limits, stdin: bytes, files: bytes, packed: bytes, keep_stderr: bool) -> bytes:
    size = len(stdin) + len(files) + len(packed)
    if size > messages.MAX_REQUEST_BYTES:
        raise ValueError(f"code: the program takes {size} bytes, {messages.MAX_REQUEST_BYTES} can be run")
    return messages.request((limits.wall_s, limits.cpu_s, limits.memory_mib), stdin, files, packed, keep_stderr)


def _checked(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files by plain relative paths, which can stand side by side in the program's folder.

    Raises:
        ValueError: a name leads out of the folder, is too long, or is a folder's as well; or there are too many.
    """
    for name in files:
        path = PurePosixPath(name)
        if not name or path.is_absolute() or "\0" in name or any(part in ("..", ".") for part in name.split("/")):
            raise ValueError(f"files: {name!r:.300} is no path below the program's folder")
        if any(len(os.fsencode(part)) > _MOST_NAME_BYTES for part in path.parts):
            raise ValueError(f"files: {name!r:.300} is too long, {_MOST_NAME_BYTES} bytes a part can be")
        if len(os.fsencode(name)) > _MOST_PATH_BYTES:
            raise ValueError(f"files: {name!r:.300}.. is too long, {_MOST_PATH_BYTES} bytes a path can be")
    plain = {str(PurePosixPath(name)): bytes(content) for name, content in files.items()}
    folders = {str(folder) for name in plain for folder in PurePosixPath(name).parents[:-1]}
    for name in folders & plain.keys():
        raise ValueError(f"files: {name!r:.300} is a file and a folder")
    if len(folders) + len(plain) > _MOST_ENTRIES:
        raise ValueError(f"files: {len(folders) + len(plain)} files and folders, {_MOST_ENTRIES} can be sent")
    return plain
