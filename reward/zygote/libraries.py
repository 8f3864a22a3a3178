"""System libraries that the standard library is linked with: a child must be able to load those that matter."""

import contextlib
import ctypes
import importlib
import os

_MODULES = ("zlib", "_bz2", "_lzma", "_sqlite3")
"""Where an interpreter is built against the system's libraries, `base64` and much else stands on the first."""


class _LinkMap(ctypes.Structure):
    """The head of the dynamic loader's `struct link_map`, see `link.h`."""

    _fields_ = [
        ("address", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("dynamic", ctypes.c_void_p),
        ("next", ctypes.c_void_p),
    ]


def linked() -> list[str]:
    """The libraries a child would look for, at the paths where the loader finds them.

    They are loaded in a process of their own: what the zygote itself loads, every fork pays for.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        already = _loaded()
        for name in _MODULES:
            with contextlib.suppress(ImportError):  # An interpreter may be built without it.
                importlib.import_module(name)
        os.write(writer, "\n".join(sorted(_loaded() - already)).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        found = pipe.read().splitlines()
    os.waitpid(pid, 0)
    return found


def _loaded() -> set[str]:
    """Paths of the shared objects in this process."""
    found, address = set(), ctypes.CDLL(None)._handle
    while address:
        entry = _LinkMap.from_address(address)
        found.add(os.fsdecode(entry.name or b""))
        address = entry.next
    return {path for path in found if path.startswith("/")}
