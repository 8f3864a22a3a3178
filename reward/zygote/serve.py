"""The zygote's main loop: take a program, fork a child for it, watch it, answer. One program at a time.

Started by `reward.sandbox` with: the project's directory, a level, a socket's descriptor, and layers to leave out.
"""

import gc
import importlib
import json
import math
import os
import select
import socket
import sys
import time
from typing import NoReturn, TypedDict

from . import frames, interception, kernel, program
from .isolation import Isolation, LayerMissing
from .supervision import Child, ParentGone, watch

MAX_REQUEST_BYTES = 8 << 20
_REPORT = 3
"""The descriptor a child reports to."""
_IDLE_MS = 5000
_exit = os._exit  # Bound before any program can replace it.

_COMMON = """
    abc array bisect calendar cmath collections.abc contextlib copy dataclasses datetime decimal enum fractions
    functools heapq itertools json math numbers operator random re statistics string struct textwrap time types typing
    unicodedata _strptime
"""
"""What programs import most, loaded once. Not more, because every module makes every fork slower."""
_UNCOMMON = """
    asyncio base64 binascii bz2 concurrent.futures csv difflib hashlib html inspect keyword locale logging pathlib
    platform pprint queue secrets shutil subprocess tempfile threading timeit tokenize traceback unittest
    urllib.parse uuid warnings weakref zlib encodings.ascii encodings.cp1252 encodings.cp437 encodings.idna
    encodings.iso8859_15 encodings.latin_1 encodings.punycode encodings.rot_13 encodings.shift_jis
    encodings.unicode_escape encodings.utf_16 encodings.utf_32 encodings.utf_7
"""
"""Loaded as well where a child, under a uid of its own, may not be able to read the standard library any more."""


class Request(TypedDict):
    """A program to run and the limits it runs under; `reward.sandbox` documents them."""

    code: str
    call: str | None
    anchor_lines: list[int]
    wall_s: float
    cpu_s: float
    memory_mib: int
    output_bytes: int


class Answer(TypedDict):
    """How the child ended (`supervision.Ending`); its stdout and its report follow as frames of their own."""

    how: str
    number: int
    seconds: float
    """Wall-clock time from before the fork until the child was gone."""


def main() -> None:
    """Prepares the process, says `{"level"}` or `{"missing"}` to the parent, and serves until it hangs up."""
    project, level, descriptor, *without = sys.argv[1:]
    connection = socket.socket(fileno=int(descriptor))
    connection.set_inheritable(False)
    sys.path.remove(project)
    _preload(_COMMON)
    if level == "nons" and os.geteuid() == 0:
        _preload(_UNCOMMON)
    try:
        isolation = Isolation(level, without)
    except LayerMissing as error:
        connection.sendall(frames.pack(json.dumps({"missing": str(error)}).encode()))
        return
    program.prepare()
    gc.collect()
    gc.freeze()
    connection.sendall(frames.pack(json.dumps({"level": level}).encode()))
    try:
        while True:
            _await_request(connection)
            request: Request = json.loads(frames.receive(connection, MAX_REQUEST_BYTES))
            connection.sendall(_run(request, isolation, connection))
    except (frames.BrokenFrame, ParentGone, ConnectionError):
        return


def _preload(names: str) -> None:
    for name in names.split():
        importlib.import_module(name)


def _await_request(connection: socket.socket) -> None:
    """Waits for the parent's next word, and notices its death even where another process holds its socket open.

    Raises:
        ParentGone: this process has been given to another parent.
    """
    parent = os.getppid()
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    while not poller.poll(_IDLE_MS):
        if os.getppid() != parent:
            raise ParentGone


def _run(request: Request, isolation: Isolation, connection: socket.socket) -> bytes:
    """Runs one program in a child: the answer's three frames."""
    started = time.monotonic()
    stdout, stdout_end = os.pipe()
    report, report_end = os.pipe()
    pid, pidfd = kernel.fork(isolation.namespaces)
    if pid == 0:
        _become_child(request, isolation, stdout_end, report_end)
    os.close(stdout_end)
    os.close(report_end)
    # A character is at most twelve bytes of JSON, and the report holds a value, all states and a message.
    report_cap = 12 * (2 * request["output_bytes"] + program.MAX_MESSAGE) + 16 * interception.MAX_STATES
    caps = {stdout: request["output_bytes"], report: report_cap}
    try:
        ending = watch(Child(pid, pidfd, stdout, report), connection, request["wall_s"], request["cpu_s"], caps)
    finally:
        for descriptor in (stdout, report, pidfd):
            os.close(descriptor)
    answer: Answer = {"how": ending.how, "number": ending.number, "seconds": time.monotonic() - started}
    written = ending.written
    return frames.pack(json.dumps(answer).encode(), bytes(written[stdout][: caps[stdout]]), bytes(written[report]))


def _become_child(request: Request, isolation: Isolation, stdout: int, report: int) -> NoReturn:
    """Confines this process and runs the program in it.

    The first byte of the report tells the parent whether the layers hold: I for isolated, ! before what went wrong.
    """
    try:
        os.dup2(0, 2)  # The zygote's stdin is /dev/null.
        os.dup2(stdout, 1)
        isolation.confine(memory_bytes=request["memory_mib"] << 20, cpu_s=math.ceil(request["cpu_s"]) + 1)
        os.dup2(report, _REPORT)
        kernel.close_from(_REPORT + 1)
        os.write(_REPORT, b"I")
    except BaseException as error:
        os.write(report, f"!{type(error).__name__}: {error}".encode())
        _exit(1)
    source = program.Source(request["code"], request["call"], request["anchor_lines"], request["output_bytes"])
    try:
        program.run(source, _REPORT)
    finally:
        _exit(1)
