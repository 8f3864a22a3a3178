"""A Ray head of our own, as `ray start` makes it: with its job server, its metrics, with a token; and nodes beside it."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests


@dataclass(frozen=True)
class Head:
    """Where it is, and the environment of a process that may talk to it."""

    url: str
    address: str
    environment: dict[str, str]
    session: Path


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@contextmanager
def ray_head(ip, **more):
    """A head at this address for the length of the block; `more` goes into its environment and that of its callers."""
    folder = tempfile.mkdtemp(prefix="ray-")
    port, dashboard, agent, metrics = (free_port() for _ in range(4))
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = {
        **ours,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        # Else Ray takes 127.0.0.1 for another address of this machine; and with it no node joins.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0" if ip == "127.0.0.1" else "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        **more,
    }
    log = Path(folder) / "head.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [
                Path(sys.executable).parent / "ray", "start", "--head", "--block", f"--node-ip-address={ip}",
                f"--port={port}", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}",
                f"--metrics-export-port={metrics}", f"--temp-dir={folder}", "--num-cpus=2", "--resources={\"head\": 1}",
                "--object-store-memory=100000000",
            ],
            env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    url = f"http://127.0.0.1:{dashboard}"
    try:
        deadline = time.monotonic() + 300
        while "Ray runtime started" not in log.read_text() or not _answers(url):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        yield Head(url, f"{ip}:{port}", environment, Path(folder) / "session_latest")
    finally:
        process.terminate()
        process.wait(timeout=120)
        shutil.rmtree(folder, ignore_errors=True)


def _answers(url):
    try:
        return requests.get(f"{url}/api/version", timeout=5).status_code in (200, 401)
    except requests.RequestException:
        return False


@contextmanager
def node(head, ip, *inside):
    """A node with room for a rollout replica, whose command begins as `inside` says."""
    command = [*inside, Path(sys.executable).parent / "ray", "start", f"--address={head.address}", "--num-cpus=1", "--block"]
    command += [f"--node-ip-address={ip}", '--resources={"rollout": 1}', "--object-store-memory=100000000"]
    with tempfile.NamedTemporaryFile("w") as log:
        process = subprocess.Popen(command, env=head.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            _await_start(process, Path(log.name))
            yield process
        finally:
            process.terminate()
            process.wait(timeout=120)


def _await_start(process, log):
    """Two that start at the same moment may choose the same ports."""
    deadline = time.monotonic() + 120
    while "Ray runtime started" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
