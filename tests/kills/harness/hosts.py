"""Hosts that ask, count the answers, and know nothing of the agent but what comes out of it."""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from .agents import request

__all__ = ("Account", "LocalHost", "XenHost")

_DIRECTORY, _READ, _WRITE, _RM = 1, 2, 11, 13  # of Xen's public header io/xs_wire.h
_ERROR = 16
_HEADER = struct.Struct("=IIII")


class Account:
    """What became of each request, by its token."""

    def __init__(self) -> None:
        self.asked: dict[str, str] = {}
        """The names of the commands."""
        self.answers: dict[str, list[tuple[str, str]]] = {}
        self.lost: set[str] = set()
        """Those whose connection ended without an answer."""

    @property
    def open(self) -> list[str]:
        """Those that have neither an answer nor lost their connection."""
        return [token for token in self.asked if token not in self.answers and token not in self.lost]

    def ask(self, name: str, token: str) -> None:
        assert token not in self.asked
        self.asked[token] = name

    def answered(self, token: str, answer: bytes) -> None:
        content = json.loads(answer)
        self.answers.setdefault(token, []).append((content["returncode"], content["message"]))

    def verdicts(self) -> Counter[str]:
        """Returns how many requests ended how.

        :raises AssertionError: one was answered twice, or with what belongs to another one.
        """
        counts: Counter[str] = Counter()
        for token in self.asked:
            answers = self.answers.get(token, [])
            assert len(answers) <= 1, f"{token} was answered {len(answers)} times: {answers}"
            if not answers:
                counts["lost" if token in self.lost else "open"] += 1
                continue
            ((code, message),) = answers
            if code == "0":
                assert message == token, f"{token} got the answer {message!r}"
                counts["done"] += 1
            else:
                assert code == "500", answers
                assert "was interrupted" in message or token in message, answers
                counts["interrupted" if "was interrupted" in message else "failed"] += 1
        return counts


class LocalHost:
    """A client of the local socket, with several connections. What it sent on one that ends is lost."""

    def __init__(self, path: Path, account: Account) -> None:
        self._path = path
        self._account = account
        self._connections: list[tuple[socket.socket, list[str], bytearray]] = []

    def ask(self, requests: list[tuple[str, str]]) -> None:
        """Sends requests over new connections, each with up to four of them; needs an agent that is about to listen."""
        for start in range(0, len(requests), 4):
            part = requests[start : start + 4]
            connection = self._connected()
            with suppress(OSError):
                connection.sendall(b"".join(request(name, token) + b"\n" for name, token in part))
            for name, token in part:
                self._account.ask(name, token)
            connection.setblocking(False)
            self._connections.append((connection, [token for _, token in part], bytearray()))

    def collect(self) -> int:
        """Takes the answers that are there; returns how many there were."""
        count = 0
        for entry in tuple(self._connections):
            connection, tokens, received = entry
            ended = False
            try:
                while data := connection.recv(65536):
                    received += data
                ended = True
            except BlockingIOError:
                pass
            except OSError:
                ended = True
            while b"\n" in received:
                line, _, rest = bytes(received).partition(b"\n")
                received[:] = rest
                self._account.answered(tokens.pop(0), line)
                count += 1
            if ended or not tokens:
                self._account.lost.update(tokens)
                connection.close()
                self._connections.remove(entry)
        return count

    def close(self) -> None:
        """Hangs up."""
        for connection, _, _ in self._connections:
            connection.close()

    def _connected(self) -> socket.socket:
        deadline = time.monotonic() + 30
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(os.fspath(self._path))
                return connection
            except OSError:
                connection.close()
                assert time.monotonic() < deadline, "Nobody listens"
                time.sleep(0.002)


class XenHost:
    """Domain 0 of a XenStore daemon. Requests stay in the store until they are answered, whatever the agent does.

    :param socket: of the daemon.
    :param home: the path of the agent's domain.
    :param ids: what the requests are named, again and again: hosts repeat themselves.
    """

    def __init__(self, socket: Path, home: str, account: Account, ids: int = 1_000_000) -> None:
        self._socket = socket
        self._home = home
        self._account = account
        self._ids = [f"id{number}" for number in range(ids)]
        self._open: dict[str, str] = {}
        self._next = 0

    def ask(self, requests: list[tuple[str, str]]) -> None:
        """Writes requests, each under the next id that is not open; there have to be enough of them."""
        assert len(requests) + len(self._open) <= len(self._ids)
        for name, token in requests:
            while self._ids[self._next % len(self._ids)] in self._open:
                self._next += 1
            self.ask_as(self._ids[self._next % len(self._ids)], name, token)
            self._next += 1

    def ask_as(self, identifier: str, name: str, token: str) -> None:
        """Writes a request."""
        self._account.asked.setdefault(token, name)
        self._open[identifier] = token
        self.do(_WRITE, f"{self._home}/data/host/{identifier}", request(name, token))

    def collect(self) -> int:
        """Takes the answers that are there; returns how many there were."""
        count = 0
        listed = self.do(_DIRECTORY, f"{self._home}/data/guest")
        for identifier in (listed or b"").decode().split("\0"):
            answer = self.do(_READ, f"{self._home}/data/guest/{identifier}") if identifier else None
            if not answer:
                continue
            self.do(_RM, f"{self._home}/data/guest/{identifier}")
            # An answer that nobody waits for is one too many for whoever had this id last.
            self._account.answered(self._open.pop(identifier, f"nobody's {identifier}"), answer)
            count += 1
        return count

    def do(self, operation: int, path: str, value: bytes | None = None) -> bytes | None:
        """Asks the daemon; None: there is no such node."""
        content = path.encode() + b"\0" + (value or b"")
        with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rb") as answers:
            connection.settimeout(30)
            connection.connect(os.fspath(self._socket))
            connection.sendall(_HEADER.pack(operation, 1, 0, len(content)) + content)
            answered, _, _, length = _HEADER.unpack(answers.read(_HEADER.size))
            content = answers.read(length)
        if answered == _ERROR:
            assert content == b"ENOENT\0", content
            return None
        return content
