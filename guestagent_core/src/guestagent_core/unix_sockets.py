"""Unix sockets: opening one that only its users can reach, and who is at the other end."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import pwd
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .errors import ExchangeError

__all__ = ("LONGEST_PATH", "ListeningSocket", "Peer", "check_path", "peer_of", "user_id")

_log = logging.getLogger(__name__)

LONGEST_PATH = 107
"""The longest path of a Unix socket in bytes (unix(7): 108 with the NUL)."""


class Peer(NamedTuple):
    """The process at the other end of a connection, as the kernel knows it."""

    pid: int
    uid: int
    gid: int

    def __str__(self) -> str:
        return f"process {self.pid} of user {self.uid}"


def peer_of(connected: socket.socket) -> Peer:
    """Returns who connected.

    :raises ExchangeError: this system does not tell (only Linux is known to).
    """
    if not hasattr(socket, "SO_PEERCRED"):
        raise ExchangeError("This system does not tell who is at the other end of a Unix socket")
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return Peer(*struct.unpack("3i", credentials))


def user_id(user: int | str) -> int:
    """Returns the number of a user given by name or number.

    :raises ExchangeError: there is no user of that name.
    """
    if isinstance(user, int):
        return user
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise ExchangeError(f"There is no user {user!r} on this machine") from None


def check_path(path: Path) -> None:
    """Checks that a socket can have this path.

    :raises ExchangeError: it is too long for the kernel.
    """
    length = len(os.fsencode(path))
    if length > LONGEST_PATH:
        raise ExchangeError(f"{path}: a socket's path may have {LONGEST_PATH} bytes, and this one has {length}")


class ListeningSocket:
    """A Unix socket that listens at ``path``: a missing folder is made with mode 0700, the socket has mode 0600.

    A socket that a dead process left there is taken over.

    :param shared: whether users other than root and our own are to connect: then the modes are 0711 and 0666.
    :raises ExchangeError: somebody listens there already, others could replace the socket, or it cannot be made.
    """

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        check_path(path)
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            _make_folder(path.parent, shared=shared)
            with _locked(path.parent):  # or two agents that start at once would both take over
                _remove_stale(path)
                # On Linux the mode of the unbound socket is the one that bind() gives the file.
                os.fchmod(self.socket.fileno(), 0o600)
                self.socket.bind(os.fspath(path))
                path.chmod(0o666 if shared else 0o600)
                self._identity = _identity(path)
                self.socket.listen(128)
        except OSError as error:
            self.socket.close()
            raise ExchangeError(f"{path}: the socket cannot be opened: {error.strerror or error}") from error
        except BaseException:
            self.socket.close()
            raise
        self.socket.setblocking(False)

    def close(self) -> None:
        """Stops listening, and removes the file unless it is somebody else's by now; may be called again."""
        if self.socket.fileno() < 0:
            return
        try:
            with _locked(self.path.parent):
                # As long as the socket is open, no other file can have the number of its inode.
                if _identity(self.path) == self._identity:
                    self.path.unlink()
        except OSError:  # the folder is gone, and the file with it
            pass
        finally:
            self.socket.close()


def _make_folder(folder: Path, *, shared: bool) -> None:
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if shared:
            folder.chmod(0o711)
    status = folder.stat()
    if shared and not status.st_mode & 0o001:
        _log.warning("%s: only its owner may enter, so other users cannot reach a socket there (chmod o+x)", folder)
    open_to_all = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
    if open_to_all or status.st_uid not in (0, os.geteuid()):
        raise ExchangeError(f"{folder}: others can replace a socket in this folder; use one that is ours alone")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ExchangeError(f"{path}: there is something that is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:  # nobody has it open any more
            path.unlink()
            return
        except BlockingIOError:  # somebody has, and many wait for them
            pass
    raise ExchangeError(f"{path}: another agent listens there; stop it, or use another path")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return status.st_dev, status.st_ino
