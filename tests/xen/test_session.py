"""A session over a device: what kernels do that sockets do not, each played by a descriptor of the test."""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from guestagent_core import ResponseTooLargeError
from guestagent_xen.answering import Answerer
from guestagent_xen.session import Operation, Session, SessionLostError, StoreError, WatchEvent

HEADER = struct.Struct("=IIII")
READ, WATCH, UNWATCH, BEGIN, END, WRITE, RM, EVENT = 2, 4, 5, 6, 7, 11, 13, 15
GARBAGE = 0xDEADBEEF


class Device:
    """A descriptor that keeps writes apart, as the device of a kernel does."""

    def __init__(self, kind: socket.SocketKind) -> None:
        self.ours, self.kernel = socket.socketpair(socket.AF_UNIX, kind)
        self.kernel.settimeout(10.0)
        self.writes: list[bytes] = []

    def fileno(self) -> int:
        return self.ours.fileno()

    def close(self) -> None:
        self.ours.close()

    def take(self) -> tuple[int, int, bytes]:
        """Returns the first request of the next write: operation, id, content. The kernel loses what is behind it."""
        written = self.kernel.recv(8192)
        self.writes.append(written)
        operation, request, _, length = HEADER.unpack_from(written)
        return operation, request, written[HEADER.size : HEADER.size + length]

    def reply(self, operation: int, request: int, content: bytes) -> None:
        self.kernel.send(HEADER.pack(operation, request, GARBAGE, len(content)) + content)


@pytest.fixture(params=[socket.SOCK_SEQPACKET])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    made = Device(request.param)
    yield made
    made.kernel.close()


@pytest.fixture
def session(device: Device) -> Iterator[Session]:
    with closing(Session(device, 10.0)) as opened:
        yield opened


def in_a_kernel(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_each_write_holds_one_request(device: Device, session: Session) -> None:
    def serve() -> None:
        for _ in range(3):
            operation, request, content = device.take()
            device.reply(operation, request, content)

    thread = in_a_kernel(serve)
    operations = [Operation(READ, b"a\0"), Operation(WRITE, b"b\0value", 7), Operation(RM, b"c\0")]
    assert session.call_all(*operations) == [b"a\0", b"b\0value", b"c\0"]
    thread.join()
    for written, operation in zip(device.writes, operations, strict=True):
        assert HEADER.unpack_from(written)[2:] == (operation.transaction, len(operation.content))
        assert len(written) == HEADER.size + len(operation.content)


def test_answers_may_come_in_another_order(device: Device, session: Session) -> None:
    def serve() -> None:
        asked = [device.take() for _ in range(3)]
        for operation, request, content in reversed(asked):
            device.reply(operation, request, content)

    thread = in_a_kernel(serve)
    assert session.call_all(*(Operation(READ, name) for name in (b"a\0", b"b\0", b"c\0"))) == [b"a\0", b"b\0", b"c\0"]
    thread.join()


@pytest.mark.parametrize("device", [socket.SOCK_STREAM], indirect=True)
def test_a_message_may_come_in_any_number_of_parts(device: Device, session: Session) -> None:
    def serve() -> None:
        _, request, _ = device.take()
        event = HEADER.pack(EVENT, GARBAGE, GARBAGE, 4) + b"p\0t\0"
        answer = HEADER.pack(READ, request, 0, 5) + b"value"
        for each in event + answer:
            device.kernel.send(bytes([each]))

    thread = in_a_kernel(serve)
    assert session.call(READ, b"a") == b"value"
    assert list(session.events) == [WatchEvent(b"p", b"t")]
    thread.join()


def test_the_first_event_may_come_before_the_answer_to_watch(device: Device, session: Session) -> None:
    def serve() -> None:
        operation, request, content = device.take()
        device.reply(EVENT, GARBAGE, content)
        device.reply(operation, request, b"OK\0")

    thread = in_a_kernel(serve)
    assert session.call(WATCH, b"p", b"t") == b"OK\0"
    assert list(session.events) == [WatchEvent(b"p", b"t")]
    assert session.events_before_answer == 1
    thread.join()


def test_request_id_0_is_the_answer_to_a_watch_and_to_nothing_else(device: Device, session: Session) -> None:
    def serve() -> None:
        operation, _, _ = device.take()
        device.reply(operation, 0, b"OK\0")
        operation, request, _ = device.take()
        device.reply(UNWATCH, 0, b"OK\0")  # a late one
        device.reply(operation, 0, b"of somebody else")
        device.reply(operation, request, b"value")

    thread = in_a_kernel(serve)
    assert session.call(WATCH, b"p", b"t") == b"OK\0"
    assert session.call(READ, b"a") == b"value"
    thread.join()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.E2BIG])
def test_a_kernel_that_refuses_a_message_has_refused_an_operation(
    device: Device, session: Session, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    write = os.write

    def refuse(descriptor: int, data: Any) -> int:
        if descriptor == device.fileno() and len(data) > 1000:
            raise OSError(number, os.strerror(number))
        return write(descriptor, data)

    def serve() -> None:
        content = b""
        while content != b"F\0":
            operation, request, content = device.take()
            device.reply(operation, request, b"1\0" if operation == BEGIN else b"OK\0")

    monkeypatch.setattr(os, "write", refuse)
    thread = in_a_kernel(serve)
    with pytest.raises(ResponseTooLargeError) as caught:
        Answerer(b"data/guest", 1.0).answer(session, b"data/host/one", b"one", b"x" * 1500, more=False)
    assert caught.value.limit < 1500
    thread.join()
    # Nothing of it was taken, and the transaction is given up.
    assert [HEADER.unpack_from(written)[0] for written in device.writes] == [BEGIN, END]
    assert device.writes[-1].endswith(b"F\0")


def test_a_device_that_fails_otherwise_is_lost(
    device: Device, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int, data: Any) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(SessionLostError, match="Input/output error"):
        session.call(READ, b"a")


def test_what_does_not_fit_on_a_bus_is_not_sent(device: Device, session: Session) -> None:
    with pytest.raises(ValueError, match="4081 bytes, but 4080 fit"):
        session.call_all(Operation(READ, b"a\0"), Operation(WRITE, b"b\0".ljust(4081, b"x")))
    device.kernel.setblocking(False)
    with pytest.raises(BlockingIOError):
        device.kernel.recv(1)


def test_a_refusal_is_known_by_its_name(device: Device, session: Session) -> None:
    def serve() -> None:
        _, request, _ = device.take()
        device.reply(16, request, b"EQUOTA\0")

    thread = in_a_kernel(serve)
    with pytest.raises(StoreError, match="XenStore: WRITE data/secret: EQUOTA") as caught:
        session.call(WRITE, b"data/secret")
    assert caught.value.name == "EQUOTA"
    thread.join()


@pytest.mark.parametrize("device", [socket.SOCK_STREAM], indirect=True)
def test_a_daemon_that_talks_nonsense_is_hung_up_on(device: Device, session: Session) -> None:
    device.kernel.send(HEADER.pack(READ, 1, 0, 2**20 + 1))
    with pytest.raises(SessionLostError, match="a message of 1048577 bytes"):
        session.call(READ, b"a")


def test_an_event_is_awaited_by_its_token(device: Device, session: Session) -> None:
    device.reply(EVENT, GARBAGE, b"p\0other\0")
    assert not session.await_event(b"t", 0.05)
    device.reply(EVENT, GARBAGE, b"p\0t\0")
    assert session.await_event(b"t", 10.0)
    assert not session.await_event(b"t", 0.0)
    assert [event.token for event in session.events] == [b"other", b"t"]
