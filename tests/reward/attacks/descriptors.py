"""The descriptors that a program is given: standard input, two pipes that are there for the next program too."""

import ctypes
import fcntl
import os

from attacks.common import Refused, attack, call

_ASYNCHRONOUS = 0o20000
_REPORT = 3
# From `termios`, which is not to be had under a uid that may not read the library.
_FIONREAD, _FIONBIO, _FIOASYNC, _TIOCSTI = 0x541B, 0x5421, 0x5452, 0x5412


@attack
def find_a_spare_descriptor(target):
    """Standard input, output, error and the pipe for reports, and nothing else, must be open."""
    found = [descriptor for descriptor in range(4, 1024) if _is_open(descriptor)]
    if not found:
        raise Refused


def _is_open(descriptor):
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _with_flag(descriptor, flag):
    """Sets a flag that every process at this end of the pipe shares, and takes it back."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | flag)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)


@attack
def refuse_to_wait_for_the_output_pipe(target):
    _with_flag(1, os.O_NONBLOCK)


@attack
def refuse_to_wait_for_the_report_pipe(target):
    os.set_blocking(_REPORT, False)
    os.set_blocking(_REPORT, True)


@attack
def refuse_to_wait_by_another_call(target):
    for value in (1, 0):
        fcntl.ioctl(_REPORT, _FIONBIO, value.to_bytes(4, "little"))


@attack
def have_a_pipe_send_signals(target):
    _with_flag(_REPORT, _ASYNCHRONOUS)


@attack
def have_a_pipe_send_signals_by_another_call(target):
    for value in (1, 0):
        fcntl.ioctl(_REPORT, _FIOASYNC, value.to_bytes(4, "little"))


@attack
def choose_whom_a_pipe_signals(target):
    fcntl.fcntl(_REPORT, fcntl.F_SETOWN, target.zygote)
    fcntl.fcntl(_REPORT, fcntl.F_SETOWN, 0)


@attack
def choose_which_process_a_pipe_signals(target):
    set_owner, process = 15, 1
    call(72, _REPORT, set_owner, (ctypes.c_int * 2)(process, target.zygote))
    fcntl.fcntl(_REPORT, fcntl.F_SETOWN, 0)


@attack
def choose_a_pipes_signal(target):
    fcntl.fcntl(_REPORT, fcntl.F_SETSIG, 9)
    fcntl.fcntl(_REPORT, fcntl.F_SETSIG, 0)


@attack
def write_whole_packets(target):
    """A pipe of packets gives its reader one write at a time."""
    _with_flag(_REPORT, os.O_DIRECT)


@attack
def shrink_a_pipe(target):
    size = fcntl.fcntl(1, fcntl.F_GETPIPE_SZ)
    fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 4096)
    fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, size)


@attack
def grow_a_pipe(target):
    size = fcntl.fcntl(_REPORT, fcntl.F_GETPIPE_SZ)
    fcntl.fcntl(_REPORT, fcntl.F_SETPIPE_SZ, 2 * size)
    fcntl.fcntl(_REPORT, fcntl.F_SETPIPE_SZ, size)


@attack
def change_the_mode_of_a_pipe(target):
    os.fchmod(_REPORT, os.fstat(_REPORT).st_mode & 0o777)


@attack
def lock_a_pipe(target):
    fcntl.flock(_REPORT, fcntl.LOCK_EX | fcntl.LOCK_NB)


@attack
def give_memory_to_a_pipe(target):
    line = ctypes.create_string_buffer(b"\n")
    call(278, 1, (ctypes.c_uint64 * 2)(ctypes.addressof(line), 1), 1, 0)


@attack
def move_between_pipes(target):
    start, end = os.pipe()
    os.write(end, b"\n")
    os.splice(start, 1, 1)


@attack
def copy_between_pipes(target):
    start, end = os.pipe()
    os.write(end, b"\n")
    call(276, start, 1, 1, 0)


@attack
def seal_standard_input(target):
    write = 8
    fcntl.fcntl(0, fcntl.F_ADD_SEALS, write)


@attack
def write_to_standard_input(target):
    os.write(0, b"x")


@attack
def write_elsewhere_in_standard_input(target):
    os.pwrite(0, b"x", 0)


@attack
def cut_standard_input(target):
    os.ftruncate(0, 0)


@attack
def reserve_room_in_standard_input(target):
    os.posix_fallocate(0, 0, 1 << 20)


@attack
def ask_how_much_is_in_a_pipe(target):
    fcntl.ioctl(_REPORT, _FIONREAD, b"\0" * 4)


@attack
def type_on_a_terminal(target):
    _, terminal = os.openpty()
    fcntl.ioctl(terminal, _TIOCSTI, b"x")


@attack
def see_a_terminal_of_its_own(target):
    os.close(os.open("/dev/tty", os.O_RDWR))
