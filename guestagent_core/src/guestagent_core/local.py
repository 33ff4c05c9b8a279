"""The local channel: requests over a Unix socket, from programs and people on the same machine."""

from __future__ import annotations

import errno
import logging
import os
import selectors
import socket
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .errors import ExchangeError
from .framing import FRAMERS, Frame, Framer
from .readiness import AdaptiveSelector
from .unix_sockets import ListeningSocket, Peer, peer_of, user_id

if TYPE_CHECKING:
    from .protocols import Request, Response

__all__ = ("LocalExchange",)

_log = logging.getLogger(__name__)
_CHUNK = 64 * 1024
_MOST_OPEN = 64  # requests of one connection; while it has more, no more is read from it
_ACCEPT_PAUSE = 1.0  # seconds, after the process ran out of descriptors
_CLOSING_TIME = 1.0  # seconds to get the last answers out


class LocalExchange:
    """Takes requests from any number of clients of a Unix socket.

    The socket can be used by root and by the user that the agent runs as. The answers of a connection come in the order
    of its requests, each ended by a newline. No client delays another.

    :raises ExchangeError: the socket cannot be opened, or another agent listens there.
    """

    @dataclass(frozen=True)
    class Options:
        """What ``[channel.options]`` takes."""

        path: Path = Path("{run_dir}/agent.sock")
        framing: Literal["json", "line"] = "json"
        """``json``: a request is a JSON object, with or without a newline behind it; ``line``: it is a line."""
        limit: int = 1024 * 1024
        """The largest request, in bytes."""
        users: tuple[int | str, ...] = ()
        """Names or numbers of further users who may connect."""

        def __post_init__(self) -> None:
            if self.limit < 1:
                raise ValueError("limit must be at least 1 byte")

    @classmethod
    def available(cls) -> bool:
        """Every machine has Unix sockets."""
        return True

    def __init__(self, options: Options) -> None:
        self._framer = FRAMERS[options.framing]
        self._limit = options.limit
        self._users = {0, os.geteuid(), *map(user_id, options.users)}
        self._inbox: deque[Request] = deque()
        self._backlog: dict[_Connection, None] = {}  # those with room for more of what they sent already
        self._connections: set[_Connection] = set()
        self._accept_again_at: float | None = None
        self._selector = AdaptiveSelector()
        # Not a pipe: its number, once closed, may be that of somebody else's file, which wake() would write to.
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        try:
            self._listener = ListeningSocket(options.path, shared=bool(options.users))
        except BaseException:
            self._close_own_descriptors()
            raise
        self._selector.register(self._listener.socket, selectors.EVENT_READ)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._closed = False

    def get_request(self) -> Request | None:
        """Returns the next request that ``wait`` has read."""
        return self._inbox.popleft() if self._inbox else None

    def put_response(self, request: Request, response: Response) -> None:
        """Sends the answer, or keeps it until the earlier requests of its connection are answered.

        :raises ExchangeError: the client is gone.
        """
        data = response["data"]
        self._settle(request["slot"], (data.encode() if isinstance(data, str) else data) + b"\n")

    def discard(self, request: Request) -> None:
        """Lets the later answers of the connection pass.

        :raises ExchangeError: the client is gone.
        """
        self._settle(request["slot"], b"")

    def wait(self, timeout: float | None) -> bool:
        """Accepts, reads and sends until there is a request; returns whether there is."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._inbox:
            woken = self._work(0.0 if self._backlog else timeout)
            for connection in self._backlog:
                self._admit(connection)
            self._backlog.clear()
            if woken:
                break
            if deadline is not None:
                timeout = deadline - time.monotonic()
                if timeout <= 0:
                    break
        return bool(self._inbox)

    def wake(self) -> None:
        """Ends a ``wait``."""
        with suppress(OSError):  # woken often already, or closed
            self._wake_writer.send(b"\0")

    def close(self) -> None:
        """Sends what it can within a second, hangs up and removes the socket."""
        if self._closed:
            return
        self._closed = True
        self._flush()
        for connection in tuple(self._connections):
            self._drop(connection)
        self._listener.close()
        self._close_own_descriptors()

    def _close_own_descriptors(self) -> None:
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()

    def _work(self, timeout: float | None) -> bool:
        """Does what can be done within ``timeout`` seconds; returns whether it was woken."""
        woken = False
        if self._accept_again_at is not None:
            pause = max(0.0, self._accept_again_at - time.monotonic())
            timeout = pause if timeout is None else min(timeout, pause)
            if not pause:
                self._accept_again_at = None
                self._selector.register(self._listener.socket, selectors.EVENT_READ)
        for key, events in self._selector.select(timeout):
            if key.data is None:
                if key.fileobj is self._wake_reader:
                    self._wake_reader.recv(_CHUNK)
                    woken = True
                else:
                    self._accept()
            elif events & selectors.EVENT_READ:
                self._read(key.data)
            else:
                self._send(key.data)
        return woken

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listener.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ECONNABORTED:
                    continue
                _log.warning("No client can connect for the next %.0f s: %s", _ACCEPT_PAUSE, error)
                self._selector.unregister(self._listener.socket)
                self._accept_again_at = time.monotonic() + _ACCEPT_PAUSE
                return
            peer = peer_of(connected)
            if peer.uid not in self._users:
                _log.warning("%s was turned away from %s: not one of its users", peer, self._listener.path)
                connected.close()
                continue
            connected.setblocking(False)
            connection = _Connection(connected, peer, self._framer(self._limit))
            self._connections.add(connection)
            self._await(connection)

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._drop(connection)
            return
        connection.ended = not data
        connection.frames.extend(connection.framer.feed(data) if data else connection.framer.finish())
        self._admit(connection)
        if connection.ended or connection.frames:
            self._send(connection)

    def _admit(self, connection: _Connection) -> None:
        """Takes what came into the inbox, but no more than some at a time: others come in between."""
        while connection.frames and len(connection.slots) < _MOST_OPEN:
            self._inbox.append(connection.open(connection.frames.popleft()))

    def _settle(self, slot: _Slot, answer: bytes) -> None:
        """Answers one request, and sends what can be sent without getting before an earlier one."""
        connection = slot.connection
        slot.answer = answer
        while connection.slots and connection.slots[0].answer is not None:
            connection.output += connection.slots.popleft().answer or b""
        if not connection.lost:
            if connection.frames:
                self._backlog[connection] = None
            self._send(connection)
        if connection.lost:
            raise ExchangeError(f"{connection.peer} went away before it had its answer")

    def _send(self, connection: _Connection) -> None:
        if connection.output:
            try:
                del connection.output[: connection.socket.send(connection.output)]
            except BlockingIOError:
                pass
            except OSError:
                self._drop(connection)
                return
        if connection.ended and not connection.slots and not connection.output:
            self._drop(connection)
        else:
            self._await(connection)

    def _await(self, connection: _Connection) -> None:
        """Listens for what is next: nothing is read from a client that does not take its answers."""
        if connection.output:
            events = selectors.EVENT_WRITE
        elif connection.ended or connection.frames:
            events = 0
        else:
            events = selectors.EVENT_READ
        if events == connection.events:
            return
        if not connection.events:
            self._selector.register(connection.socket, events, connection)
        elif not events:
            self._selector.unregister(connection.socket)
        else:
            self._selector.modify(connection.socket, events, connection)
        connection.events = events

    def _drop(self, connection: _Connection) -> None:
        if connection.events:
            self._selector.unregister(connection.socket)
            connection.events = 0
        connection.lost = bool(connection.output or connection.slots) or not connection.ended
        connection.socket.close()
        self._connections.discard(connection)

    def _flush(self) -> None:
        """Gets out what is left to send, for a limited time."""
        for key in self._selector.registered():
            if not isinstance(key.data, _Connection) or not key.data.output:
                self._selector.unregister(key.fileobj)
                if key.data is not None:
                    key.data.events = 0
        deadline = time.monotonic() + _CLOSING_TIME
        while self._selector.registered() and (remaining := deadline - time.monotonic()) > 0:
            for key, _ in self._selector.select(remaining):
                self._send(key.data)
                if not key.data.output and key.data.events:
                    self._selector.unregister(key.fileobj)
                    key.data.events = 0


class _Connection:
    """One client, and its requests in the order in which they came."""

    def __init__(self, connected: socket.socket, peer: Peer, framer: Framer) -> None:
        self.socket = connected
        self.peer = peer
        self.framer = framer
        self.frames: deque[Frame] = deque()  # what came and was not handed out yet
        self.slots: deque[_Slot] = deque()  # what was handed out, answered or not
        self.output = bytearray()
        self.events = 0  # what the selector listens for
        self.ended = False  # the client sends no more
        self.lost = False  # it will not have its answers

    def open(self, frame: Frame) -> Request:
        """Returns the request for a message that has come, or has not come whole."""
        slot = _Slot(self)
        self.slots.append(slot)
        key, value = ("error", str(frame)) if isinstance(frame, ExchangeError) else ("data", frame)
        return {key: value, "peer": self.peer, "slot": slot}


class _Slot:
    """The place of one answer in the order of its connection."""

    def __init__(self, connection: _Connection) -> None:
        self.connection = connection
        self.answer: bytes | None = None
