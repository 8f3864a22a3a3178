"""The system calls Python has no function for, or one in a module that every fork would pay for, through ctypes.

Every failure is an OSError that names the call.
"""

import ctypes
import os
import signal

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

_SYS_CLONE = 56
_SYS_CAPSET = 126
_SYS_PIVOT_ROOT = 155
_SYS_PRCTL = 157
_SYS_CLOSE_RANGE = 436
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
# A fork must not let go of the interpreter lock on its way, and PyDLL keeps it.
_libc_locked = ctypes.PyDLL(None, use_errno=True)
# Made once: looking a function up costs more than calling it.
_syscall = _libc.syscall
_syscall_locked = _libc_locked.syscall
_prctl = _libc_locked.prctl
_setrlimit = _libc_locked.setrlimit
_bounds = (ctypes.c_ulong * 2)()


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(what: str, number: int, *arguments: object) -> int:
    """Calls system call `number`; integers are passed as C longs, everything else as ctypes has it."""
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    return _checked(_syscall(ctypes.c_long(number), *words), what)


def prepared(number: int, *arguments: object) -> tuple[object, ...]:
    """A system call for `repeat`: what every child does is made ready once, since that costs more than the call."""
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    return (ctypes.c_long(number), *words)


def closing_from(first: int) -> tuple[object, ...]:
    """The call, for `repeat`, that closes every file descriptor from `first` on."""
    return prepared(_SYS_CLOSE_RANGE, first, 0xFFFFFFFF, 0)


def repeat(what: str, call: tuple[object, ...]) -> None:
    """Makes a prepared system call."""
    _checked(_syscall_locked(*call), what)


def prctl(what: str, option: int, value: int) -> None:
    """`prctl(option, value, 0, 0, 0)`."""
    zero = ctypes.c_ulong(0)
    _checked(_prctl(option, ctypes.c_ulong(value), zero, zero, zero), f"prctl {what}")


_DIE_WITH_PARENT = prepared(_SYS_PRCTL, PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def die_with_parent() -> None:
    """This process is killed when its parent ends."""
    repeat("prctl PDEATHSIG", _DIE_WITH_PARENT)


def limit(what: int, bound: int) -> None:
    """Bounds resource `what` (`RLIMIT_*`) for good."""
    _bounds[0] = _bounds[1] = bound
    if _setrlimit(what, _bounds):
        name = next(name for name, number in globals().items() if name.startswith("RLIMIT_") and number == what)
        _checked(-1, f"setrlimit {name} to {bound}, perhaps above the limit that was inherited")


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


def drop_capabilities() -> None:
    """Gives up every capability for good."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    syscall("capset", _SYS_CAPSET, ctypes.byref(header), ctypes.byref(nothing))


def fork(namespaces: int) -> tuple[int, int]:
    """Forks into new `namespaces` (`CLONE_NEW*` bits): `(pid, pidfd)` in the parent, `(0, -1)` in the child.

    `os.fork` cannot name namespaces, and `unshare` of the process namespace works only once in a process. Python is not
    told of this fork: that would run every module's own hooks (half a millisecond), which exist to repair what other
    threads held, and a process that calls this must have no other threads.
    """
    pidfd = ctypes.c_int(-1)
    flags = ctypes.c_ulong(namespaces | CLONE_PIDFD | signal.SIGCHLD)
    zero = ctypes.c_ulong(0)
    pid: int = _syscall_locked(ctypes.c_long(_SYS_CLONE), flags, zero, ctypes.byref(pidfd), zero, zero)
    if pid == 0:
        return 0, -1
    if pid < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"clone: {os.strerror(number)}")
    return pid, pidfd.value
