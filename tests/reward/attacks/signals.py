"""Signals, tracing, and the memory and descriptors of other processes."""

import ctypes
import os
import signal

from attacks.common import attack, call, libc, opened

_PAGE = 4096
_SEIZE = 0x4206


@attack
def signal_the_zygote(target):
    os.kill(target.zygote, 0)


@attack
def signal_everybody(target):
    os.kill(-1, 0)


@attack
def signal_the_group(target):
    os.killpg(0, 0)


@attack
def signal_by_number(target):
    call(62, target.zygote, 0)


@attack
def signal_a_thread(target):
    call(234, target.zygote, target.zygote, 0)


@attack
def signal_a_thread_the_old_way(target):
    call(200, target.zygote, 0)


@attack
def queue_a_signal(target):
    queued = (ctypes.c_int * 32)(0, 0, -1)
    call(129, target.zygote, 0, queued)


@attack
def queue_a_signal_to_a_thread(target):
    queued = (ctypes.c_int * 32)(0, 0, -1)
    call(297, target.zygote, target.zygote, 0, queued)


@attack
def signal_itself(target):
    os.kill(os.getpid(), signal.SIGCONT)


@attack
def raise_a_signal(target):
    signal.raise_signal(signal.SIGCONT)


@attack
def open_a_pidfd(target):
    os.close(os.pidfd_open(target.zygote))


@attack
def signal_through_a_pidfd(target):
    signal.pidfd_send_signal(os.pidfd_open(target.zygote), 0)


@attack
def signal_itself_through_a_pidfd(target):
    signal.pidfd_send_signal(os.pidfd_open(os.getpid()), 0)


@attack
def signal_by_a_timer(target):
    timer = ctypes.c_int()
    call(222, 0, 0, timer)


@attack
def read_signals_from_a_descriptor(target):
    nothing = ctypes.c_uint64()
    opened(289, -1, nothing, 8, 0)


@attack
def stay_after_the_zygote(target):
    set_pdeathsig = 1
    call(157, set_pdeathsig, 0, 0, 0, 0)


@attack
def trace_the_zygote(target):
    call(101, _SEIZE, target.zygote, 0, 0)


@attack
def be_traced(target):
    trace_me = 0
    call(101, trace_me, 0, 0, 0)


@attack
def trace_through_a_child(target):
    """A child of its own is everybody's to trace."""
    child = os.fork()
    if child == 0:
        signal.pause()
    try:
        call(101, _SEIZE, child, 0, 0)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _vector(address, size):
    return (ctypes.c_uint64 * 2)(address, size)


@attack
def read_the_zygotes_memory(target):
    os.close(os.open(f"/proc/{target.zygote}/mem", os.O_RDONLY))


@attack
def read_memory_by_number(target):
    """The zygote has its libraries where its child has them."""
    place = ctypes.cast(libc.getpid, ctypes.c_void_p).value
    found = ctypes.create_string_buffer(8)
    call(310, target.zygote, _vector(ctypes.addressof(found), 8), 1, _vector(place, 8), 1, 0)


@attack
def write_memory_by_number(target):
    """What the zygote has there already."""
    there = ctypes.c_void_p.in_dll(libc, "environ")
    place = _vector(ctypes.addressof(there), 8)
    found = ctypes.create_string_buffer(8)
    same = _vector(ctypes.addressof(found), 8)
    call(310, target.zygote, same, 1, place, 1, 0)
    call(311, target.zygote, same, 1, place, 1, 0)


@attack
def take_a_descriptor(target):
    opened(438, os.pidfd_open(target.zygote), 0, 0)


@attack
def compare_with_the_zygote(target):
    compare_files = 1
    call(312, os.getpid(), target.zygote, compare_files, 0, 0)


@attack
def advise_the_zygotes_memory(target):
    cold = 20
    place = ctypes.cast(libc.getpid, ctypes.c_void_p).value // _PAGE * _PAGE
    call(440, os.pidfd_open(target.zygote), _vector(place, _PAGE), 1, cold, 0)


@attack
def ask_for_the_zygotes_locks(target):
    head, size = ctypes.c_void_p(), ctypes.c_size_t()
    call(274, target.zygote, head, size)


@attack
def look_at_the_zygotes_pages(target):
    """Asks where pages are; none is moved."""
    place = (ctypes.c_uint64 * 1)(ctypes.cast(libc.getpid, ctypes.c_void_p).value // _PAGE * _PAGE)
    call(279, target.zygote, 1, place, 0, (ctypes.c_int * 1)(), 0)
