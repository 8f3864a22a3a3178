"""A few attacks that every level must hold, run as a program in the sandbox before it is used.

Each names itself and says BLOCKED or ESCAPED; one that says nothing counts as escaped.
"""

import os
import socket
from collections.abc import Callable


def attack_all(zygote: int) -> dict[str, str]:
    """Runs every attack; `zygote` is the process id to attack."""
    attacks: dict[str, Callable[[], object]] = {
        "write a file": write_a_file,
        "open a socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "fork": fork,
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "signal": lambda: os.kill(zygote, 0),
        "read": lambda: open("/etc/passwd", "rb").close(),
    }
    return {name: outcome(attack) for name, attack in attacks.items()}


def outcome(attack: Callable[[], object]) -> str:
    """Whether the system refused."""
    try:
        attack()
    except OSError:
        return "BLOCKED"
    return "ESCAPED"


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
