"""A wire between this host and a network namespace, which drops and delays what goes over it as it is told."""

import fcntl
import heapq
import os
import select
import struct
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from itertools import count

HERE, THERE = "198.18.77.1", "198.18.77.2"
"""Addresses of the two ends, of the range for tests of networks (RFC 2544)."""
_SET_NAME, _LAYER_3, _NO_HEADER = 0x400454CA, 0x0001, 0x1000
"""Of linux/if_tun.h."""
_LONGEST = 65535


class Wire:
    """Carries packets from either end to the other, in a thread."""

    def __init__(self, ends):
        self.delay_s = 0.0
        self.cut = False
        self.carried = self.dropped = 0
        self._other = dict(zip(ends, reversed(ends), strict=True))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="wire", daemon=True)
        self._thread.start()

    def _go_on(self):
        waiting, numbers = [], count()
        while not self._over.is_set():
            wait = 0.2 if not waiting else max(0.0, min(0.2, waiting[0][0] - time.monotonic()))
            for end in select.select(list(self._other), [], [], wait)[0]:
                packet = os.read(end, _LONGEST)
                heapq.heappush(waiting, (time.monotonic() + self.delay_s, next(numbers), end, packet))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, end, packet = heapq.heappop(waiting)
                if self.cut:
                    self.dropped += 1
                    continue
                self.carried += 1
                # An end that is not up yet, or no longer.
                with suppress(OSError):
                    os.write(self._other[end], packet)

    def close(self):
        self._over.set()
        self._thread.join(10)


def _end(name):
    file = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(file, _SET_NAME, struct.pack("16sH", name.encode(), _LAYER_3 | _NO_HEADER))
    return file


@contextmanager
def far_namespace():
    """A network namespace at the other end of a wire: the wire, and how a command begins that runs there. Wants root."""
    names = f"here{os.getpid()}", f"there{os.getpid()}"
    holder = subprocess.Popen(
        ["unshare", "-n", "sh", "-c", "echo there && exec sleep 3600"], stdout=subprocess.PIPE, text=True
    )
    ends = [_end(name) for name in names]
    inside = ["nsenter", f"--target={holder.pid}", "--net"]
    try:
        assert holder.stdout.readline() == "there\n"
        _run("ip", "link", "set", names[1], "netns", str(holder.pid))
        for name, own, other, prefix in ((names[0], HERE, THERE, ()), (names[1], THERE, HERE, inside)):
            _run(*prefix, "ip", "address", "add", own, "peer", other, "dev", name)
            _run(*prefix, "ip", "link", "set", name, "mtu", "60000", "up")
        _run(*inside, "ip", "link", "set", "lo", "up")
        wire = Wire(ends)
        try:
            yield wire, inside
        finally:
            wire.close()
    finally:
        for end in ends:
            os.close(end)
        holder.kill()
        holder.communicate()


def _run(*command):
    subprocess.run(command, check=True, capture_output=True, timeout=30)
