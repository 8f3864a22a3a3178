"""What every theme uses. `outcome` says BLOCKED or ESCAPED of one attack, by name.

An attack that the system refuses raises OSError (or what a library makes of it); one that returns has escaped. It is given
a `Target`, does no harm where it succeeds, and clears away what it made.
"""

import ctypes
import errno
import os
from typing import NamedTuple

ATTACKS = {}
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

HERE = -100  # AT_FDCWD


class Target(NamedTuple):
    """What to attack: the zygote's process id, and a folder that everybody may write to, with a file `victim` in it."""

    zygote: int
    folder: str

    @property
    def victim(self):
        return f"{self.folder}/victim"

    @property
    def new(self):
        """A path where nothing is yet."""
        return f"{self.folder}/escaped"


class Refused(Exception):
    """The system said no in another way than by OSError."""


def attack(function):
    ATTACKS[function.__name__] = function
    return function


def outcome(name, zygote, folder):
    print(f"ATTEMPT {name}", flush=True)
    try:
        ATTACKS[name](Target(zygote, folder))
    except (OSError, Refused, ValueError, RuntimeError) as error:
        return f"BLOCKED {name}: {type(error).__name__}"
    return f"ESCAPED {name}"


def call(number, *arguments):
    """A system call by its number, with integers, bytes and ctypes objects (their address is passed).

    Raises:
        OSError: it fails.
    """
    kept = [ctypes.create_string_buffer(word) if isinstance(word, bytes) else word for word in arguments]
    words = [ctypes.c_long(word if isinstance(word, int) else ctypes.addressof(word)) for word in kept]
    result = libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def reach(number, *arguments):
    """A system call that would do harm, with arguments that it cannot work with: to be refused those is to be let in.

    Raises:
        OSError: the call itself is refused, or the kernel has none.
    """
    try:
        call(number, *arguments)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES, errno.ENOSYS):
            raise


def opened(number, *arguments):
    """A system call that gives a descriptor, which is closed again."""
    os.close(call(number, *arguments))


def reap(pid):
    """Ends the child that a fork made, or waits for it in its parent."""
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
