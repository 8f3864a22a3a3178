"""Makes less of what every fork has to copy: fewer mappings, and the interpreter's own code in huge pages.

What is mapped from a file is not handed on by a fork: every child maps the code anew, in some fifty page faults, and takes
it all apart at its end. A huge page is handed on, and given back, as one; code is never written to, so it is never copied.
"""

import ctypes

_HUGE = 2 << 20
_READ, _WRITE, _EXECUTE = 1, 2, 4
_PRIVATE_ANONYMOUS = 0x22
_MADV_HUGEPAGE = 14
_MAY_MOVE_TO_PLACE = 3
_FAILED = (1 << 64) - 1

_libc = ctypes.CDLL(None)
_address, _size = ctypes.c_void_p, ctypes.c_size_t
_mmap, _munmap, _mremap, _madvise, _mprotect = _libc.mmap, _libc.munmap, _libc.mremap, _libc.madvise, _libc.mprotect
_mmap.restype = _mremap.restype = _address
_mmap.argtypes = (_address, _size, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_munmap.argtypes = (_address, _size)
_mremap.argtypes = (_address, _size, _size, ctypes.c_int, _address)
_madvise.argtypes = _mprotect.argtypes = (_address, _size, ctypes.c_int)


def merge() -> None:
    """Lets the kernel make one mapping of the three or so that hold the code and the constants of each library.

    They differ in one thing: constants need not be executed. They may be then, and still not be written to.
    """
    for begin, end in stretches(_maps()):
        # Where that is refused they stay apart.
        _mprotect(begin, end - begin, _READ | _EXECUTE)


def move() -> int:
    """Moves the interpreter's code, and the constants beside it, as far as they fill huge pages: how many bytes.

    That is 0 where the kernel, or the way the interpreter lies in memory, is not made for it; only speed depends on it.
    """
    code: int = ctypes.cast(ctypes.pythonapi.Py_GetVersion, _address).value or 0
    begin, end = next(((begin, end) for begin, end in stretches(_maps()) if begin <= code < end), (0, 0))
    begin, end = -(-begin // _HUGE) * _HUGE, end // _HUGE * _HUGE
    size = end - begin
    room: int = _FAILED if size <= 0 else _mmap(None, size + _HUGE, _READ | _WRITE, _PRIVATE_ANONYMOUS, -1, 0)
    if room == _FAILED:
        return 0
    copy = -(-room // _HUGE) * _HUGE
    # One call that replaces the other: what stands there is the same before and after.
    if not _copied(begin, copy, size) or _mremap(copy, size, size, _MAY_MOVE_TO_PLACE, begin) != begin:
        _munmap(room, size + _HUGE)
        return 0
    if copy > room:
        _munmap(room, copy - room)
    _munmap(copy + size, room + _HUGE - copy)
    return size


def stretches(maps: str) -> list[tuple[int, int]]:
    """Begin and end of what is mapped of one file without a gap, cannot be written to, and holds code.

    `maps` is the text of `/proc/self/maps`.
    """
    found: list[tuple[int, int]] = []
    last = ("", 0, 0)
    with_code = False
    for line in maps.splitlines():
        place, access, offset, _, _, *path = line.split(maxsplit=5)
        begin, end = (int(number, 16) for number in place.split("-"))
        name = path[0] if path and path[0].startswith("/") and access in ("r--p", "r-xp") else ""
        follows = name and last == (name, begin, int(offset, 16))
        if not follows:
            start, with_code = begin, False
        elif with_code:
            found.pop()
        with_code = with_code or bool(name and access == "r-xp")
        if with_code:
            found.append((start, end))
        last = (name, end, int(offset, 16) + end - begin)
    return found


def _maps() -> str:
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _copied(source: int, target: int, size: int) -> bool:
    """Whether the kernel has put a copy, to be read and executed only, into huge pages throughout."""
    if _madvise(target, size, _MADV_HUGEPAGE):
        return False
    ctypes.memmove(target, source, size)
    return _huge_bytes(target) == size and not _mprotect(target, size, _READ | _EXECUTE)


def _huge_bytes(begin: int) -> int:
    """How much of the mapping that begins there is in huge pages; 0 where the kernel does not say."""
    try:
        with open("/proc/self/smaps", encoding="utf-8", errors="surrogateescape") as file:
            of_it = file.read().partition(f"\n{begin:08x}-")[2]
    except OSError:
        return 0
    found = of_it.partition("AnonHugePages:")[2].split(maxsplit=1)
    return int(found[0]) << 10 if found else 0
