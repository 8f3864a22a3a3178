"""Watches one child from its start to its end: deadlines, caps on what it writes, its death with all its children."""

import math
import os
import select
import signal
import socket
import time
from dataclasses import dataclass, field

_CHUNK = 65536


class ParentGone(Exception):
    """The process that asked for the run closed its end of the socket."""


@dataclass(slots=True)
class Child:
    """A running child and the reading ends of its two pipes."""

    pid: int
    pidfd: int
    stdout: int
    report: int


@dataclass(slots=True)
class Ending:
    """How a child ended."""

    how: str = ""
    """exit (`number` is the status), signal (`number` says which), timeout, output, or memory."""
    number: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    written: dict[int, bytearray] = field(default_factory=dict)
    """What came out of each pipe."""


def watch(child: Child, parent: socket.socket, wall_s: float, cpu_s: float, caps: dict[int, int]) -> Ending:
    """Waits for the child to end, and ends it where it passes `wall_s`, `cpu_s` or the caps in bytes on its pipes.

    Raises:
        ParentGone: the parent hung up; the child is dead.
    """
    started = time.monotonic()
    ending = Ending(written={descriptor: bytearray() for descriptor in caps})
    poller = select.poll()
    poller.register(child.pidfd, select.POLLIN)
    poller.register(parent, 0)  # Only its hanging up is of interest.
    for descriptor in caps:
        poller.register(descriptor, select.POLLIN)
    while True:
        left = min(started + wall_s - time.monotonic(), cpu_s - _cpu_seconds(child.pid))
        ready = dict(poller.poll(max(1, math.ceil(1000 * left)))) if left > 0 else {}
        if left <= 0:
            ending.how = "timeout"
        elif parent.fileno() in ready:
            ending.how = "parent gone"
        elif child.pidfd in ready:
            break
        elif any(_overflows(descriptor, ending, caps, poller) for descriptor in ready):
            ending.how = "output"
        if ending.how:
            os.kill(child.pid, signal.SIGKILL)
            break
    _reap(child, ending, caps, cpu_s)
    ending.seconds = time.monotonic() - started
    if ending.how == "parent gone":
        raise ParentGone
    return ending


def _overflows(descriptor: int, ending: Ending, caps: dict[int, int], poller: select.poll) -> bool:
    """Reads what is there; whether it is more than may come."""
    data = os.read(descriptor, _CHUNK)
    if not data:
        poller.unregister(descriptor)
    written = ending.written[descriptor]
    written += data
    return len(written) > caps[descriptor]


def _reap(child: Child, ending: Ending, caps: dict[int, int], cpu_s: float) -> None:
    """Waits for the child's end, reads what is left in its pipes, and names the ending if nobody has yet."""
    _, status, usage = os.wait4(child.pid, 0)
    ending.cpu_seconds = usage.ru_utime + usage.ru_stime
    for descriptor, cap in caps.items():
        rest = select.poll()
        rest.register(descriptor, select.POLLIN)
        while len(ending.written[descriptor]) <= cap and rest.poll(0):
            data = os.read(descriptor, _CHUNK)
            if not data:
                break
            ending.written[descriptor] += data
        if len(ending.written[descriptor]) > cap and not ending.how:
            ending.how = "output"
    if ending.how:
        return
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        ending.how, ending.number = "exit", code
    elif -code == signal.SIGXCPU or (-code == signal.SIGKILL and ending.cpu_seconds >= cpu_s):
        ending.how = "timeout"
    elif -code == signal.SIGKILL:
        ending.how = "memory"  # Nobody here killed it: the machine's memory ran out.
    else:
        ending.how, ending.number = "signal", -code


def _cpu_seconds(pid: int) -> float:
    """CPU time of a process so far. The clock's id is how the kernel encodes `a process's scheduler time`."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0  # It has just ended.
