"""The host's side: what it makes of daemons that stopped, hang up, or send what nobody asked for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from guestagent_xen.host import GuestClient, StoreError
from guestagent_xen.host import __main__ as host

from .old_agents import ERROR, EVENT, HEADER, READ, WATCH, WRITE


class TestWithABadDaemon:
    """A daemon of the tests: says what it is told to, then nothing."""

    @pytest.fixture
    def listening(self, tmp_path: Path) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(tmp_path / "bad"))
            listening.listen()
            yield listening

    def test_one_that_stopped_is_told(self, listening: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(host, "_GRACE", 0.05)
        with GuestClient(7, socket=listening.getsockname(), timeout=0.05) as client:
            with pytest.raises(StoreError, match="XenStore does not answer"):
                client.version()

    def test_one_that_accepts_nobody_is_told(self, listening: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(host, "_GRACE", 0.05)
        listening.listen(0)  # one may wait
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.connect(listening.getsockname())
            with GuestClient(7, socket=listening.getsockname()) as client:
                with pytest.raises(StoreError, match="XenStore does not answer"):
                    client.version()

    def test_one_that_accepts_late_is_waited_for(self, listening: socket.socket) -> None:
        listening.listen(0)
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.connect(listening.getsockname())
            timer = threading.Timer(0.1, lambda: listening.accept()[0].close())
            timer.start()
            host._Store([listening.getsockname()]).close()
            timer.join()

    def test_one_that_hangs_up_is_told(self, listening: socket.socket) -> None:
        thread = threading.Thread(target=lambda: listening.accept()[0].close())
        thread.start()
        with GuestClient(7, socket=listening.getsockname()) as client:
            with pytest.raises(StoreError, match="XenStore hung up"):
                client.version()
        thread.join()

    def test_old_kernels_and_garbage_are_understood(self, listening: socket.socket) -> None:
        def serve() -> None:
            with suppress(ConnectionError), listening.accept()[0] as peer:  # it hangs up with something unread
                identifier, event = "", ""
                while len(header := peer.recv(HEADER.size, socket.MSG_WAITALL)) == HEADER.size:
                    operation, request_id, _, length = HEADER.unpack(header)
                    path, _, _ = peer.recv(length, socket.MSG_WAITALL).partition(b"\0")

                    def send(operation: int, request_id: int, data: bytes) -> None:
                        peer.sendall(HEADER.pack(operation, request_id, 0xDEADBEEF, len(data)) + data)

                    send(READ, 0, b"stray")  # no answer to anything
                    if operation in (WATCH, 5):
                        if operation == WATCH:  # the first event is before the answer
                            send(EVENT, 0xDEADBEEF, path + b"\0host\0")
                        send(operation, 0, b"OK\0")
                        event = path.decode()
                    elif operation == WRITE:
                        identifier = path.decode().rpartition("/")[2]
                        send(WRITE, request_id, b"OK\0")
                        send(EVENT, 1, event.encode() + b"\0host\0")
                    elif operation == READ and b"/guest/" in path and not identifier:
                        send(ERROR, request_id, b"ENOENT\0")
                    elif operation == READ and b"/guest/" in path:
                        send(READ, request_id, b'{"message": "old", "returncode": "0"}')
                    else:
                        send(operation, request_id, b"T\0")

        thread = threading.Thread(target=serve)
        thread.start()
        with GuestClient(7, socket=listening.getsockname()) as client:
            assert client.version() == "old"
        thread.join()
