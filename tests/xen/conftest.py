"""A store for the tests that need no daemon: domain 0's view of a XenStore, served by a thread."""

from __future__ import annotations

import os
import selectors
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

HEADER = struct.Struct("=IIII")
DIRECTORY, READ, WATCH, UNWATCH, START, END, DOMAIN_PATH, WRITE, MKDIR, RM = 1, 2, 4, 5, 6, 7, 10, 11, 12, 13
EVENT, ERROR, IS_INTRODUCED, PART = 15, 16, 17, 22
LARGEST = 4096
LARGEST_OF_GUESTS = 2015

Tree = dict[bytes, bytes]


class RefusedError(Exception):
    """An error of the wire, by name."""


class Client:
    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.input = b""
        self.watches: list[tuple[bytes, bytes]] = []
        self.transactions: dict[int, tuple[Tree, Tree, list[bytes]]] = {}


class SmallStore:
    """Nodes, watches and transactions; no permissions, and no quotas but those of ``most_answers``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tree: Tree = {b"/": b"", b"/local/domain/0/name": b"Domain-0"}
        self.operations: list[int] = []
        self.most_answers: int | None = None  # of a guest; its values are bounded too then
        self._clients: list[Client] = []
        self._next = 1
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(os.fspath(path))
        self._listener.listen()
        self._ending, self._end = socket.socketpair()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        if not self._thread.is_alive():
            return
        self._end.send(b"\0")
        self._thread.join()
        for open_socket in (self._listener, self._ending, self._end, *(client.socket for client in self._clients)):
            open_socket.close()
        self.path.unlink()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._ending, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._ending:
                        return
                    if key.fileobj is self._listener:
                        client = Client(self._listener.accept()[0])
                        self._clients.append(client)
                        selector.register(client.socket, selectors.EVENT_READ, client)
                    elif not self._read(key.data):
                        selector.unregister(key.fileobj)
                        self._clients.remove(key.data)
                        key.data.socket.close()

    def _read(self, client: Client) -> bool:
        try:
            data = client.socket.recv(65536)
        except OSError:
            return False
        client.input += data
        while len(client.input) >= HEADER.size:
            operation, request, transaction, length = HEADER.unpack_from(client.input)
            if length > LARGEST:
                return False
            if len(client.input) < HEADER.size + length:
                break
            content = client.input[HEADER.size : HEADER.size + length]
            client.input = client.input[HEADER.size + length :]
            self.operations.append(operation)
            changed: list[bytes] = []
            try:
                answer = self._answer(client, operation, transaction, content, changed)
            except RefusedError as refusal:
                operation, answer = ERROR, str(refusal).encode() + b"\0"
            for path in changed:
                self._fire(path)
            self._send(client, operation, request, transaction, answer)
            if operation == WATCH:
                watched, token, _ = content.split(b"\0")
                self._send(client, EVENT, 0, 0, watched + b"\0" + token + b"\0")
        return bool(data)

    def _answer(self, client: Client, operation: int, transaction: int, content: bytes, changed: list[bytes]) -> bytes:
        if operation == START:
            self._next += 1
            client.transactions[self._next] = dict(self.tree), dict(self.tree), []
            return b"%d\0" % self._next
        if operation == END:
            if transaction not in client.transactions:
                raise RefusedError("ENOENT")
            before, after, touched = client.transactions.pop(transaction)
            if content == b"T\0":
                if any(self.tree.get(path) != before.get(path) for path in touched):
                    raise RefusedError("EAGAIN")
                for path in touched:
                    self.tree.pop(path, None)
                    if path in after:
                        self.tree[path] = after[path]
                changed += touched
            return b"OK\0"
        if operation in (WATCH, UNWATCH):
            watch = tuple(content.split(b"\0")[:2])
            (client.watches.append if operation == WATCH else client.watches.remove)(watch)  # type: ignore[arg-type]
            return b"OK\0"
        if operation == DOMAIN_PATH:
            return b"/local/domain/%d\0" % int(content.rstrip(b"\0"))
        if operation == IS_INTRODUCED:
            return b"T\0"
        tree = self.tree if not transaction else client.transactions[transaction][1]
        touched = changed if not transaction else client.transactions[transaction][2]
        path, _, rest = content.partition(b"\0")
        path = path if path.startswith(b"/") else b"/local/domain/0/" + path
        return self._work(tree, operation, path, rest, touched)

    def _work(self, tree: Tree, operation: int, path: bytes, rest: bytes, touched: list[bytes]) -> bytes:
        below = [known for known in tree if known.startswith(path + b"/")]
        if operation == WRITE and self.most_answers is not None and path.startswith(b"/local/domain/0/data/guest/"):
            others = [known for known in tree if known.startswith(b"/local/domain/0/data/guest/") and known != path]
            if len(rest) > LARGEST_OF_GUESTS or len(others) >= self.most_answers:
                raise RefusedError("ENOSPC")
        if operation in (WRITE, MKDIR):
            if operation == WRITE or path not in tree:
                tree[path] = rest if operation == WRITE else b""
                touched.append(path)
            return b"OK\0"
        if path not in tree and not below:
            raise RefusedError("ENOENT")
        if operation == READ:
            return tree.get(path, b"")
        if operation == RM:
            for known in [path, *below]:
                tree.pop(known, None)
            touched.append(path)
            return b"OK\0"
        if operation in (DIRECTORY, PART):
            names = {known[len(path) + 1 :].partition(b"/")[0]: None for known in below}
            listed = b"".join(name + b"\0" for name in names)
            if operation == DIRECTORY and len(listed) > LARGEST:
                raise RefusedError("E2BIG")
            if operation == DIRECTORY:
                return listed
            rest = listed[int(rest.rstrip(b"\0")) :]
            part = rest if len(rest) < LARGEST - 64 else rest[: rest.rindex(b"\0", 0, LARGEST - 64) + 1]
            return b"1\0" + part + (b"\0" if part == rest else b"")
        raise RefusedError("ENOSYS")

    def _fire(self, path: bytes) -> None:
        for client in self._clients:
            for watched, token in client.watches:
                prefix = b"" if watched.startswith(b"/") else b"/local/domain/0/"
                whole = prefix + watched
                if path == whole or path.startswith(whole + b"/") or whole.startswith(path + b"/"):
                    told = path[len(prefix) :] if path.startswith(whole) else watched
                    self._send(client, EVENT, 0xDEAD, 0xBEEF, told + b"\0" + token + b"\0")

    def _send(self, client: Client, operation: int, request: int, transaction: int, content: bytes) -> None:
        try:
            client.socket.sendall(HEADER.pack(operation, request, transaction, len(content)) + content)
        except OSError:
            return  # it is read as gone


@pytest.fixture
def store_path() -> Iterator[Path]:
    """A path that is short enough for a socket, which one below tmp_path need not be."""
    with tempfile.TemporaryDirectory(prefix="ga-") as name:
        yield Path(name, "s")


@pytest.fixture
def small_store(store_path: Path) -> Iterator[SmallStore]:
    """A store that is served at ``store_path``."""
    store = SmallStore(store_path)
    yield store
    store.close()
