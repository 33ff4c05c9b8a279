"""The development XenStore: its sockets, its thread, and what a test may do to it."""

from __future__ import annotations

import os
import selectors
import shutil
import socket
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Literal

from .daemons import DAEMONS
from .serving import Connection, Serving
from .wire import LARGEST, Op, RefusedError, take_messages

__all__ = ("DevelopmentStore",)

_CHUNK = 64 * 1024
_REMEMBERED = 10_000  # operations
_OF_A_GUEST = {  # what a toolstack makes for each guest, and the permissions
    "": "n0 r{domain}",
    "/data": "n{domain}",
    "/vm-data": "n0 r{domain}",
    "/attr": "n{domain}",
    "/name": "n0 r{domain}",
    "/domid": "n0 r{domain}",
}


class _Client:
    """A socket, what has come from it, and what it has not taken yet."""

    def __init__(self, connected: socket.socket, domain: int) -> None:
        self.socket = connected
        self.input = bytearray()
        self.output = bytearray()
        self.connection = Connection(domain, self.output.extend, is_bus=bool(domain))


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
        self._clients: dict[socket.socket, _Client] = {}
        self._listeners: dict[socket.socket, int] = {}  # and whose view they give
        self._selector = selectors.DefaultSelector()
        self._ending, self._end = socket.socketpair()
        self._selector.register(self._ending, selectors.EVENT_READ)
        self._listen(self.path, 0)
        self.write("/local/domain/0/name", b"Domain-0")
        self._thread = threading.Thread(target=self._run, name="development XenStore", daemon=True)
        self._thread.start()

    def __enter__(self) -> DevelopmentStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up on everybody, and removes the sockets; may be called again."""
        if not self._thread.is_alive():
            return
        self._end.send(b"\0")
        self._thread.join()
        self.hang_up()
        for listener in self._listeners:
            Path(listener.getsockname()).unlink(missing_ok=True)
            listener.close()
        self._selector.close()
        self._ending.close()
        self._end.close()
        if self._folder is not None:
            shutil.rmtree(self._folder)

    # Guests

    def add_guest(self, domain: int) -> Path:
        """Makes a guest with the nodes that a toolstack gives it, and returns the socket of its view.

        What connects there is treated as an unprivileged domain, and as Linux treats it: the first event of a watch
        comes before the answer. Only messages may be as large as on any socket, which is 16 bytes more.

        :param domain: its number, more than 0.
        """
        path = self.path.with_name(f"{self.path.name}.{domain}")
        with self._lock:
            self._listen(path, domain)
            self._introduce(domain)
        return path

    def remove_guest(self, domain: int) -> None:
        """Destroys a guest: its connections break, and its nodes go."""
        with self._lock:
            for listener in [each for each, whose in self._listeners.items() if whose == domain]:
                self._selector.unregister(listener)
                del self._listeners[listener]
                Path(listener.getsockname()).unlink(missing_ok=True)
                listener.close()
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
            guests = [domain for domain in self._listeners.values() if domain]
            self.hang_up()
            if forget:
                self._serving = Serving(self._serving.daemon)
                for domain in guests:
                    self._introduce(domain)

    def hang_up(self, domain: int | None = None) -> None:
        """Closes the connections of one domain, or all: watches and open transactions go.

        :param domain: 0 for those of the host.
        """
        with self._lock:
            for client in list(self._clients.values()):
                if domain is None or client.connection.domain == domain:
                    self._drop(client)

    # The thread

    def _introduce(self, domain: int) -> None:
        base = f"/local/domain/{domain}"
        for node, permissions in _OF_A_GUEST.items():
            self._work(Op.MKDIR, f"{base}{node}\0".encode())
            entries = permissions.format(domain=domain).replace(" ", "\0")
            self._work(Op.SET_PERMS, f"{base}{node}\0{entries}\0".encode())
        self.write(f"{base}/name", b"guest%d" % domain)
        self.write(f"{base}/domid", b"%d" % domain)
        self._serving.introduce(domain)
        self._flush()

    def _work(self, op: int, content: bytes) -> bytes | None:
        with self._lock:
            try:
                answer = self._serving.work(op, content)
            except RefusedError:
                return None
            self._flush()
            return answer

    def _listen(self, path: Path, domain: int) -> None:
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(os.fspath(path))
            listener.listen(128)
        except BaseException:
            listener.close()
            raise
        listener.setblocking(False)
        self._listeners[listener] = domain
        self._selector.register(listener, selectors.EVENT_READ)

    def _run(self) -> None:
        while True:
            ready = self._selector.select()
            with self._lock:
                for key, _ in ready:
                    assert isinstance(key.fileobj, socket.socket)
                    if key.fileobj is self._ending:
                        return
                    if key.fileobj in self._listeners:
                        self._accept(key.fileobj)
                    elif key.fileobj in self._clients:
                        self._serve(self._clients[key.fileobj])
                self._flush()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # gone already
            connected, _ = listener.accept()
            connected.setblocking(False)
            client = _Client(connected, self._listeners[listener])
            self._clients[connected] = client
            self._serving.connections.append(client.connection)
            self._selector.register(connected, selectors.EVENT_READ)

    def _serve(self, client: _Client) -> None:
        try:
            data = client.socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        client.input += data
        try:
            asked = take_messages(client.input, LARGEST)
        except ValueError:
            data, asked = b"", []
        for each in asked:
            name = Op(each.op).name if each.op in Op._value2member_map_ else str(each.op)
            self.operations.append((client.connection.domain, name))
            self._serving.answer(client.connection, each)
        if not data:
            self._drop(client)

    def _flush(self) -> None:
        """Sends what there is to send, as far as the sockets take it."""
        for client in list(self._clients.values()):
            if client.output:
                try:
                    sent = client.socket.send(client.output)
                except BlockingIOError:
                    sent = 0
                except OSError:
                    self._drop(client)
                    continue
                del client.output[:sent]
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.output else 0)
            if self._selector.get_key(client.socket).events != wanted:
                self._selector.modify(client.socket, wanted)

    def _drop(self, client: _Client) -> None:
        self._selector.unregister(client.socket)
        self._serving.connections.remove(client.connection)
        del self._clients[client.socket]
        client.socket.close()
