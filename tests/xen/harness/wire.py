"""The few requests of a toolstack for which there is no xenstore-* program, spoken on the daemon's socket."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

__all__ = ("INTRODUCE", "READ", "RELEASE", "ask")

READ, INTRODUCE, RELEASE = 2, 8, 9  # of Xen's public header io/xs_wire.h
_ERROR = 16
_HEADER = struct.Struct("=IIII")  # operation, request id, transaction id, length of what follows


def ask(path: Path, operation: int, *arguments: bytes, timeout: float = 10.0) -> bytes:
    """Returns the daemon's answer.

    :raises OSError: nobody is there, or the daemon refuses.
    """
    content = b"".join(argument + b"\0" for argument in arguments)
    with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rb") as answers:
        connection.settimeout(timeout)
        connection.connect(str(path))
        connection.sendall(_HEADER.pack(operation, 1, 0, len(content)) + content)
        answered, _, _, length = _HEADER.unpack(answers.read(_HEADER.size).ljust(_HEADER.size, b"\0"))
        content = answers.read(length)
    if answered != operation:
        what = content.rstrip(b"\0").decode() if answered == _ERROR else "hung up"
        raise OSError(f"The daemon at {path} refuses operation {operation}: {what}")
    return content
