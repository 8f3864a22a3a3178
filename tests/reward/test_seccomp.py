"""The filter against its own table, by a BPF interpreter: every number, every condition, every wrong architecture."""

import errno

import pytest

from reward.zygote import seccomp

X86_64, I386 = seccomp.AUDIT_ARCH_X86_64, 0x40000003
REFUSED = seccomp.RET_ERRNO | errno.EPERM


def interpret(number: int, arguments: tuple[int, ...] = (), architecture: int = X86_64) -> int:
    """What the filter answers to a system call: classic BPF over `struct seccomp_data`."""
    words = [number, architecture, 0, 0]
    for argument in (*arguments, 0, 0, 0, 0, 0, 0)[:6]:
        words += [argument & 0xFFFFFFFF, argument >> 32]
    code, at, loaded = seccomp.assemble(), 0, 0
    while True:
        operation, if_true, if_false, operand = code[at]
        at += 1
        match operation:
            case 0x20:
                loaded = words[operand // 4]
            case 0x06:
                return operand
            case 0x15:
                at += if_true if loaded == operand else if_false
            case 0x35:
                at += if_true if loaded >= operand else if_false
            case 0x45:
                at += if_true if loaded & operand else if_false
            case _:
                raise AssertionError(f"instruction {operation:#x}")


def test_exactly_the_table_is_allowed():
    allowed = {number for number in range(1000) if interpret(number) == seccomp.RET_ALLOW}
    conditional = {number for number, rule in seccomp.RULES.items() if not isinstance(rule, seccomp.Fails)}
    assert allowed == set(seccomp.ALLOWED.values()) | conditional


def test_what_is_not_in_the_table_is_refused():
    known = set(seccomp.ALLOWED.values()) | set(seccomp.RULES)
    assert {interpret(number) for number in range(1000) if number not in known} == {REFUSED}


@pytest.mark.parametrize("number", [41, 53, 56, 57, 58, 59, 62, 101, 157, 165, 200, 234, 272, 310, 317, 321, 322, 425])
def test_dangerous_calls_are_refused(number):
    """From socket, clone, fork and execve over kill, ptrace and prctl to bpf and io_uring."""
    assert interpret(number) == REFUSED


@pytest.mark.parametrize("number", [0, 1, 59, 231])
def test_another_architecture_or_x32_kills(number):
    assert interpret(number, architecture=I386) == seccomp.RET_KILL
    assert interpret(number | seccomp.X32_BIT) == seccomp.RET_KILL


@pytest.mark.parametrize(
    ("number", "arguments", "answer"),
    [
        (257, (-100 & 0xFFFFFFFF, 1, 0o2000000), seccomp.RET_ALLOW),  # openat, O_CLOEXEC
        (257, (0, 1, 0o1), REFUSED),
        (257, (0, 1, 0o2), REFUSED),
        (257, (0, 1, 0o100), REFUSED),
        (257, (0, 1, 0o1000), REFUSED),
        (257, (0, 1, 0o20200000), REFUSED),  # O_TMPFILE
        (2, (1, 0o1), REFUSED),
        (72, (3, 1), seccomp.RET_ALLOW),  # F_GETFD
        (72, (3, 1030), seccomp.RET_ALLOW),  # F_DUPFD_CLOEXEC
        (72, (3, 6), REFUSED),  # F_SETLK
        (72, (3, 8), REFUSED),  # F_SETOWN
        (302, (0, 7, 0), seccomp.RET_ALLOW),
        (302, (0, 7, 1), REFUSED),
        (302, (0, 7, 1 << 32), REFUSED),
        (302, (1, 7, 0), REFUSED),  # another process's limits
        (302, (1 << 32, 7, 0), REFUSED),
        (16, (1, 0x5401), seccomp.RET_ERRNO | errno.ENOTTY),
        (435, (), seccomp.RET_ERRNO | errno.ENOSYS),
    ],
)
def test_conditions(number, arguments, answer):
    assert interpret(number, arguments) == answer


def test_no_number_stands_twice():
    numbers = [*seccomp.ALLOWED.values(), *seccomp.RULES]
    assert len(numbers) == len(set(numbers))


def test_every_answer_stands_once():
    returns = [instruction for instruction in seccomp.assemble() if instruction[0] == 0x06]
    assert len(returns) == len(set(returns)) > 4
