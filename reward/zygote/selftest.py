"""What every level must hold, run as a program in the sandbox before it is used: a few attacks, and a look at each layer.

An attack is BLOCKED whichever layer refuses it; so beside them each layer is looked at by something that it alone brings
about, in this place, and HOLDS or is ABSENT. Landlock's rules for TCP and signals lie behind seccomp, where nothing shows.
"""

import ctypes
import errno
import mmap
import os
import resource
import socket
from collections.abc import Callable

SEALED = "/sealed"
"""A file without permissions that the namespaces' root directory has for this (`namespaces.replace_root`)."""


def attack_all(zygote: int, user: int) -> dict[str, str]:
    """What came of every attack and what was seen of every layer.

    Args:
        zygote: the process to attack.
        user: the uid of the process that started it.
    """
    attacks: dict[str, Callable[[], object]] = {
        "write a file": write_a_file,
        "fork": fork,
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "signal": lambda: os.kill(zygote, 0),
        "read": lambda: open("/etc/passwd", "rb").close(),
    }
    layers: dict[str, Callable[[], bool]] = {
        "limits": limits,
        "process namespace": lambda: os.getpid() == 1,
        "namespaces": lambda: os.uname().nodename == "sandbox" and not os.path.lexists("/proc"),
        "own user": lambda: os.getuid() not in (0, user),
        "no capabilities": no_capabilities,
        "landlock": lambda: fails(errno.EACCES, lambda: os.listdir("/")),
        "no new code": lambda: fails(errno.EACCES, lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)),
        "seccomp": lambda: fails(errno.EPERM, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)),
    }
    blocked = {name: "BLOCKED" if fails(None, attack) else "ESCAPED" for name, attack in attacks.items()}
    return blocked | {name: "HOLDS" if holds() else "ABSENT" for name, holds in layers.items()}


def fails(number: int | None, attack: Callable[[], object]) -> bool:
    """Whether the system refused, with this error if one is given."""
    try:
        attack()
    except OSError as error:
        return number in (None, error.errno)
    return False


def limits() -> bool:
    """Whether limits are as they were set; that on address space differs from run to run."""
    set_so = {"NOFILE": 64, "FSIZE": 0, "NPROC": 0, "CORE": 0}
    found = {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in set_so}
    mapped = resource.getrlimit(resource.RLIMIT_AS)[1]
    return found == {name: (bound, bound) for name, bound in set_so.items()} and mapped != resource.RLIM_INFINITY


def no_capabilities() -> bool:
    """Whether this process is bound by permissions, or where there is no file to show it, by the lowest address."""
    if os.path.lexists(SEALED):
        return not os.access(SEALED, os.R_OK, effective_ids=True)
    private_fixed_anonymous, failed = 0x32, ctypes.c_void_p(-1).value
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    return os.getuid() != 0 or libc.mmap(None, ctypes.c_size_t(4096), 1, private_fixed_anonymous, -1, 0) == failed


def write_a_file() -> None:
    """Tries everywhere a process can usually write."""
    for folder in ("/tmp", "/var/tmp", "/dev/shm", "."):
        path = os.path.join(folder, "escaped")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        except OSError:
            continue
        os.close(descriptor)
        os.unlink(path)
        return
    raise PermissionError("nowhere to write")


def fork() -> None:
    """A second process, which ends at once."""
    if os.fork() == 0:
        os._exit(0)
