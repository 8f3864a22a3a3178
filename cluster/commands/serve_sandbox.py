"""`codereason serve-sandbox`: the sandbox as an HTTP service in SandboxFusion's shape, without Ray."""

import ipaddress
import json
import math
import os
import signal
import socket
import sys
from typing import Annotated

import typer

from cluster.commands.options import Packages, named_packages
from cluster.config import BadInput
from reward.sandbox import Level, Limits, SandboxUnavailable
from reward.slots import Slots

TOKEN = "CODEREASON_SANDBOX_TOKEN"
"""The environment variable with the token; it is on no command line, which others on the machine could read."""

_OUTPUT_BYTES = 1 << 20
"""As much as SandboxFusion keeps of what a program prints."""
_SPARE_CONNECTIONS = 1024
"""Open beside those that run or wait: idle ones, and such as are about to be refused."""


def serve_sandbox(
    host: Annotated[
        str, typer.Option("--host", help=f"Address to listen on; off loopback {TOKEN} must be set.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8080,
    slots: Annotated[int, typer.Option("--slots", min=1, max=1024, help="Sandboxes, run side by side.")] = 2,
    packages: Packages = "",
    timeout: Annotated[float, typer.Option("--timeout", min=0.01, max=3600, help="The most seconds of a run.")] = 60.0,
    memory: Annotated[int, typer.Option("--memory", min=16, max=1 << 20, help="The most MiB of a run.")] = 1024,
    body: Annotated[int, typer.Option("--max-body", min=1, max=64, help="The most MiB of a request.")] = 12,
    waiting: Annotated[int, typer.Option("--max-waiting", min=0, help="Requests that may wait for a sandbox.")] = 1024,
    patience: Annotated[float, typer.Option("--max-wait", min=0.01, help="Seconds that one of them may wait.")] = 60.0,
    mode: Annotated[
        Level | None, typer.Option("--mode", help="Isolation: full, userns or nons; else the strongest.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Serve the sandbox over HTTP as SandboxFusion does: POST /run_code."""
    import uvicorn

    from reward.connections import ImpatientConnection
    from reward.http import ServiceLimits, application

    token = os.environ.get(TOKEN, "").strip() or None
    limits = ServiceLimits(Limits(timeout, timeout, memory, _OUTPUT_BYTES), body << 20, waiting, patience)
    # Without this a SIGTERM ends the process before the blocks below have put things away.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    with _bound(host, port, token) as listener, _started(slots, limits.run, mode, named_packages(packages)) as started:
        listener.listen()
        url = _url(listener)
        told = {"url": url, "slots": slots, **started.layers.as_json()}
        typer.echo(json.dumps(told) if as_json else f"sandbox at {url}: {started.layers}")
        config = uvicorn.Config(
            application(started, limits, token),
            http=ImpatientConnection,
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=slots + waiting + _SPARE_CONNECTIONS,
            timeout_graceful_shutdown=math.ceil(timeout),
        )
        uvicorn.Server(config).run(sockets=[listener])


def _bound(host: str, port: int, token: str | None) -> socket.socket:
    """A socket at the address, not listening yet.

    Raises:
        BadInput: the address cannot be had, or others can reach it and there is no token.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        if token is None and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
            raise BadInput(f"--host {host}: {TOKEN} must be set where others than this machine can reach the sandbox")
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise BadInput(f"--host {host}: {error}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise BadInput(f"--host {host} --port {port}: {error.strerror}") from None
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/run_code" if ":" in host else f"http://{host}:{port}/run_code"


def _started(count: int, limits: Limits, mode: Level | None, packages: list[str]) -> Slots:
    try:
        return Slots(count, limits, mode, packages)
    except SandboxUnavailable as error:
        raise BadInput(f"--mode {mode or 'full'}: {error}") from None
