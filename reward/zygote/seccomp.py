"""The system calls a program may make, as a table, and the BPF program made from it (x86-64).

What is not in the table fails with EPERM; another architecture's calling convention kills the process. A program may
compute, read what Landlock and the mount namespace leave it, and write to the pipes it was given. It may not start
processes or threads, send signals, open anything for writing, or make a socket.
"""

import ctypes
import errno
import struct
from typing import NamedTuple

from . import kernel

ARCHITECTURE = "x86_64"
AUDIT_ARCH_X86_64 = 0xC000003E
X32_BIT = 0x40000000

RET_ALLOW = 0x7FFF0000
RET_ERRNO = 0x00050000
RET_KILL = 0x80000000

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_SYS_SECCOMP = 317
_SET_MODE_FILTER = 1

Instruction = tuple[int, int, int, int]
"""code, jump if true, jump if false, operand."""


class Bits(NamedTuple):
    """Allow while no bit of `mask` is set in argument number `argument` (an int for the kernel: 32 bits count)."""

    argument: int
    mask: int


class OneOf(NamedTuple):
    """Allow while argument number `argument` (32 bits) is one of `values`."""

    argument: int
    values: tuple[int, ...]


class Null(NamedTuple):
    """Allow while all of `arguments` (their numbers) are zero, or null pointers (64 bits)."""

    arguments: tuple[int, ...]


class Fails(NamedTuple):
    """Never allow; say so with `error` instead of EPERM, where a library needs that answer to take another way."""

    error: int


Rule = Bits | OneOf | Null | Fails

# O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND, O_TMPFILE's own bit, O_PATH.
_WRITING = 0o3 | 0o100 | 0o1000 | 0o2000 | 0o20000000 | 0o10000000
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC: no locks, no owner to signal, no flags.
_FCNTL = (0, 1, 2, 3, 1030)

RULES: dict[int, Rule] = {
    2: Bits(1, _WRITING),  # open
    257: Bits(2, _WRITING),  # openat
    72: OneOf(1, _FCNTL),  # fcntl
    302: Null((0, 2)),  # prlimit64: look only, and at oneself
    16: Fails(errno.ENOTTY),  # ioctl
    435: Fails(errno.ENOSYS),  # clone3
    334: Fails(errno.ENOSYS),  # rseq
}

ALLOWED: dict[str, int] = {
    # memory
    "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "mremap": 25, "madvise": 28,
    # files, for reading, and the pipes
    "read": 0, "write": 1, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "lseek": 8, "pread64": 17, "readv": 19,
    "writev": 20, "access": 21, "dup": 32, "dup2": 33, "dup3": 292, "getcwd": 79, "readlink": 89, "getdents64": 217,
    "newfstatat": 262, "readlinkat": 267, "faccessat": 269, "faccessat2": 439, "statx": 332, "pipe": 22, "pipe2": 293,
    "close_range": 436,
    # waiting
    "poll": 7, "ppoll": 271, "select": 23, "pselect6": 270, "nanosleep": 35, "clock_nanosleep": 230, "pause": 34,
    "futex": 202, "sched_yield": 24, "restart_syscall": 219,
    # time
    "gettimeofday": 96, "time": 201, "times": 100, "clock_gettime": 228, "clock_getres": 229, "getitimer": 36,
    "setitimer": 38, "alarm": 37,
    # own signal handlers
    "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "rt_sigpending": 127, "sigaltstack": 131,
    # who am I
    "getpid": 39, "gettid": 186, "getppid": 110, "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108,
    "getgroups": 115, "uname": 63, "getrlimit": 97, "getrusage": 98, "sched_getaffinity": 204, "getcpu": 309,
    # the rest
    "getrandom": 318, "exit": 60, "exit_group": 231,
}  # fmt: skip


def _argument(index: int, *, high: bool = False) -> Instruction:
    return (_LOAD, 0, 0, 16 + 8 * index + (4 if high else 0))


def _body(rule: Rule) -> list[Instruction]:
    """The instructions for one conditional system call; they always end in a return."""
    allow, refuse = (_RETURN, 0, 0, RET_ALLOW), (_RETURN, 0, 0, RET_ERRNO | errno.EPERM)
    match rule:
        case Fails(error):
            return [(_RETURN, 0, 0, RET_ERRNO | error)]
        case Bits(argument, mask):
            return [_argument(argument), (_JUMP_ANY_BIT, 1, 0, mask), allow, refuse]
        case Null(arguments):
            words = [_argument(argument, high=high) for argument in arguments for high in (False, True)]
            pairs = [(word, (_JUMP_EQUAL, 0, 2 * (len(words) - place) - 1, 0)) for place, word in enumerate(words)]
            return [*(instruction for pair in pairs for instruction in pair), allow, refuse]
        case OneOf(argument, values):
            tests = [(_JUMP_EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
            return [_argument(argument), *tests, refuse, allow]


def assemble() -> list[Instruction]:
    """The filter as BPF instructions: the architecture first, then a search for the call's number.

    The kernel walks a filter once for every number there is when it is installed, and compiles it; so depth and length cost.
    """
    kill = (_RETURN, 0, 0, RET_KILL)
    code: list[Instruction] = [(_LOAD, 0, 0, 4), (_JUMP_EQUAL, 1, 0, AUDIT_ARCH_X86_64), kill]
    code += [(_LOAD, 0, 0, 0), (_JUMP_GREATER_EQUAL, 0, 1, X32_BIT), kill]
    return _with_shared_returns(code + _search(_stretches()))


def _stretches() -> list[tuple[int, list[Instruction]]]:
    """Where each stretch of numbers that are answered alike begins, and the instructions that answer."""
    allow, refuse = [(_RETURN, 0, 0, RET_ALLOW)], [(_RETURN, 0, 0, RET_ERRNO | errno.EPERM)]
    answers = dict.fromkeys(ALLOWED.values(), allow) | {number: _body(rule) for number, rule in RULES.items()}
    found = [(0, answers.get(0, refuse))]
    for number in range(1, max(answers) + 2):
        answer = answers.get(number, refuse)
        if answer != found[-1][1]:
            found.append((number, answer))
    return found


def _search(stretches: list[tuple[int, list[Instruction]]]) -> list[Instruction]:
    """A binary search for the last stretch that begins at or below the loaded number."""
    if len(stretches) == 1:
        return stretches[0][1]
    middle = len(stretches) // 2
    below = _search(stretches[:middle])
    return [(_JUMP_GREATER_EQUAL, len(below), 0, stretches[middle][0]), *below, *_search(stretches[middle:])]


def _with_shared_returns(code: list[Instruction]) -> list[Instruction]:
    """The same filter with one return for each answer: jumps to any of them go to the last, and the others are left out."""
    last = {instruction: place for place, instruction in enumerate(code) if instruction[0] == _RETURN}

    def targets(place: int) -> list[int]:
        operation, if_true, if_false, _ = code[place]
        if operation in (_LOAD, _RETURN):
            return []
        return [last.get(code[place + 1 + offset], place + 1 + offset) for offset in (if_true, if_false)]

    reached = {0}
    for place in range(len(code)):
        if place in reached:
            reached.update(targets(place))
            if code[place][0] == _LOAD:
                reached.add(place + 1)
    moved = {place: index for index, place in enumerate(sorted(reached))}

    def instruction(place: int) -> Instruction:
        operation, _, _, operand = code[place]
        if_true, if_false = [moved[target] - moved[place] - 1 for target in targets(place)] or (0, 0)
        return operation, if_true, if_false, operand

    return [instruction(place) for place in sorted(reached)]


class _Program(ctypes.Structure):
    """The kernel's `struct sock_fprog`."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def installing() -> kernel.Call:
    """The call that puts the filter, which is assembled here, on a process for good. Needs no_new_privs."""
    instructions = assemble()
    packed = b"".join(struct.pack("<HBBI", *instruction) for instruction in instructions)
    program = ctypes.byref(_Program(len(instructions), packed))
    return kernel.prepared("seccomp", _SYS_SECCOMP, _SET_MODE_FILTER, 0, program)
