"""Hosts on one machine: network namespaces joined by a bridge, with addresses that are kept for documentation."""

import os
import shutil
import subprocess
from functools import cache

_NETWORK = "198.51.100"
_OUT = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]


class Host:
    """A host: what is started with its `prefix` has its network alone."""

    def __init__(self, number, inside=None):
        self.address = f"{_NETWORK}.{number}"
        # It says that it is there when its namespaces are.
        command = [*(inside.prefix if inside else []), *(["unshare", "--net"] if inside else _OUT)]
        self.process = subprocess.Popen(
            [*command, "sh", "-c", "echo $$; exec sleep infinity"], stdout=subprocess.PIPE, text=True
        )
        pid = self.process.stdout.readline().strip()
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        self.pid = pid
        self.prefix = ["nsenter", "--target", pid, "--net", *user]
        self.ip("link", "set", "lo", "up")

    def ip(self, *arguments):
        subprocess.run([*self.prefix, "ip", *arguments], check=True, timeout=30)


class Network:
    """So many hosts that reach one another and nothing else; the first holds the bridge. They end with the block."""

    def __init__(self, count):
        self.hosts = []
        self._count = count

    def __enter__(self):
        try:
            first = self._add(1, None)
            first.ip("link", "add", "bridge", "type", "bridge")
            first.ip("address", "add", f"{first.address}/24", "dev", "bridge")
            first.ip("link", "set", "bridge", "up")
            for number in range(2, self._count + 1):
                host = self._add(number, first)
                first.ip("link", "add", f"to{number}", "type", "veth", "peer", "name", "net", "netns", host.pid)
                first.ip("link", "set", f"to{number}", "master", "bridge", "up")
                host.ip("address", "add", f"{host.address}/24", "dev", "net")
                host.ip("link", "set", "net", "up")
        except BaseException:
            self.__exit__()
            raise
        return self.hosts

    def _add(self, number, inside):
        self.hosts.append(Host(number, inside))
        return self.hosts[-1]

    def __exit__(self, *_):
        for host in reversed(self.hosts):
            host.process.kill()
            host.process.wait(timeout=30)


@cache
def namespaces():
    """Whether this process may make hosts."""
    if shutil.which("ip") is None or shutil.which("nsenter") is None:
        return False
    try:
        with Network(2):
            return True
    except (OSError, subprocess.SubprocessError):
        return False
