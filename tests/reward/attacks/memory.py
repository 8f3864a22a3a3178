"""Memory that is written and executed, and places that no program may map."""

import ctypes
import mmap

from attacks.common import attack, call, libc

_PAGE = 4096
_READ, _WRITE, _EXECUTE = mmap.PROT_READ, mmap.PROT_WRITE, mmap.PROT_EXEC
_PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


def _page_of(function):
    return ctypes.cast(function, ctypes.c_void_p).value // _PAGE * _PAGE


@attack
def writable_code(target):
    mmap.mmap(-1, _PAGE, prot=_WRITE | _EXECUTE).close()


@attack
def code_that_was_written(target):
    place = call(9, 0, _PAGE, _READ | _WRITE, _PRIVATE, -1, 0)
    call(10, place, _PAGE, _READ | _EXECUTE)


@attack
def write_over_code(target):
    call(10, _page_of(libc.getpid), _PAGE, _READ | _WRITE | _EXECUTE)
    call(10, _page_of(libc.getpid), _PAGE, _READ | _EXECUTE)


@attack
def code_on_the_stack(target):
    here = ctypes.create_string_buffer(2 * _PAGE)
    call(10, ctypes.addressof(here) // _PAGE * _PAGE, _PAGE, _READ | _WRITE | _EXECUTE)


@attack
def code_under_a_key(target):
    """The same by the call that takes a protection key."""
    place = call(9, 0, _PAGE, _READ | _WRITE, _PRIVATE, -1, 0)
    call(329, place, _PAGE, _READ | _EXECUTE, -1)


@attack
def code_in_a_file_in_memory(target):
    """Two views of one file, one to write and one to execute."""
    descriptor = call(319, b"code", 0)
    call(77, descriptor, _PAGE)
    call(9, 0, _PAGE, _READ | _WRITE, mmap.MAP_SHARED, descriptor, 0)
    call(9, 0, _PAGE, _READ | _EXECUTE, mmap.MAP_SHARED, descriptor, 0)


@attack
def map_page_zero(target):
    fixed = 0x10
    call(9, 0, _PAGE, _READ | _WRITE, _PRIVATE | fixed, -1, 0)


@attack
def lock_a_mapping(target):
    locked = 0x2000
    call(9, 0, _PAGE, _READ | _WRITE, _PRIVATE | locked, -1, 0)


@attack
def rearrange_a_mapping(target):
    place = call(9, 0, _PAGE, _READ | _WRITE, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS, -1, 0)
    call(216, place, _PAGE, 0, 0, 0)


@attack
def map_a_file_for_writing(target):
    with open(target.victim, "r+b") as file:
        mmap.mmap(file.fileno(), 1).close()


@attack
def seal_a_mapping(target):
    call(462, call(9, 0, _PAGE, _READ, _PRIVATE, -1, 0), _PAGE, 0)
