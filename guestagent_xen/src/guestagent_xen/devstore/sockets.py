"""The sockets of the development XenStore, and the thread that serves them."""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .connections import Connection
from .wire import LARGEST, Message, take_messages

__all__ = ("Sockets",)

_CHUNK = 64 * 1024


class _Client:
    """A socket, what has come from it, and what it has not taken yet."""

    def __init__(self, connected: socket.socket, domain: int) -> None:
        self.socket = connected
        self.input = bytearray()
        self.output = bytearray()
        self.connection = Connection(domain, self.output.extend, is_bus=bool(domain))


class Sockets:
    """Unix sockets that are listened on, and everybody who is connected.

    :param lock: held while anything is called.
    :param opened: called with each new connection.
    :param asked: called with each message, and the connection that it came by.
    :param closed: called with each connection that ends.
    """

    def __init__(
        self,
        lock: threading.RLock,
        *,
        opened: Callable[[Connection], None],
        asked: Callable[[Connection, Message], None],
        closed: Callable[[Connection], None],
    ) -> None:
        self._lock = lock
        self._opened, self._asked, self._closed = opened, asked, closed
        self._clients: dict[socket.socket, _Client] = {}
        self._listeners: dict[socket.socket, int] = {}  # and whose view they give
        self._selector = selectors.DefaultSelector()
        self._ending, self._end = socket.socketpair()
        self._selector.register(self._ending, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="development XenStore", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hangs up on everybody, and removes the sockets; may be called again."""
        if not self._thread.is_alive():
            return
        self._end.send(b"\0")
        self._thread.join()
        self.hang_up()
        for domain in self.domains():
            self.listen_no_more(domain)
        self._selector.close()
        self._ending.close()
        self._end.close()

    def domains(self) -> list[int]:
        """Returns the domains whose views can be had."""
        return list(self._listeners.values())

    def listen_no_more(self, domain: int) -> None:
        """Lets nobody connect to the view of ``domain`` any more."""
        with self._lock:
            for listener in [each for each, whose in self._listeners.items() if whose == domain]:
                self._selector.unregister(listener)
                del self._listeners[listener]
                Path(listener.getsockname()).unlink(missing_ok=True)
                listener.close()

    def hang_up(self, domain: int | None = None) -> None:
        """Closes the connections of one domain, or all."""
        with self._lock:
            for client in list(self._clients.values()):
                if domain is None or client.connection.domain == domain:
                    self._drop(client)

    def listen(self, path: Path, domain: int) -> None:
        """Gives the view of ``domain`` to whoever connects to ``path``.

        :raises OSError: that cannot be listened on.
        """
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(os.fspath(path))
            listener.listen(128)
        except BaseException:
            listener.close()
            raise
        listener.setblocking(False)
        with self._lock:
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
                self.flush()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # gone already
            connected, _ = listener.accept()
            connected.setblocking(False)
            client = _Client(connected, self._listeners[listener])
            self._clients[connected] = client
            self._opened(client.connection)
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
            self._asked(client.connection, each)
        if not data:
            self._drop(client)

    def flush(self) -> None:
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
        self._closed(client.connection)
        del self._clients[client.socket]
        client.socket.close()
