"""The system calls Python has no function for, or one in a module that every fork would pay for, through ctypes.

Every failure is an OSError that names the call.
"""

import ctypes
import os
import signal
from collections.abc import Sequence

CLONE_PIDFD = 0x00001000
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

RLIMIT_CPU = 0
RLIMIT_FSIZE = 1
RLIMIT_STACK = 3
RLIMIT_CORE = 4
RLIMIT_NPROC = 6
RLIMIT_NOFILE = 7
RLIMIT_MEMLOCK = 8
RLIMIT_AS = 9
RLIMIT_MSGQUEUE = 12

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38
PR_SET_MDWE = 65

_SYS_POLL = 7
_SYS_DUP2 = 33
_SYS_CLONE = 56
_SYS_WAIT4 = 61
_SYS_SETRESUID = 117
_SYS_CAPSET = 126
_SYS_PIVOT_ROOT = 155
_SYS_PRCTL = 157
_SYS_SETRLIMIT = 160
_SYS_CLOSE_RANGE = 436
_CAPABILITY_VERSION_3 = 0x20080522
_POLLIN = 1

_libc = ctypes.CDLL(None, use_errno=True)
# A fork must not let go of the interpreter lock on its way, and PyDLL keeps it.
_libc_locked = ctypes.PyDLL(None, use_errno=True)
# Made once: looking a function up costs more than calling it.
_syscall = _libc.syscall
_syscall_locked = _libc_locked.syscall
_prctl = _libc_locked.prctl


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(what: str, number: int, *arguments: object) -> int:
    """Calls system call `number`; integers are passed as C longs, everything else as ctypes has it."""
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    return _checked(_syscall(ctypes.c_long(number), *words), what)


Call = tuple[str, tuple[object, ...]]
"""A system call made ready: its name for an error's message, its number and arguments."""


def prepared(what: str, number: int, *arguments: object) -> Call:
    """A system call for `make`: what every child does is made ready once, since that costs more than the call."""
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    return what, (ctypes.c_long(number), *words)


def make(calls: Sequence[Call]) -> None:
    """Makes prepared system calls, one after the other."""
    for what, call in calls:
        if _syscall_locked(*call) < 0:
            _checked(-1, what)


def copying(source: int, target: int) -> Call:
    """The call that makes file descriptor `target` a copy of `source`."""
    return prepared(f"dup2 {source}", _SYS_DUP2, source, target)


def closing_from(first: int) -> Call:
    """The call that closes every file descriptor from `first` on."""
    return prepared("close_range", _SYS_CLOSE_RANGE, first, 0xFFFFFFFF, 0)


def becoming(uid: int) -> Call:
    """The call that makes the real, the effective and the saved user `uid`."""
    return prepared("setresuid", _SYS_SETRESUID, uid, uid, uid)


def dropping_capabilities() -> Call:
    """The call that gives up every capability for good."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    return prepared("capset", _SYS_CAPSET, header, (ctypes.c_uint32 * 6)())


class Bound:
    """The call that bounds resource `what` (`RLIMIT_*`) for good, by what `set_to` said last."""

    def __init__(self, what: int, bound: int | None = None) -> None:
        """The bound can be set until the call is made; it is 0 before."""
        self._bounds = (ctypes.c_ulong * 2)(bound or 0, bound or 0)
        name = next(name for name, number in globals().items() if name.startswith("RLIMIT_") and number == what)
        doing = f"setrlimit {name}" if bound is None else f"setrlimit {name} to {bound}"
        self.call = prepared(f"{doing}, perhaps above the limit that was inherited", _SYS_SETRLIMIT, what, self._bounds)

    def set_to(self, bound: int) -> None:
        """Changes it."""
        if self._bounds[0] != bound:
            self._bounds[:] = [bound, bound]


def prctl(what: str, option: int, value: int) -> None:
    """`prctl(option, value, 0, 0, 0)`."""
    zero = ctypes.c_ulong(0)
    _checked(_prctl(option, ctypes.c_ulong(value), zero, zero, zero), f"prctl {what}")


DYING_WITH_PARENT = prepared("prctl PDEATHSIG", _SYS_PRCTL, PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
"""After this call the process is killed when its parent ends."""


def name_host(name: str) -> None:
    """Gives this host-name namespace its name."""
    encoded = name.encode()
    _checked(_libc.sethostname(encoded, ctypes.c_size_t(len(encoded))), "sethostname")


def unshare(flags: int) -> None:
    """Moves this process into new namespaces."""
    _checked(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """`mount(2)`."""
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    _checked(_libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]), f"mount {target}")


def detach(target: str) -> None:
    """Unmounts `target` with everything below it."""
    mnt_detach = 2
    _checked(_libc.umount2(os.fsencode(target), mnt_detach), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """Makes `new` the root directory and moves the one there was to `old`."""
    syscall("pivot_root", _SYS_PIVOT_ROOT, ctypes.c_char_p(os.fsencode(new)), ctypes.c_char_p(os.fsencode(old)))


class _Watched(ctypes.Structure):
    """The kernel's `struct pollfd`."""

    _fields_ = [("descriptor", ctypes.c_int), ("events", ctypes.c_short), ("found", ctypes.c_short)]


class Fork:
    """Forks, again and again, into new `namespaces` (`CLONE_NEW*` bits), and waits for the child's end.

    `os.fork` cannot name namespaces, and `unshare` of the process namespace works only once in a process. Python is not
    told of this fork: that would run every module's own hooks (half a millisecond), which exist to repair what other
    threads held, and a process that calls this must have no other threads.
    """

    def __init__(self, namespaces: int, beside: int) -> None:
        """Makes the calls ready. `beside` is a descriptor that is watched together with the child."""
        self._watched = (_Watched * 2)(_Watched(-1, _POLLIN, 0), _Watched(beside, _POLLIN, 0))
        self._patience_ms = ctypes.c_long(0)
        flags = namespaces | CLONE_PIDFD | signal.SIGCHLD
        # The kernel puts the child's descriptor right where `poll` looks for it: the first field of the first.
        _, self._clone = prepared("clone", _SYS_CLONE, flags, 0, ctypes.byref(self._watched), 0, 0)
        self._poll = (prepared("poll", _SYS_POLL, self._watched, len(self._watched), self._patience_ms),)

    def __call__(self, patience_ms: int) -> int:
        """0 in the child; in the parent its id, after a first wait for at most so long.

        Whatever the parent writes to while there is a child has to be copied, so it goes to wait at once.
        """
        self._patience_ms.value = patience_ms
        pid: int = _syscall_locked(*self._clone)
        if pid > 0:
            make(self._poll)
        elif pid < 0:
            _checked(pid, "clone")
        return pid

    def wait(self, patience_ms: int) -> None:
        """Waits on, for at most so long."""
        self._patience_ms.value = patience_ms
        make(self._poll)

    @property
    def ended(self) -> bool:
        """Whether the last wait found that the child had ended."""
        return bool(self._watched[0].found)

    @property
    def called(self) -> bool:
        """Whether the last wait found something at the descriptor beside the child."""
        return bool(self._watched[1].found)

    @property
    def pidfd(self) -> int:
        """The descriptor, in the parent, of the last child."""
        return int(self._watched[0].descriptor)


class Reaper:
    """Takes children away when they have ended. `os.wait4` looks up a module at every call, which is one more to load."""

    def __init__(self) -> None:
        """Makes the call ready."""
        self._pid, self._status = ctypes.c_long(0), ctypes.c_int(0)
        # `struct rusage`: user and system time as seconds and microseconds each, the peak in KiB, and what nobody reads.
        self._usage = (ctypes.c_long * 18)()
        self._call = prepared("wait4", _SYS_WAIT4, self._pid, ctypes.byref(self._status), 0, self._usage)

    def __call__(self, pid: int) -> tuple[int, float, int]:
        """Waits for a child: its status as `os.waitpid` has it, its CPU seconds, and the most memory it held, in KiB."""
        self._pid.value = pid
        make((self._call,))
        user_s, user_us, system_s, system_us, peak_kib = self._usage[:5]
        return self._status.value, user_s + system_s + (user_us + system_us) / 1e6, peak_kib
