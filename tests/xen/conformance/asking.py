"""A plain client of a XenStore, by a socket or a device, that shows what comes as it comes."""

from __future__ import annotations

import os
import select
import socket
import stat
import struct
from contextlib import suppress
from pathlib import Path

from guestagent_xen.devstore.wire import Op

__all__ = ("Asker", "Op")

_HEADER = struct.Struct("=IIII")
_PATIENCE = 20.0  # seconds


class Asker:
    """One connection; an error of the daemon is its name as text, everything else is bytes."""

    def __init__(self, path: Path) -> None:
        self.order: list[str] = []
        """What came: ``event`` or ``answer``."""
        self._events: list[tuple[bytes, bytes]] = []
        self._input = b""
        self._last_id = 0
        if stat.S_ISSOCK(path.stat().st_mode):
            connected = socket.socket(socket.AF_UNIX)
            connected.connect(os.fspath(path))
            self._descriptor = connected.detach()
        else:
            self._descriptor = os.open(path, os.O_RDWR)

    def close(self) -> None:
        os.close(self._descriptor)

    def ask(self, op: int, content: bytes, transaction: int = 0) -> bytes | str:
        """Returns the answer, whose request and transaction ids have to be those of the question."""
        self._last_id += 1
        data = _HEADER.pack(op, self._last_id, transaction, len(content)) + content
        assert os.write(self._descriptor, data) == len(data)
        while True:
            answered, request_id, of_transaction, answer = self._message()
            if answered == Op.WATCH_EVENT:
                self._take_event(answer)
                continue
            self.order.append("answer")
            assert (request_id, of_transaction) == (self._last_id, transaction)
            if answered == Op.ERROR:
                return answer.rstrip(b"\0").decode()
            assert answered == op
            return answer

    def begin(self) -> int:
        """Starts a transaction and returns its id."""
        answer = self.ask(Op.TRANSACTION_START, b"\0")
        assert isinstance(answer, bytes), answer
        return int(answer.rstrip(b"\0"))

    def commit(self, transaction: int) -> bytes | str:
        """Ends a transaction with what it did."""
        return self.ask(Op.TRANSACTION_END, b"T\0", transaction)

    def events(self) -> list[tuple[bytes, bytes]]:
        """Returns the paths and tokens of all events until now, oldest first."""
        self.ask(Op.GET_DOMAIN_PATH, b"0\0")  # what is answered in turn comes after all that has been told before
        self.order.pop()
        while self._input or select.select([self._descriptor], [], [], 0)[0]:
            with suppress(BlockingIOError):
                op, _, _, content = self._message()
                assert op == Op.WATCH_EVENT
                self._take_event(content)
        told, self._events = self._events, []
        return told

    def _take_event(self, content: bytes) -> None:
        path, token, _ = content.split(b"\0")
        self.order.append("event")
        self._events.append((path, token))

    def _message(self) -> tuple[int, int, int, bytes]:
        while True:
            if len(self._input) >= _HEADER.size:
                op, request_id, transaction, length = _HEADER.unpack_from(self._input)
                end = _HEADER.size + length
                if len(self._input) >= end:
                    content, self._input = self._input[_HEADER.size : end], self._input[end:]
                    return op, request_id, transaction, content
            if not select.select([self._descriptor], [], [], _PATIENCE)[0]:
                raise TimeoutError("the daemon does not answer")
            data = os.read(self._descriptor, 65536)
            if not data:
                raise EOFError("the daemon hung up")
            self._input += data
