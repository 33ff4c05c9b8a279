"""The ways to the XenStore daemon: the kernel's device of a guest, or the daemon's own socket."""

from __future__ import annotations

import os
import socket
import stat
import struct
from pathlib import Path

from pyxs.connection import UnixSocketConnection, XenBusConnection
from pyxs.exceptions import PyXSError

from .session import Session, SessionLostError

__all__ = ("connect", "default_path")

_DEVICES = (Path("/dev/xen/xenbus"), Path("/proc/xen/xenbus"))


def default_path() -> Path | None:
    """Returns the way that this machine offers, None if there is none.

    It is the socket that the environment names (``XENSTORED_PATH``, ``XENSTORED_RUNDIR``), else the device of a guest,
    else the socket of a daemon at its usual place.
    """
    usual = Path(UnixSocketConnection().path)
    named = os.environ.get("XENSTORED_PATH") or os.environ.get("XENSTORED_RUNDIR")
    for path in (usual, *_DEVICES) if named else (*_DEVICES, usual):
        if os.access(path, os.R_OK | os.W_OK):
            return path
    return None


def connect(path: Path | None, timeout: float) -> Session:
    """Opens a session.

    :param path: a device or a socket; None: what :func:`default_path` finds.
    :param timeout: seconds that the daemon has for each group of operations.
    :raises SessionLostError: there is no way, or nobody listens at its end.
    """
    way = path or default_path()
    if way is None:
        raise SessionLostError("There is no way to XenStore: neither a xenbus device nor the socket of a xenstored")
    try:
        is_socket = stat.S_ISSOCK(way.stat().st_mode)
        connection = (
            _PatientSocketConnection(os.fspath(way), timeout) if is_socket else XenBusConnection(os.fspath(way))
        )
        connection.connect()
    except (OSError, PyXSError) as error:
        raise SessionLostError(f"XenStore cannot be reached by {way}: {error}") from error
    return Session(connection, timeout)


class _PatientSocketConnection(UnixSocketConnection):  # type: ignore[misc]  # pyxs has no types
    """A connection that a daemon which is stopped does not let wait for ever."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__(path)
        self._timeout = timeout

    def create_transport(self) -> _SocketTransport:
        return _SocketTransport(self.path, self._timeout)


class _SocketTransport:
    def __init__(self, path: str, timeout: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Daemons let one connection wait. A time-out of Python's would make the second fail at once.
        seconds, fraction = divmod(timeout, 1)
        patience = struct.pack("@ll", int(seconds), max(1, int(fraction * 1e6)))  # 0 would be for ever
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
        try:
            self._socket.connect(path)
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()
