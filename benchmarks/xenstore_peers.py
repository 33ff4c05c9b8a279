"""What the XenStore exchange is measured beside: a hand-written agent, and one on pyxs; and the hosts that ask them."""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ("REQUEST", "Host", "PyxsHost", "Wire", "serve_by_hand", "serve_by_pyxs")

REQUEST = b'{"name": "version", "value": "agent"}'
READ, WATCH, START, END, WRITE, MKDIR, RM, EVENT, ERROR, DIRECTORY = 2, 4, 6, 7, 11, 12, 13, 15, 16, 1
_HEADER = struct.Struct("=IIII")
_VERSION = "3.0.0"


class Wire:
    """A connection to a daemon, without any care."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(os.fspath(path))
        self.events: deque[bytes] = deque()
        """The paths that were told."""
        self._input = b""

    def send(self, *questions: tuple[int, int, bytes]) -> None:
        """Asks several things, each an operation, a transaction and a content, in one send."""
        self.socket.sendall(b"".join(_HEADER.pack(op, 1, tx, len(data)) + data for op, tx, data in questions))

    def answers(self, count: int) -> list[tuple[int, bytes]]:
        """Returns the next answers; events that come in between are kept."""
        found: list[tuple[int, bytes]] = []
        while True:
            position, size = 0, len(self._input)
            while size - position >= 16:
                op, _, _, length = _HEADER.unpack_from(self._input, position)
                end = position + 16 + length
                if end > size:
                    break
                content = self._input[position + 16 : end]
                position = end
                if op == EVENT:
                    self.events.append(content[: content.index(b"\0")])
                else:
                    found.append((op, content))
            self._input = self._input[position:]
            if len(found) >= count and (count or self.events):
                return found
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("the daemon hung up")
            self._input += data

    def ask(self, *questions: tuple[int, int, bytes]) -> list[tuple[int, bytes]]:
        """Asks in one send, and returns the answers."""
        self.send(*questions)
        return self.answers(len(questions))


def answer_to(data: bytes) -> bytes:
    """Returns what an agent answers, with no more than JSON in between."""
    request = json.loads(data)
    return json.dumps({"message": _VERSION if request["name"] == "version" else "", "returncode": "0"}).encode()


def serve_by_hand(path: Path, base: bytes) -> None:
    """Does the five operations of a request in two sends, and nothing else."""
    wire = Wire(path)
    folder, answers = base + b"/host/", base + b"/guest/"
    wire.ask((MKDIR, 0, base + b"/host\0"), (WATCH, 0, base + b"/host\0t\0"))
    waiting: deque[bytes] = deque()
    removed: set[bytes] = set()
    (_, listed), *_ = wire.ask((DIRECTORY, 0, base + b"/host\0"))
    waiting.extend(name for name in listed.split(b"\0") if name)
    while True:
        while not waiting:
            wire.answers(0)
            _take(wire, folder, waiting, removed)
        names = list(waiting)
        waiting.clear()
        *read, (_, begun) = wire.ask(*((READ, 0, folder + name + b"\0") for name in names), (START, 0, b"\0"))
        for number, (name, (op, content)) in enumerate(zip(names, read, strict=True)):
            more = number + 1 < len(names)
            if op == ERROR:
                continue
            answer = answer_to(content)
            removed.add(name)
            while True:
                transaction = int(begun[:-1])
                questions = [
                    (RM, transaction, folder + name + b"\0"),
                    (WRITE, transaction, answers + name + b"\0" + answer),
                    (END, transaction, b"T\0"),
                ]
                if more:
                    questions.append((START, 0, b"\0"))
                done = wire.ask(*questions)
                if more:
                    begun = done[3][1]
                if done[2][0] != ERROR:
                    break
                if not more:
                    ((_, begun),) = wire.ask((START, 0, b"\0"))
        _take(wire, folder, waiting, removed)


def _take(wire: Wire, folder: bytes, waiting: deque[bytes], removed: set[bytes]) -> None:
    while wire.events:
        event = wire.events.popleft()
        name = event[len(folder) :]
        if name in removed:
            removed.discard(name)
        elif name and name not in waiting:
            waiting.append(name)


def serve_by_pyxs(path: Path, base: bytes) -> None:
    """The same as pyxs' Client and Monitor do it."""
    import pyxs

    client: Any = pyxs.Client(unix_socket_path=os.fspath(path))
    with client:
        client.mkdir(base + b"/host")
        monitor = client.monitor()
        monitor.watch(base + b"/host", b"t")
        for event in monitor.wait():
            name = event.path[len(base) + 6 :]
            if not name:
                continue
            try:
                content = client.read(event.path)
            except pyxs.PyXSError:
                continue  # our own removal
            answer = answer_to(content)
            while True:
                client.transaction()
                client.delete(event.path)
                client.write(base + b"/guest/" + name, answer)
                if client.commit():
                    break


class Host:
    """A host that writes a request, waits for the event of the answer, and reads and removes it."""

    def __init__(self, path: Path, base: bytes) -> None:
        self._wire = Wire(path)
        self._requests, self._answers = base + b"/host/", base + b"/guest/"
        self._wire.ask((MKDIR, 0, base + b"/guest\0"), (WATCH, 0, base + b"/guest\0t\0"))
        self._last = 0

    def one_in_flight(self, times: int) -> list[float]:
        """Returns the seconds that each of ``times`` requests took."""
        figures = []
        for _ in range(times):
            started = time.perf_counter()
            name = self._next()
            self._wire.ask((WRITE, 0, self._requests + name + b"\0" + REQUEST))
            self._await({name})
            self._collect(name)
            figures.append(time.perf_counter() - started)
        return figures

    def many_in_flight(self, total: int, at_once: int) -> float:
        """Returns the requests that are answered in a second while ``at_once`` are on their way."""
        started = time.perf_counter()
        names = {self._next() for _ in range(at_once)}
        self._wire.ask(*((WRITE, 0, self._requests + name + b"\0" + REQUEST) for name in names))
        sent = at_once
        while names:
            for name in self._await(names):
                names.discard(name)
                if sent < total:
                    sent += 1
                    another = self._next()
                    names.add(another)
                    self._collect(name, (WRITE, 0, self._requests + another + b"\0" + REQUEST))
                else:
                    self._collect(name)
        return total / (time.perf_counter() - started)

    def put(self, count: int) -> None:
        """Writes requests, whose answers nobody waits for yet."""
        for _ in range(count):
            self._wire.ask((WRITE, 0, self._requests + self._next() + b"\0" + REQUEST))

    def clear(self) -> None:
        """Removes all requests and answers."""
        self._wire.ask((RM, 0, self._answers[:-1] + b"\0"), (RM, 0, self._requests[:-1] + b"\0"))
        self._wire.ask((MKDIR, 0, self._answers[:-1] + b"\0"))
        self._wire.events.clear()

    def _next(self) -> bytes:
        self._last += 1
        return b"%036d" % self._last

    def _await(self, names: set[bytes]) -> list[bytes]:
        while True:
            told = [self._wire.events.popleft()[len(self._answers) :] for _ in range(len(self._wire.events))]
            if found := [name for name in dict.fromkeys(told) if name in names]:
                return found
            self._wire.answers(0)

    def _collect(self, name: bytes, *more: tuple[int, int, bytes]) -> None:
        path = self._answers + name + b"\0"
        (op, content), *_ = self._wire.ask((READ, 0, path), (RM, 0, path), *more)
        if op == ERROR or b'"0"' not in content:
            raise RuntimeError(f"a wrong answer: {content!r}")


class PyxsHost:
    """The same on pyxs' Client and Monitor."""

    def __init__(self, path: Path, base: bytes) -> None:
        import pyxs

        self._client: Any = pyxs.Client(unix_socket_path=os.fspath(path))
        self._client.connect()
        self._client.mkdir(base + b"/guest")
        self._requests, self._answers = base + b"/host/", base + b"/guest/"
        monitor = self._client.monitor()
        monitor.watch(base + b"/guest", b"t")
        self._events = monitor.wait()
        self._last = 0

    def close(self) -> None:
        """Hangs up."""
        self._client.close()

    def one_in_flight(self, times: int) -> list[float]:
        """Returns the seconds that each of ``times`` requests took."""
        figures = []
        for _ in range(times):
            started = time.perf_counter()
            self._last += 1
            name = b"%036d" % self._last
            self._client.write(self._requests + name, REQUEST)
            while next(self._events).path != self._answers + name:
                pass
            if b'"0"' not in self._client.read(self._answers + name):
                raise RuntimeError("a wrong answer")
            self._client.delete(self._answers + name)
            figures.append(time.perf_counter() - started)
        return figures


def run(serve: Callable[[Path, bytes], None], path: Path, base: bytes) -> Any:
    """Runs one of the agents above in a process of its own."""
    import multiprocessing

    process = multiprocessing.get_context("fork").Process(target=serve, args=(path, base), daemon=True)
    process.start()
    return process
