"""Parts of the kernel that have been ways out before, and calling conventions that a filter may have forgotten."""

import ctypes
import mmap
import os

from attacks.common import Refused, attack, call, libc, opened, reach

_PROCESS_KEYRING = -2
_CREATE_PRIVATE = 0o1600


@attack
def x32_call(target):
    """Ends the process where the filter holds."""
    if call(0x40000000 | 39) != os.getpid():
        raise Refused


@attack
def i386_call(target):
    """`getpid` by int 0x80, from a file of the program's own; ends the process where the filter holds."""
    with open("i386.bin", "rb") as file:
        code = libc.mmap
        code.restype = ctypes.c_void_p
        place = code(None, ctypes.c_size_t(4096), mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE, file.fileno(), 0)
    if place == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")
    if ctypes.CFUNCTYPE(ctypes.c_int)(place)() != os.getpid():
        raise Refused


@attack
def unknown_call(target):
    """A number beyond all there are: not to be answered by the kernel, which says ENOSYS."""
    try:
        call(1023)
    except OSError as error:
        if error.errno == 1:
            raise


@attack
def negative_call(target):
    """Ends the process where the filter holds."""
    try:
        call(-2)
    except OSError as error:
        if error.errno == 1:
            raise


@attack
def load_a_bpf_map(target):
    array = 2
    opened(321, 0, (ctypes.c_uint32 * 12)(array, 4, 4, 1), 48)


@attack
def set_up_io_uring(target):
    opened(425, 1, ctypes.create_string_buffer(120))


@attack
def enter_io_uring(target):
    reach(426, -1, 0, 0, 0, 0, 0)


@attack
def handle_page_faults(target):
    user_mode_only = 1
    opened(323, user_mode_only)


@attack
def measure_performance(target):
    software, size, dummy = 1, 128, 9
    attributes = (ctypes.c_uint32 * 32)(software, size, dummy)
    opened(298, attributes, 0, -1, -1, 0)


@attack
def add_a_key(target):
    call(248, b"user", b"escaped", b"x", 1, _PROCESS_KEYRING)


@attack
def request_a_key(target):
    """That there is not."""
    reach(249, b"user", b"escaped", 0, 0)


@attack
def join_a_keyring(target):
    join_session_keyring = 1
    call(250, join_session_keyring, 0)


@attack
def open_a_file_in_memory(target):
    opened(319, b"escaped", 0)


@attack
def open_a_secret_in_memory(target):
    opened(447, 0)


@attack
def shared_memory(target):
    segment = call(29, 0, 4096, _CREATE_PRIVATE)
    call(31, segment, 0, 0)


@attack
def message_queue(target):
    queue = call(68, 0, _CREATE_PRIVATE)
    call(71, queue, 0, 0)


@attack
def semaphores(target):
    found = call(64, 0, 1, _CREATE_PRIVATE)
    call(66, found, 0, 0, 0)


@attack
def named_message_queue(target):
    name = f"escaped{target.zygote}".encode()
    opened(240, name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600, 0)
    call(241, name)


@attack
def wait_for_many_descriptors(target):
    opened(291, 0)


@attack
def count_events(target):
    opened(290, 0, 0)


@attack
def timer_descriptor(target):
    opened(283, 1, 0)


@attack
def watch_files(target):
    opened(294, 0)


@attack
def watch_a_file_system(target):
    """Who opens what, for everybody."""
    opened(300, 0, 0)


@attack
def order_reads_and_writes(target):
    queue = ctypes.c_uint64()
    call(206, 1, queue)
    call(207, queue.value)


@attack
def change_segments(target):
    """Adds an empty one."""
    call(154, 0x11, (ctypes.c_uint32 * 4)(0, 0, 0, 0x28), 16)


@attack
def change_a_segment_register(target):
    set_gs = 0x1001
    call(158, set_gs, 0)


@attack
def wait_in_other_processes(target):
    """A barrier in every process's execution."""
    global_barrier = 1
    call(324, global_barrier, 0, 0)
