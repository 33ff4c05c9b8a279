"""The store as a host sees it, and agents as they were: each takes a request, and writes an answer to it."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from guestagent_xen.host import GuestClient
from guestagent_xen.host import __main__ as host

FILE = Path(host.__file__)
LIST, READ, WATCH, INTRODUCE, RELEASE, WRITE, REMOVE, EVENT, ERROR = 1, 2, 4, 8, 9, 11, 13, 15, 16
HEADER = struct.Struct("=IIII")
OPENED: list[Wire] = []  # which the fixture ``store`` closes


class Wire:
    """A plain client of the store, as domain 0."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.events: list[str] = []
        OPENED.append(self)

    def message(self) -> tuple[int, bytes]:
        header = self.socket.recv(HEADER.size, socket.MSG_WAITALL)
        if len(header) < HEADER.size:
            raise ConnectionError
        operation, _, _, length = HEADER.unpack(header)
        return operation, self.socket.recv(length, socket.MSG_WAITALL) if length else b""

    def ask(self, operation: int, path: str, rest: bytes = b"") -> bytes | None:
        content = path.encode() + b"\0" + rest
        self.socket.sendall(HEADER.pack(operation, 1, 0, len(content)) + content)
        while True:
            answered, data = self.message()
            if answered != EVENT:
                return None if answered == ERROR else data
            self.events.append(data.split(b"\0")[0].decode())

    def children(self, path: str) -> list[str]:
        return [name.decode() for name in (self.ask(LIST, path) or b"").split(b"\0") if name]

    def event(self) -> str:
        while not self.events:
            operation, data = self.message()
            assert operation == EVENT
            self.events.append(data.split(b"\0")[0].decode())
        return self.events.pop(0)


Handler = Callable[[str, dict[str, Any]], "bytes | dict[str, Any] | None"]


class Agent(threading.Thread):
    """An old agent: takes each request, and writes what ``handle`` makes of it, unless that is None."""

    def __init__(self, path: Path, handle: Handler) -> None:
        super().__init__(daemon=True)
        self.handle = handle
        self.asked: list[dict[str, Any]] = []
        self.wire = Wire(path)
        self.wire.ask(WATCH, "/local/domain/7/data/host", b"agent\0")
        self.start()

    def run(self) -> None:
        while True:
            try:
                identifier = self.wire.event().rpartition("/")[2]
                text = self.wire.ask(READ, f"/local/domain/7/data/host/{identifier}")
                if identifier == "host" or not text:
                    continue
                request = json.loads(text)
                self.asked.append(request)
                answer = self.handle(identifier, request)
                if answer is not None:
                    data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                    self.wire.ask(REMOVE, f"/local/domain/7/data/host/{identifier}")
                    self.wire.ask(WRITE, f"/local/domain/7/data/guest/{identifier}", data)
            except OSError:
                return


def succeed(message: object = "", code: object = "0") -> Handler:
    return lambda identifier, request: {"message": message, "returncode": code}


def client_of(store: Path, timeout: float = 30.0) -> GuestClient:
    return GuestClient(7, socket=str(store), timeout=timeout)


def leftovers(store: Path) -> list[str]:
    return [name for side in ("host", "guest") for name in Wire(store).children(f"/local/domain/7/data/{side}")]
