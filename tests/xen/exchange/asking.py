"""The host's end of the exchange: requests that it writes, and answers that it waits for."""

from __future__ import annotations

import select
import time
from pathlib import Path
from typing import Any

from guestagent_xen.connecting import connect
from guestagent_xen.exchange import XenStoreExchange
from guestagent_xen.session import Operation, Session

READ, WATCH, WRITE, RM, SET_PERMS = 2, 4, 11, 13, 14


class Node:
    """A request of the host; its answer is waited for on a watch."""

    def __init__(self, path: Path, name: str, value: bytes) -> None:
        self._session = connect(path, 30.0)
        self._path = b"data/guest/" + name.encode()
        self._session.call(WATCH, self._path, b"answer")
        write(self._session, name, value)

    def answer(self, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            (answer,) = self._session.call_all(Operation(READ, self._path + b"\0"))
            if isinstance(answer, bytes):
                return answer
            if not self._session.events:
                select.select([self._session], [], [], deadline - time.monotonic())
                self._session.receive()
            self._session.events.clear()
        raise TimeoutError

    def close(self) -> None:
        self._session.close()


def write(host: Session, name: str, value: bytes) -> None:
    (answer,) = host.call_all(Operation(WRITE, b"data/host/" + name.encode() + b"\0" + value))
    assert answer == b"OK\0"


def take(exchange: XenStoreExchange, count: int) -> list[Any]:
    requests: list[Any] = []
    while len(requests) < count:
        assert exchange.wait(30.0), "the request does not come"
        while (request := exchange.get_request()) is not None:
            requests.append(request)
    return requests


HOME = "/local/domain/7"
