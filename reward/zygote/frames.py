"""Length-prefixed frames over a stream socket: what parent and zygote say to each other."""

import socket
import struct

_LENGTH = struct.Struct(">I")


class BrokenFrame(Exception):
    """The other side went away in the middle of a frame, or announced more bytes than it may send."""


def pack(*payloads: bytes) -> bytes:
    """Every payload with its length before it, ready for one send."""
    return b"".join(_LENGTH.pack(len(payload)) + payload for payload in payloads)


def receive(connection: socket.socket, max_bytes: int) -> bytes:
    """The next frame.

    Raises:
        BrokenFrame: the stream ended, or the frame is longer than `max_bytes`.
        TimeoutError: the socket's own timeout passed.
    """
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if length > max_bytes:
        raise BrokenFrame(f"a frame of {length} bytes, {max_bytes} at most are expected")
    return _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytes:
    chunks: list[bytes] = []
    while count:
        chunk = connection.recv(min(count, 1 << 20))
        if not chunk:
            raise BrokenFrame("the stream ended")
        chunks.append(chunk)
        count -= len(chunk)
    return b"".join(chunks)
