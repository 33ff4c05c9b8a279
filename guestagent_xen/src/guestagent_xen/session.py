"""One connection to a XenStore daemon: operations with time-outs, and the events of watches.

It stands on the transports and the operation table of pyxs. pyxs' own Client waits without a limit, cannot connect
again and refuses values that real hosts write, so what is above the transports is here.
"""

from __future__ import annotations

import errno
import os
import select
import struct
import time
from collections import deque
from itertools import islice
from typing import NamedTuple

from pyxs._internal import Op
from pyxs.connection import PacketConnection, UnixSocketConnection

from guestagent_core import ExchangeError

__all__ = ("DIRECTORY_PART", "Operation", "Session", "SessionLostError", "StoreError", "WatchEvent")

DIRECTORY_PART = 22  # of xs_wire.h, newer than the table of pyxs
_HEADER = struct.Struct("=IIII")  # operation, request id, transaction id, length of what follows
_LARGEST = 4096  # bytes that follow a header (XENSTORE_PAYLOAD_MAX)
_LARGEST_TAKEN = 1 << 20  # bytes; oxenstored sends domain 0 a list of names in one message, however long it is
_LARGEST_ON_A_BUS = _LARGEST - _HEADER.size  # the kernel's buffer holds the header too
_LAST_ID = 2**32 - 1
_CHUNK = 64 * 1024
_LONGEST_SILENCE = 0.25  # seconds without a message after which it is not known whether the daemon stands still
_REFUSALS = (errno.EINVAL, errno.E2BIG)  # of kernels, for a message
_NAMELESS = (Op.WATCH, Op.UNWATCH)  # old kernels answer these with request id 0


class StoreError(ExchangeError):
    """The daemon refused an operation.

    :param name: the error's name as the daemon sent it, such as ``ENOENT``, or ``EQUOTA``, which is no errno.
    :param operation: what was asked, in words, with the path.
    """

    def __init__(self, name: str, operation: str) -> None:
        super().__init__(name, operation)
        self.name = name
        self.operation = operation

    def __str__(self) -> str:
        return f"XenStore: {self.operation}: {self.name}"


class SessionLostError(ExchangeError):
    """The connection to the daemon is gone, or the daemon does not answer: what was asked may or may not be done."""


class Operation(NamedTuple):
    """Something to ask the daemon for."""

    op: int
    """A number of ``pyxs._internal.Op``, or DIRECTORY_PART."""
    content: bytes
    """What follows the header: paths end with NUL, a value does not."""
    transaction: int = 0
    """The id that TRANSACTION_START returned; 0: none."""

    def __str__(self) -> str:
        names = [name for name, number in Op._asdict().items() if number == self.op]
        path = self.content.partition(b"\0")[0].decode(errors="replace")
        return f"{names[0] if names else self.op} {path}"  # never the value, which may be secret


class WatchEvent(NamedTuple):
    """Something changed at ``path``, or below it; ``token`` is the watch's."""

    path: bytes
    token: bytes


class Session:
    """A connection that is open.

    :param connection: one of the two of pyxs, connected. The session closes it.
    :param timeout: seconds that the daemon has for each group of operations.
    """

    def __init__(self, connection: PacketConnection, timeout: float) -> None:
        self.events: deque[WatchEvent] = deque()
        """What watches told, oldest first; whoever handles an event takes it out."""
        self.events_before_answer = 0
        """How many of ``events`` came before the answer to the marked operation of the last ``call_all``."""
        self._mark = 0
        self.alive = 0.0
        """Seconds in which the daemon is known to have worked, for hosts too: until its last message, and a quarter of
        a second of each silence."""
        self._heard = time.monotonic()
        self._connection = connection
        self._descriptor: int = connection.fileno()
        self._timeout = timeout
        # A kernel takes one request at a time: of two in one write, the second is lost.
        self._one_by_one = not isinstance(connection, UnixSocketConnection)
        self.largest = _LARGEST_ON_A_BUS if self._one_by_one else _LARGEST
        """The most bytes that may follow a header."""
        self._last_id = 0
        self._awaited: dict[int, int] = {}  # the position of each operation that has no answer yet, by request id
        self._nameless: deque[int] = deque()  # those of them that may be answered with request id 0
        self._answers: list[bytes | StoreError | None] = []
        self._operations: tuple[Operation, ...] = ()
        self._unread = b""
        self._readable = select.poll()
        self._readable.register(self._descriptor, select.POLLIN)
        os.set_blocking(self._descriptor, False)

    def fileno(self) -> int:
        """Returns the descriptor, to wait for events on."""
        return self._descriptor

    def close(self) -> None:
        """Hangs up: the daemon forgets the session's watches and transactions."""
        try:
            self._connection.close()
        except Exception:  # a peer that is gone already
            self._connection.transport = None

    def call(self, op: int, *arguments: bytes, transaction: int = 0) -> bytes:
        """Asks for one operation, whose arguments all end with NUL, and returns the answer.

        :raises StoreError: the daemon refuses.
        :raises SessionLostError: there is no answer.
        """
        content = b"".join(argument + b"\0" for argument in arguments)
        (answer,) = self.call_all(Operation(op, content, transaction))
        if isinstance(answer, StoreError):
            raise answer
        return answer

    def call_all(self, *operations: Operation, mark: int = 0) -> list[bytes | StoreError]:
        """Asks for several operations in as few sends as possible; returns what each came to, in their order.

        :param mark: the position of the operation that ``events_before_answer`` is about.
        :raises SessionLostError: there is no answer.
        :raises ValueError: an operation is larger than ``largest``.
        """
        self._operations = operations
        self._mark = mark
        self._answers = [None] * len(operations)
        self._awaited.clear()
        self._nameless.clear()
        packets = [self._packet(position, operation) for position, operation in enumerate(operations)]
        deadline = time.monotonic() + self._timeout
        if self._one_by_one:
            for position, data in enumerate(packets):
                self._send_one(position, data, deadline)
        else:
            self._send(b"".join(packets), deadline)
        while self._awaited:
            self._wait(self._readable, deadline)  # first: no answer is there yet, and to read nothing costs as much
            self.receive()
        return [answer for answer in self._answers if answer is not None]

    def tell(self, operation: Operation) -> None:
        """Asks for an operation whose answer nobody needs.

        :raises SessionLostError: it cannot be sent.
        """
        self._operations = (operation,)
        data = self._packet(0, operation)
        self._awaited.clear()
        self._send(data, time.monotonic() + self._timeout)

    def receive(self) -> bool:
        """Reads what has come, without waiting; returns whether anything had.

        :raises SessionLostError: the daemon hung up.
        """
        try:
            data = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return False
        except OSError as error:
            raise SessionLostError(f"XenStore hung up: {error}") from error
        if not data:
            raise SessionLostError("XenStore hung up")
        now = time.monotonic()
        self.alive += min(now - self._heard, _LONGEST_SILENCE)
        self._heard = now
        data = self._unread + data
        start, end = 0, len(data)
        while end - start >= _HEADER.size:
            op, request_id, _, length = _HEADER.unpack_from(data, start)
            if length > _LARGEST_TAKEN:
                raise SessionLostError(f"XenStore sent a message of {length} bytes")
            following = start + _HEADER.size + length
            if following > end:
                break
            self._take(op, request_id, data[start + _HEADER.size : following])
            start = following
        self._unread = data[start:]
        return True

    def await_event(self, token: bytes, timeout: float) -> bool:
        """Waits for an event with ``token`` that has not come yet; returns whether there was one within ``timeout``.

        :raises SessionLostError: the daemon hung up.
        """
        deadline = time.monotonic() + timeout
        known = len(self.events)
        while not any(event.token == token for event in islice(self.events, known, None)):
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not self._readable.poll(remaining * 1000):
                return False
            self.receive()
        return True

    def _packet(self, position: int, operation: Operation) -> bytes:
        if len(operation.content) > self.largest:
            raise ValueError(f"{operation}: {len(operation.content)} bytes, but {self.largest} fit")
        self._last_id = self._last_id % _LAST_ID + 1  # never 0, see _NAMELESS
        self._awaited[self._last_id] = position
        if operation.op in _NAMELESS:
            self._nameless.append(self._last_id)
        return (
            _HEADER.pack(operation.op, self._last_id, operation.transaction, len(operation.content)) + operation.content
        )

    def _send_one(self, position: int, data: bytes, deadline: float) -> None:
        """Sends an operation that the kernel may refuse to pass on, as it does with one that is too large for it."""
        try:
            self._send(data, deadline)
        except SessionLostError as error:
            number = getattr(error.__cause__, "errno", None)
            if number not in _REFUSALS:
                raise
            self._answers[position] = StoreError(errno.errorcode[number], str(self._operations[position]))
            self._awaited = {waiting: known for waiting, known in self._awaited.items() if known != position}

    def _send(self, data: bytes, deadline: float) -> None:
        unsent = memoryview(data)
        while unsent:
            try:
                unsent = unsent[os.write(self._descriptor, unsent) :]
            except BlockingIOError:
                writable = select.poll()
                writable.register(self._descriptor, select.POLLOUT)
                self._wait(writable, deadline)
            except OSError as error:
                raise SessionLostError(f"XenStore hung up: {error}") from error

    def _wait(self, poll: select.poll, deadline: float) -> None:
        remaining = deadline - time.monotonic()
        if remaining <= 0 or not poll.poll(remaining * 1000):
            raise SessionLostError(f"XenStore has not answered within {self._timeout:g} s")

    def _take(self, op: int, request_id: int, content: bytes) -> None:
        if op == Op.WATCH_EVENT:  # its request and transaction ids mean nothing
            path, token, *_ = content.split(b"\0")
            self.events.append(WatchEvent(path, token))
            return
        if not request_id and op in _NAMELESS and self._nameless:
            request_id = self._nameless[0]
        position = self._awaited.pop(request_id, None)
        if position is None:
            return  # the answer to something that nobody waits for any more
        operation = self._operations[position]
        if position == self._mark:
            self.events_before_answer = len(self.events)
        if operation.op in _NAMELESS:
            self._nameless.remove(request_id)
        if op == Op.ERROR:
            self._answers[position] = StoreError(content.rstrip(b"\0").decode(errors="replace"), str(operation))
        elif op == operation.op:
            self._answers[position] = content
        else:
            raise SessionLostError(f"XenStore answered {operation} with a message of type {op}")
