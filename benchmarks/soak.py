"""What many runs leave behind: honest programs and hostile ones mixed, and everything counted before and after.

Only what can be ours is counted, since others work on the machine as well: processes that descend from this one or belong to
a zygote's session, this process's descriptors and mounts, control groups in its name, and files in the system's temporary
folder and its shared memory that bear the sandbox's name or a user's that no account has.
"""

import ast
import gc
import itertools
import os
import pwd
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.sandbox import program
from reward.control_groups import places
from reward.programs import Limits, Program
from reward.sandbox import Level
from reward.slots import Slots
from rl.verdicts import Verdict

_HONEST = Limits(wall_s=20, cpu_s=10)
_SHORT = Limits(wall_s=0.15, cpu_s=0.05, memory_mib=64)
_ROOMY = Limits(wall_s=20, cpu_s=10, memory_mib=64)
_HOSTILE_EVERY = 20
_KILL_EVERY = 500
"""Runs after which a zygote is killed, most often in the middle of what it does."""
_STAGES = 10
_GROWTH_MIB = {"parent": 8.0, "zygotes": 2.0}
"""What may be added to a process's memory after the first tenth of the runs before it is called a leak."""
_GROWTH_BLOCKS = 2000
"""The same for blocks of memory that the parent's objects take: in a soak of 100,000 one for every 45 runs."""
_SETTLE_S = 2.0
_STARTED = 15
"""Where the start time is among the fields of `/proc/PID/stat` that follow the session; see proc(5)."""
_MIB = 1 << 20

_HOSTILE = (
    (Program("while True: pass"), _SHORT, (Verdict.TIMEOUT,)),
    (Program("import time; time.sleep(60)"), _SHORT, (Verdict.TIMEOUT,)),
    (Program("a = []\nwhile True: a.append(bytearray(1 << 20))"), _ROOMY, (Verdict.MEMORY,)),
    (Program("a = bytearray(1 << 40)"), _ROOMY, (Verdict.MEMORY,)),
    (Program("import ctypes; ctypes.string_at(0)"), _ROOMY, (Verdict.CRASHED,)),
    (Program("while True: print('x' * 1000)"), _ROOMY, (Verdict.OUTPUT_LIMIT,)),
    (Program("import os\nwhile True: os.write(3, b'x' * 4096)"), _ROOMY, (Verdict.OUTPUT_LIMIT,)),
    (Program("import os; os.write(3, b'forged'); os._exit(0)"), _ROOMY, (Verdict.NO_RESULT,)),
    (Program("import os\nwhile True: os.fork()"), _ROOMY, (Verdict.EXCEPTION,)),
    (Program("import socket, sys\nsocket.socketpair()"), _ROOMY, (Verdict.EXCEPTION,)),
    (Program("def f(): f()\nf()"), _ROOMY, (Verdict.EXCEPTION,)),
    (Program("import os\nfor n in range(60): os.dup(1)"), _ROOMY, (Verdict.OK, Verdict.EXCEPTION)),
    (Program("open('a/b.txt').read()", "1", stdin="x" * 9000, files={"a/b.txt": b"y" * 9000}), _ROOMY, (Verdict.OK,)),
)
"""Programs, their limits, and the verdicts that are right for them. The last is honest, with all that a run can bring."""


@dataclass(frozen=True, slots=True)
class Census:
    """What there is of ours on the machine."""

    processes: tuple[str, ...]
    descriptors: tuple[str, ...]
    """What each of this process's descriptors leads to, without the numbers that differ each time."""
    control_groups: tuple[str, ...]
    mounts: tuple[str, ...]
    temporary_files: tuple[str, ...]
    shared_memory: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """What is held after so many runs, in the middle of things."""

    runs: int
    parent_mib: float
    """Resident memory of this process, what its allocators keep for later included."""
    parent_blocks: int
    """Blocks of memory that this process's objects take: where these stay as many, nothing is left by a run."""
    zygotes_mib: tuple[float, ...]
    descriptors: int
    zygote_descriptors: int
    """Of all zygotes together."""


def measure(rows: Sequence[dict[str, str]], *, runs: int, slots: int, mode: Level | None = None) -> dict[str, Any]:
    """Run the mixture and count.

    Args:
        rows: rows with `code`, `input` and `output`, a literal; one in twenty runs is of a hostile program instead, and
            after every five hundred the youngest zygote is killed.
        runs: how many runs, at least as many as there are steps at which memory is told.
        slots: how many at a time.
        mode: level of isolation; None takes the best.

    Returns:
        The counts; `leaks` names what was left behind or kept growing, `unexpected` the first runs that went otherwise
        than they should.
    """
    with Slots(slots, _HONEST, mode) as pool:
        _run(pool, rows, range(10 * len(_HOSTILE)), slots, set())  # What is loaded only once is loaded now.
    before = census()
    began = time.perf_counter()
    verdicts: Counter[str] = Counter()
    unexpected: list[str] = []
    samples = []
    sessions: set[int] = set()
    with Slots(slots, _HONEST, mode) as pool:
        for stage in range(_STAGES):
            done = range(runs * stage // _STAGES, runs * (stage + 1) // _STAGES)
            seen, wrong = _run(pool, rows, done, slots, sessions)
            verdicts += seen
            unexpected += wrong
            for _ in range(slots):
                pool.run(Program(""))  # The slots take turns, so one whose zygote was killed has a new one now.
            sessions.update(_zygotes())
            samples.append(_sample(done.stop))
        level, restarts = pool.level, pool.restarts
    seconds = time.perf_counter() - began
    after = _settled(before, sessions)
    kills = len(range(_KILL_EVERY, runs, _KILL_EVERY))
    if restarts != kills:
        unexpected.append(f"{restarts} zygotes had to be replaced, {kills} were killed")
    return {
        "level": level,
        "runs": runs,
        "at_a_time": slots,
        "seconds": seconds,
        "runs_per_s": runs / seconds,
        "verdicts": dict(verdicts),
        "kills": kills,
        "restarts": restarts,
        "unexpected": unexpected[:10],
        "before": {name: len(found) for name, found in asdict(before).items()},
        "after": {name: len(found) for name, found in asdict(after).items()},
        "steps": [asdict(sample) for sample in samples],
        "leaks": leaks(before, after, samples),
    }


def _run(
    pool: Slots, rows: Sequence[dict[str, str]], indices: range, slots: int, sessions: set[int]
) -> tuple[Counter[str], list[str]]:
    """Runs what belongs to each index; the verdicts, and what went otherwise than it should.

    The zygotes that are killed on the way are added to `sessions`.
    """

    def share(indices: range) -> tuple[Counter[str], list[str]]:
        verdicts: Counter[str] = Counter()
        wrong = []
        for index in indices:
            if index and index % _KILL_EVERY == 0:
                youngest = _zygotes()[-1]
                sessions.add(youngest)
                os.kill(youngest, signal.SIGKILL)
            asked, limits, right, value = _job(rows, index)
            execution = pool.run(asked, limits)
            verdicts[execution.verdict] += 1
            if execution.verdict not in right or value not in (None, execution.value):
                wrong.append(
                    f"run {index}: {execution.verdict} {execution.value or execution.exception} of {asked.code!r:.80}"
                )
        return verdicts, wrong

    verdicts: Counter[str] = Counter()
    unexpected = []
    with ThreadPoolExecutor(slots) as threads:
        for seen, wrong in threads.map(share, [indices[place::slots] for place in range(slots)]):
            verdicts += seen
            unexpected += wrong
    return verdicts, unexpected


def _job(rows: Sequence[dict[str, str]], index: int) -> tuple[Program, Limits, tuple[Verdict, ...], str | None]:
    """The program of a run, its limits, the verdicts that are right, and the value that is."""
    if index % _HOSTILE_EVERY == _HOSTILE_EVERY - 1:
        return *_HOSTILE[index // _HOSTILE_EVERY % len(_HOSTILE)], None
    row = rows[index % len(rows)]
    return program(row), _HONEST, (Verdict.OK,), repr(ast.literal_eval(row["output"]))


def leaks(before: Census, after: Census, samples: Sequence[Sample]) -> list[str]:
    """What is there now and was not before, and what kept growing: a line each."""
    found = []
    for name, now in asdict(after).items():
        more = Counter(now) - Counter(getattr(before, name))
        if more:
            found.append(f"{name.replace('_', ' ')}: {more.total()} left, e.g. {next(iter(more))}")
    first, last = samples[0], samples[-1]
    if last.parent_mib - first.parent_mib > _GROWTH_MIB["parent"]:
        found.append(f"memory of the parent: from {first.parent_mib:.1f} to {last.parent_mib:.1f} MiB")
    if last.parent_blocks - first.parent_blocks > _GROWTH_BLOCKS:
        found.append(f"objects of the parent: from {first.parent_blocks} to {last.parent_blocks} blocks of memory")
    for early, late in zip(first.zygotes_mib, last.zygotes_mib, strict=False):
        if late - early > _GROWTH_MIB["zygotes"]:
            found.append(f"memory of a zygote: from {early:.1f} to {late:.1f} MiB")
    for name in ("descriptors", "zygote_descriptors"):
        if getattr(last, name) > getattr(first, name):
            found.append(f"{name.replace('_', ' ')}: {getattr(first, name)} early, {getattr(last, name)} late")
    return found


def census(sessions: Set[int] = frozenset()) -> Census:
    """Counts; `sessions` are those of zygotes, whose processes are ours wherever they ended up."""
    return Census(
        processes=tuple(_processes(sessions)),
        descriptors=tuple(_descriptors()),
        control_groups=tuple(_control_groups()),
        mounts=tuple(Path("/proc/self/mounts").read_text().splitlines()),
        temporary_files=tuple(_files(Path(tempfile.gettempdir()))),
        shared_memory=tuple(_files(Path("/dev/shm"))),
    )


def _settled(before: Census, sessions: Set[int]) -> Census:
    """The count when nothing is left, or a little later than all that ends by itself has ended."""
    deadline = time.monotonic() + _SETTLE_S
    while True:
        after = census(sessions)
        if after == before or time.monotonic() > deadline:
            return after
        time.sleep(0.05)


def _sample(runs: int) -> Sample:
    zygotes = _zygotes()
    gc.collect()
    return Sample(
        runs=runs,
        parent_mib=_resident_mib(os.getpid()),
        parent_blocks=sys.getallocatedblocks(),
        zygotes_mib=tuple(_resident_mib(pid) for pid in zygotes),
        descriptors=len(os.listdir("/proc/self/fd")),
        zygote_descriptors=sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in zygotes),
    )


def _resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / _MIB


def _zygotes() -> list[int]:
    """Children of this process that lead a session of their own, the oldest first."""
    table = _table()
    found = [pid for pid, entry in table.items() if entry.parent == os.getpid() and entry.session == pid]
    return sorted(found, key=lambda pid: table[pid].started)


def _processes(sessions: Set[int]) -> Iterator[str]:
    """Processes that descend from this one, or are of one of the sessions; the dead that nobody took away as well."""
    table = _table()
    ours = {os.getpid()}
    while more := {pid for pid, entry in table.items() if entry.parent in ours} - ours:
        ours |= more
    for pid, entry in table.items():
        if pid != os.getpid() and (pid in ours or entry.session in sessions):
            yield entry.name


class _Process(NamedTuple):
    name: str
    """With its state."""
    parent: int
    session: int
    started: int
    """Clock ticks since the machine's start."""


def _table() -> dict[int, _Process]:
    """Every process by its id."""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            head, _, tail = Path(f"/proc/{entry}/stat").read_text(errors="replace").rpartition(")")
        except OSError:
            continue  # It has just ended.
        state, parent, _, session, *more = tail.split()
        name = f"{head.partition('(')[2]} ({state})"
        found[int(entry)] = _Process(name, int(parent), int(session), int(more[_STARTED]))
    return found


def _descriptors() -> Iterator[str]:
    for entry in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{entry}").partition(":[")[0]
        except OSError:
            continue  # The one that the list itself was read through.


def _control_groups() -> Iterator[str]:
    found = places(Path("/proc/self/mounts").read_text(), Path("/proc/self/cgroup").read_text())
    return itertools.chain(*(map(str, place.folder.glob(f"codereason-{os.getpid()}-*")) for place in found))


def _files(folder: Path) -> Iterator[str]:
    for entry in folder.iterdir():
        try:
            owner = entry.lstat().st_uid
        except OSError:
            continue  # Somebody else's, just taken away.
        if entry.name.startswith("codereason-box-") or _nobody(owner):
            yield str(entry)


def _nobody(uid: int) -> bool:
    """Whether no account has this number."""
    try:
        return pwd.getpwuid(uid).pw_name == "nobody"
    except KeyError:
        return True
