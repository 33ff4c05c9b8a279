"""The local channel: requests over a Unix socket, from programs and people on the same machine."""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .errors import ExchangeError
from .framing import FRAMERS, Frame, Framer
from .readiness import READ, WRITE, AdaptiveSelector
from .unix_sockets import ListeningSocket, Peer, peer_of, user_id
from .waking import Waker

if TYPE_CHECKING:
    from .protocols import Request, Response

__all__ = ("LocalExchange",)

_log = logging.getLogger(__name__)
_CHUNK = 64 * 1024
_MOST_OPEN = 64  # requests of one connection; while it has more, no more is read from it
_ACCEPT_PAUSE = 1.0  # seconds, after the process ran out of descriptors
_CLOSING_TIME = 1.0  # seconds to get the last answers out
_ACCEPT, _WAKE = "accept", "wake"  # what the selector knows the two descriptors by that are no connections


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
        """The socket."""
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
        self._selector: AdaptiveSelector[_Connection | str] = AdaptiveSelector()
        self._waker = Waker()
        try:
            self._listener = ListeningSocket(options.path, shared=bool(options.users))
        except BaseException:
            self._close_own_descriptors()
            raise
        self._selector.listen(self._listener.socket.fileno(), READ, _ACCEPT)
        self._selector.listen(self._waker.fileno(), READ, _WAKE)
        self._closed = False

    def get_request(self) -> Request | None:
        """Returns the next request that ``wait`` has read."""
        return self._inbox.popleft() if self._inbox else None

    def put_response(self, request: Request, response: Response) -> None:
        """Sends the answer, or keeps it until the earlier requests of its connection are answered.

        :raises ExchangeError: the client is gone.
        """
        data = response["data"]
        self._settle(request, (data.encode() if isinstance(data, str) else data) + b"\n")

    def discard(self, request: Request) -> None:
        """Lets the later answers of the connection pass.

        :raises ExchangeError: the client is gone.
        """
        self._settle(request, b"")

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
        self._waker.wake()

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
        self._waker.close()

    def _work(self, timeout: float | None) -> bool:
        """Does what can be done within ``timeout`` seconds; returns whether it was woken."""
        woken = False
        if self._accept_again_at is not None:
            pause = max(0.0, self._accept_again_at - time.monotonic())
            timeout = pause if timeout is None else min(timeout, pause)
            if not pause:
                self._accept_again_at = None
                self._selector.listen(self._listener.socket.fileno(), READ, _ACCEPT)
        for ready, events in self._selector.select(timeout):
            if isinstance(ready, _Connection):
                if events & READ:
                    self._read(ready)
                else:
                    self._send(ready)
            elif ready == _WAKE:
                woken = self._waker.clear()
            else:
                self._accept()
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
                self._selector.listen(self._listener.socket.fileno(), 0, _ACCEPT)
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
            self._listen(connection)

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._drop(connection)
            return
        connection.ended = not data
        connection.frames += connection.framer.feed(data) if data else connection.framer.finish()
        self._admit(connection)
        if connection.ended or connection.frames:
            self._send(connection)

    def _admit(self, connection: _Connection) -> None:
        """Takes what came into the inbox, but no more than some at a time: others come in between."""
        while connection.frames and len(connection.open) < _MOST_OPEN:
            frame = connection.frames.popleft()
            content = {"error": str(frame)} if isinstance(frame, ExchangeError) else {"data": frame}
            request = {**content, "peer": connection.peer, "connection": connection}
            connection.open.append(request)
            self._inbox.append(request)

    def _settle(self, request: Request, answer: bytes) -> None:
        """Answers one request, and sends what can be sent without getting before an earlier one."""
        connection: _Connection = request["connection"]
        connection.answers[id(request)] = answer
        while connection.open and id(connection.open[0]) in connection.answers:
            connection.output += connection.answers.pop(id(connection.open.popleft()))
        if not connection.lost:
            if connection.frames:
                self._backlog[connection] = None
            self._send(connection)
        if connection.lost:
            raise ExchangeError(f"{connection.peer} went away before it had its answer")

    def _send(self, connection: _Connection) -> None:
        if connection.output:
            try:
                sent = connection.socket.send(connection.output)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._drop(connection)
                return
            connection.output = connection.output[sent:]
        if connection.ended and not (connection.open or connection.frames or connection.output):
            self._drop(connection)
        elif connection.output or connection.ended or connection.frames or connection.events != READ:
            self._listen(connection)

    def _listen(self, connection: _Connection) -> None:
        """Listens for what is next: nothing is read from a client that does not take its answers."""
        events = WRITE if connection.output else 0 if connection.ended or connection.frames else READ
        if events != connection.events:
            connection.events = events
            self._selector.listen(connection.socket.fileno(), events, connection)

    def _drop(self, connection: _Connection) -> None:
        connection.lost = bool(connection.output or connection.open) or not connection.ended
        self._selector.listen(connection.socket.fileno(), 0, connection)
        connection.socket.close()
        self._connections.discard(connection)

    def _flush(self) -> None:
        """Gets out what is left to send, for a limited time."""
        self._selector.listen(self._listener.socket.fileno(), 0, _ACCEPT)
        self._selector.listen(self._waker.fileno(), 0, _WAKE)
        for connection in tuple(self._connections):
            connection.ended = True  # nothing is read any more
            self._listen(connection)
        deadline = time.monotonic() + _CLOSING_TIME
        while len(self._selector) and (remaining := deadline - time.monotonic()) > 0:
            for ready, _ in self._selector.select(remaining):
                assert isinstance(ready, _Connection)
                self._send(ready)


class _Connection:
    """One client, and its requests in the order in which they came."""

    def __init__(self, connected: socket.socket, peer: Peer, framer: Framer) -> None:
        self.socket = connected
        self.peer = peer
        self.framer = framer
        self.frames: deque[Frame] = deque()  # what came and was not handed out yet
        self.open: deque[Request] = deque()  # what was handed out and has no answer that could be sent
        self.answers: dict[int, bytes] = {}  # those that have to wait for an earlier one
        self.output = b""
        self.events = 0  # what the selector listens for
        self.ended = False  # the client sends no more
        self.lost = False  # it will not have its answers
