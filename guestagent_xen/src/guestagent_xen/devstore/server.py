"""The development XenStore, and what a test may do to it."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal

from .connections import Connection
from .daemons import DAEMONS
from .serving import Serving
from .sockets import Sockets
from .wire import Message, Op, RefusedError

__all__ = ("DevelopmentStore",)

_REMEMBERED = 10_000  # operations
_OF_A_GUEST = {  # what a toolstack makes for each guest, and the permissions
    "": "n0 r{domain}",
    "/data": "n{domain}",
    "/vm-data": "n0 r{domain}",
    "/attr": "n{domain}",
    "/name": "n0 r{domain}",
    "/domid": "n0 r{domain}",
}


class DevelopmentStore:
    """An embedded XenStore, to develop and to test with on machines without Xen.

    It keeps everything in memory, and serves a Unix socket from a thread of its own:

    .. code-block:: python

        with DevelopmentStore() as store:
            guest = store.add_guest(7)  # the socket that takes the place of /dev/xen/xenbus in domain 7
            store.write("/local/domain/7/data/host/one", b'{"name": "version", "value": "agent"}')

    :param path: domain 0's socket; None: one in a folder of its own, which goes when the store is closed.
    :param daemon: which of the two daemons in the field it plays, with their limits, errors and conflicts:
        ``xenstored``, the one in C, or ``oxenstored``.
    :raises OSError: the socket cannot be made.
    """

    def __init__(self, path: Path | None = None, *, daemon: Literal["xenstored", "oxenstored"] = "xenstored") -> None:
        self._folder = None if path is not None else tempfile.mkdtemp(prefix="guestagent-xenstore-")
        self.path = path or Path(self._folder or "", "socket")
        """Domain 0's socket: what ``XENSTORED_PATH`` has to name for the tools of Xen."""
        self.operations: deque[tuple[int, str]] = deque(maxlen=_REMEMBERED)
        """What was asked last, oldest first: the domain, and the operation's name."""
        self._serving = Serving(DAEMONS[daemon])
        self._lock = threading.RLock()  # around everything but waiting
        self._sockets = Sockets(
            self._lock,
            opened=lambda connection: self._serving.connections.append(connection),
            asked=self._asked,
            closed=lambda connection: self._serving.connections.remove(connection),
        )
        try:
            self._sockets.listen(self.path, 0)
        except BaseException:
            self.close()
            raise
        self.write("/local/domain/0/name", b"Domain-0")

    def __enter__(self) -> DevelopmentStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up on everybody, and removes the sockets; may be called again."""
        self._sockets.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    # Guests

    def add_guest(self, domain: int) -> Path:
        """Makes a guest with the nodes that a toolstack gives it, and returns the socket of its view.

        What connects there is treated as an unprivileged domain, and as Linux treats it: the first event of a watch
        comes before the answer. Only messages may be as large as on any socket, which is 16 bytes more.

        :param domain: its number, more than 0.
        """
        path = self.path.with_name(f"{self.path.name}.{domain}")
        with self._lock:
            self._sockets.listen(path, domain)
            self._introduce(domain)
        return path

    def remove_guest(self, domain: int) -> None:
        """Destroys a guest: its connections break, and its nodes go."""
        with self._lock:
            self._sockets.listen_no_more(domain)
            self.hang_up(domain)
            self._serving.release(domain)
            self.remove(f"/local/domain/{domain}")

    # Nodes, as domain 0 sees them

    def read(self, path: str) -> bytes | None:
        """Returns the value at ``path``, None if there is no such node."""
        return self._work(Op.READ, path.encode() + b"\0")

    def list(self, path: str) -> list[str]:
        """Returns the names directly below ``path``, none if it does not exist."""
        with self._lock:
            node = self._serving.tree.get(path.encode())
        return [] if node is None else [name.decode() for name in node.children]

    def write(self, path: str, value: bytes) -> None:
        """Sets the value at ``path``, with its parents; whoever watches it is told.

        :raises ValueError: ``path`` is not that of a node, or the value too large for this daemon.
        """
        if self._work(Op.WRITE, path.encode() + b"\0" + value) is None:
            raise ValueError(f"not a path, or too large a value: {path}, {len(value)} bytes")

    def remove(self, path: str) -> None:
        """Removes ``path`` and everything below it, if it exists."""
        self._work(Op.RM, path.encode() + b"\0")

    # What happens to daemons

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Does not answer anybody until the ``with`` block ends: a daemon that is stopped, or stuck."""
        with self._lock:
            yield

    def restart(self, *, forget: bool = True) -> None:
        """Hangs up on everybody.

        :param forget: whether the nodes go too, as when a real daemon is killed and started again. The guests stay,
            with the nodes that they began with.
        """
        with self._lock:
            guests = [domain for domain in self._sockets.domains() if domain]
            self.hang_up()
            if forget:
                self._serving = Serving(self._serving.daemon)
                for domain in guests:
                    self._introduce(domain)

    def hang_up(self, domain: int | None = None) -> None:
        """Closes the connections of one domain, or all: watches and open transactions go.

        :param domain: 0 for those of the host.
        """
        self._sockets.hang_up(domain)

    def _introduce(self, domain: int) -> None:
        base = f"/local/domain/{domain}"
        for node, permissions in _OF_A_GUEST.items():
            self._work(Op.MKDIR, f"{base}{node}\0".encode())
            entries = permissions.format(domain=domain).replace(" ", "\0")
            self._work(Op.SET_PERMS, f"{base}{node}\0{entries}\0".encode())
        self.write(f"{base}/name", b"guest%d" % domain)
        self.write(f"{base}/domid", b"%d" % domain)
        self._serving.introduce(domain)
        self._sockets.flush()

    def _work(self, op: int, content: bytes) -> bytes | None:
        with self._lock:
            try:
                answer = self._serving.work(op, content)
            except RefusedError:
                return None
            self._sockets.flush()
            return answer

    def _asked(self, connection: Connection, message: Message) -> None:
        name = Op(message.op).name if message.op in Op._value2member_map_ else str(message.op)
        self.operations.append((connection.domain, name))
        self._serving.answer(connection, message)
