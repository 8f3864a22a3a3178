"""The layers between a program and the machine, by level.

    full     namespaces as root, a process namespace a run, a uid of its own, Landlock, seccomp, limits
    userns   the same through a user namespace, without a uid of its own; Landlock only where the kernel has it
    nons     no namespaces: Landlock, seccomp, limits; a uid of its own when started as root

`Isolation` is prepared once in the zygote, which enters the namespaces, and applied by every child to itself.
"""

import os
import sys
from collections.abc import Iterable, Iterator

from . import box, kernel, landlock, libraries, namespaces, seccomp

LEVELS = ("full", "userns", "nons")
LAYERS = ("namespaces", "process namespace", "privileges", "limits", "landlock", "seccomp")

_NOBODY = 65534
_OF_EVERY_PROCESS = (
    (kernel.RLIMIT_CORE, 0),
    (kernel.RLIMIT_NOFILE, 64),
    (kernel.RLIMIT_MEMLOCK, 0),
    (kernel.RLIMIT_MSGQUEUE, 0),
    (kernel.RLIMIT_STACK, 8 << 20),
)
"""Limits that the zygote can live with itself, and its children inherit."""
_OF_EVERY_CHILD = ((kernel.RLIMIT_FSIZE, 0), (kernel.RLIMIT_NPROC, 0))
_LEFT_OUT = "left out for a test"
"""Which the self-test does not accept (`reward.layers.LEFT_OUT`)."""
_LANDLOCK_TCP, _LANDLOCK_SIGNALS = 4, 6
"""Versions of Landlock from which on it knows these."""


class LayerMissing(Exception):
    """A layer that the level asked for is made of is not to be had; the message says which and what to do."""


class Isolation:
    """The layers of one level, ready to be applied.

    `without` leaves layers out, so that a test can show what each of them holds; nothing else may pass it.
    """

    def __init__(self, level: str, folder: str, without: Iterable[str] = ()) -> None:
        """Enters the level's namespaces and builds what children share.

        `folder` is where a program's files go where there are no namespaces.

        Raises:
            LayerMissing: a layer cannot be had here.
        """
        self._without = frozenset(without)
        self._level = level
        if level not in LEVELS:
            raise LayerMissing(f"level {level}: there are {', '.join(LEVELS)}")
        as_root = os.geteuid() == 0
        if level == "full" and not as_root:
            raise LayerMissing("level full needs root: start as root, or use level userns or nons")
        if os.uname().machine != seccomp.ARCHITECTURE:
            raise LayerMissing(
                f"no seccomp table for {os.uname().machine}: every level needs one, and there is one for x86_64 only"
            )
        # What a process of this size has mapped already does not count against a program's memory.
        self._mapped_bytes = _mapped_bytes()
        self._uid = _own_uid() if as_root and level != "userns" and "privileges" not in self._without else None
        readable = _library_directories()
        readable += [path for path in libraries.linked() if not path.startswith(tuple(readable))]
        if level != "nons" and "namespaces" not in self._without:
            self._enter_namespaces(readable)
            self.box = box.Box(box.PATH, temporary=False)
        else:
            self.box = box.Box(folder, temporary=True)
        self.missing = self._lacking()
        """What this level or this machine has no part of, each with the reason."""
        rules = self._landlock([*readable, self.box.path])
        with_processes = level != "nons" and "process namespace" not in self._without
        self.namespaces = kernel.CLONE_NEWPID if with_processes else 0
        # What children inherit need not be done by each.
        kernel.prctl("DUMPABLE", kernel.PR_SET_DUMPABLE, 0)
        kernel.prctl("NO_NEW_PRIVS", kernel.PR_SET_NO_NEW_PRIVS, 1)
        if "limits" not in self._without:
            kernel.make([kernel.Bound(what, bound).call for what, bound in _OF_EVERY_PROCESS])
        if self._uid is not None:
            self._leave_groups(self._uid)
        if "seccomp" not in self._without:
            self._refuse_new_code()
        self._memory, self._cpu = kernel.Bound(kernel.RLIMIT_AS), kernel.Bound(kernel.RLIMIT_CPU)
        self.layers = tuple(self._calls(rules))
        """The system calls by which a child applies every layer to itself, in order; `allow` comes before."""

    def _leave_groups(self, uid: int) -> None:
        """Gives up the groups for the new user's own, or the new user where a root without privileges can have none.

        Raises:
            LayerMissing: the level is made of it.
        """
        try:
            # The children's turn is to come; whether it can is seen by going there and back.
            os.setresuid(uid, -1, -1)
            os.setresuid(0, -1, -1)
            os.setgroups([])
            os.setresgid(uid, uid, uid)
        except OSError as error:
            why = f"this root may not change its user and groups ({error.strerror}): give it CAP_SETUID and CAP_SETGID"
            if self._level != "nons":
                raise LayerMissing(f"level {self._level}: {why}, or use level userns or nons") from None
            self._uid = None
            self.missing["own user"] = f"programs run as the user who started the sandbox: {why}"

    def _refuse_new_code(self) -> None:
        """Forbids memory that is both written and executed, where the kernel can."""
        try:
            kernel.prctl("MDWE", kernel.PR_SET_MDWE, 1)
        except OSError as error:
            self.missing["no new code"] = f"{error.strerror}; a kernel from 6.3 on can do it"

    def _enter_namespaces(self, readable: list[str]) -> None:
        try:
            namespaces.enter(user_namespace=self._level == "userns")
            namespaces.replace_root(readable)
        except OSError as error:
            advice = {
                "full": "give the container CAP_SYS_ADMIN, or use level userns or nons",
                "userns": "allow unprivileged user namespaces, or use level nons",
            }[self._level]
            raise LayerMissing(f"level {self._level} has no namespaces here ({error}): {advice}") from None

    def _lacking(self) -> dict[str, str]:
        """Layers that do not hold, with the reason, as far as it is known before they are applied."""
        missing = dict.fromkeys(sorted(self._without), _LEFT_OUT)
        if self._level == "nons":
            missing |= dict.fromkeys(("process namespace", "namespaces"), "level nons has none")
        if "privileges" in self._without:
            missing |= dict.fromkeys(("own user", "no capabilities"), _LEFT_OUT)
        if self._uid is None and (self._level == "userns" or os.geteuid()):
            missing["own user"] = (
                "programs run as the user who started the sandbox: level userns has one user only"
                if self._level == "userns"
                else "programs run as the user who started the sandbox: only root can give them another"
            )
        version = landlock.abi()
        if not version:
            missing["landlock"] = "this kernel has none, or has it switched off"
        if version < _LANDLOCK_TCP:
            missing["landlock TCP"] = f"the kernel's Landlock has version {version}, {_LANDLOCK_TCP} is needed"
        if version < _LANDLOCK_SIGNALS:
            missing["landlock signals"] = f"the kernel's Landlock has version {version}, {_LANDLOCK_SIGNALS} is needed"
        return missing

    def _landlock(self, readable: list[str]) -> int | None:
        """Landlock's rules, where it is to be had."""
        if "landlock" in self._without:
            return None
        if not landlock.abi():
            if self._level == "userns":
                return None
            raise LayerMissing(f"level {self._level} needs Landlock, which this kernel has not: use level userns")
        return landlock.ruleset(readable)

    def allow(self, *, memory_bytes: int, cpu_s: int) -> None:
        """Says, in the zygote, what the next child may use up.

        `memory_bytes` is what the program may map beyond the interpreter itself. `cpu_s` is a backstop: the zygote
        itself keeps the CPU deadline.
        """
        self._memory.set_to(memory_bytes + self._mapped_bytes)
        self._cpu.set_to(cpu_s)

    def _calls(self, rules: int | None) -> Iterator[kernel.Call]:
        if self._uid is not None:
            yield kernel.becoming(self._uid)
        # After the change of uid, which clears it.
        yield kernel.DYING_WITH_PARENT
        if "limits" not in self._without:
            yield self._memory.call
            yield self._cpu.call
            yield from (kernel.Bound(what, bound).call for what, bound in _OF_EVERY_CHILD)
        if rules is not None:
            yield landlock.restricting(rules)
        if self._uid is None and "privileges" not in self._without:
            yield kernel.dropping_capabilities()  # A new uid has none.
        if "seccomp" not in self._without:
            yield seccomp.installing()


def _mapped_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGESIZE")


def _own_uid() -> int:
    """A uid from the top of the range: no account has it, and no other zygote on this machine at the same time."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        inside, _, count = (int(word) for word in file.read().splitlines()[-1].split())
    if count < 100_000:
        return _NOBODY
    top = min(inside + count, 1 << 31) - 1
    return top - os.getpid() % (count // 16)


def _library_directories() -> list[str]:
    """The directories modules are imported from, without those inside another one."""
    found = sorted({os.path.realpath(path) for path in sys.path if os.path.isdir(path)})
    return [path for path in found if not any(path.startswith(other + "/") for other in found)]
