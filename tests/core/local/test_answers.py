"""The local exchange: what a client gets from it, how it waits and how it ends."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import pytest

from guestagent_core.errors import ExchangeError
from guestagent_core.local import LocalExchange
from guestagent_core.testing import ExchangeContract, take_request

from .asking import MORE_THAN_FITS, PATIENCE, Connect, ask, echo, receive, served, settle


class RawQuestion:
    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.vanish = client.close

    def answer(self, timeout: float) -> bytes:
        self.client.settimeout(timeout)
        with self.client.makefile("rb") as lines:
            return lines.readline().removesuffix(b"\n")


class TestContract(ExchangeContract):
    entry_point = "local"
    request_limit = 1000

    @pytest.fixture(params=["json", "line"])
    def exchange(self, path: Path, request: pytest.FixtureRequest) -> LocalExchange:
        framing: Literal["json", "line"] = request.param
        return LocalExchange(LocalExchange.Options(path=path, framing=framing, limit=1000))

    @pytest.fixture
    def ask(self, connect: Connect) -> Callable[[bytes], RawQuestion]:
        def ask(data: bytes) -> RawQuestion:
            client = connect()
            client.sendall(data + b"\n")
            return RawQuestion(client)

        return ask


# What a client gets


def test_pipelined_requests_are_answered_in_their_order(exchange: LocalExchange, connect: Connect) -> None:
    client = connect()
    client.sendall(b'{"n":0}{"n":1}\n{"n":2}')
    requests = [take_request(exchange) for _ in range(3)]
    for request in (requests[2], requests[0], requests[1]):
        exchange.put_response(request, {"data": request["data"]})
    assert receive(client, 24) == b'{"n":0}\n{"n":1}\n{"n":2}\n'


def test_an_answer_that_waits_for_its_turn_is_sent_behind_a_discarded_request(
    exchange: LocalExchange, connect: Connect
) -> None:
    client = connect()
    client.sendall(b"{}{}")
    first, second = take_request(exchange), take_request(exchange)
    exchange.put_response(second, {"data": b"second"})
    exchange.discard(first)
    assert receive(client, 7) == b"second\n"


def test_a_request_may_be_split_at_any_byte(exchange: LocalExchange, connect: Connect) -> None:
    client = connect()
    message = '{"name": "Grüße", "value": "}\\""}\n'.encode()
    for position in range(len(message) + 1):
        client.sendall(message[:position])
        settle(exchange)
        client.sendall(message[position:])
        echo(exchange)
        assert receive(client, len(message)) == message


def test_blank_lines_are_not_answered(exchange: LocalExchange, connect: Connect) -> None:
    client = connect()
    client.sendall(b"\n \r\n\n")
    settle(exchange)
    assert exchange.get_request() is None
    ask(exchange, client)


def test_a_request_that_is_too_large_is_handed_over_as_an_error_and_the_next_one_is_read(
    exchange: LocalExchange, connect: Connect
) -> None:
    client = connect()
    client.sendall(b"x" * 100_000 + b"\n{}\n")
    too_large, following = take_request(exchange), take_request(exchange)
    assert too_large["error"] == "The request is larger than 1000 bytes"
    assert following["data"] == b"{}"


def test_the_limit_is_a_mebibyte_by_default() -> None:
    assert LocalExchange.Options().limit == 1024 * 1024


def test_a_client_that_sends_no_more_still_gets_its_answers(exchange: LocalExchange, connect: Connect) -> None:
    client = connect()
    client.sendall(b"{}\ncut o")
    client.sendall(b"ff")
    client.shutdown(socket.SHUT_WR)
    requests = [take_request(exchange) for _ in range(2)]
    settle(exchange)
    for request in requests:
        exchange.put_response(request, {"data": request["data"]})
    assert receive(client, 100) == b"{}\ncut off\n", "all answers, and then the end"


def test_a_last_request_that_waits_for_room_is_answered_though_the_client_sends_no_more(
    exchange: LocalExchange, connect: Connect
) -> None:
    client = connect()
    client.sendall(b"{}" * 64 + b"cut off")
    client.shutdown(socket.SHUT_WR)
    opened = [take_request(exchange) for _ in range(64)]
    settle(exchange)
    for request in opened:
        exchange.put_response(request, {"data": request["data"]})
    echo(exchange)
    assert receive(client, 1000) == b"{}\n" * 64 + b"cut off\n"


def test_an_answer_larger_than_any_buffer_arrives_whole(exchange: LocalExchange, connect: Connect) -> None:
    client = connect()
    client.sendall(b"{}")
    exchange.put_response(take_request(exchange), {"data": MORE_THAN_FITS})
    with served(exchange):
        assert receive(client, len(MORE_THAN_FITS) + 1) == MORE_THAN_FITS + b"\n"


# Waiting


def test_get_request_makes_no_system_call(exchange: LocalExchange, connect: Connect) -> None:
    connect().sendall(b"{}{}")
    while not exchange.wait(PATIENCE):
        pass
    called = []

    def profile(frame: FrameType, event: str, function: Any) -> None:
        if event == "c_call":
            called.append(function.__qualname__)

    sys.setprofile(profile)
    try:
        found = [exchange.get_request() for _ in range(3)]
    finally:
        sys.setprofile(None)
    assert [request is not None for request in found] == [True, True, False]
    assert called == ["deque.popleft", "deque.popleft", "setprofile"]


def test_any_number_of_wakes_ends_one_wait(exchange: LocalExchange) -> None:
    for _ in range(10_000):
        exchange.wake()
    assert exchange.wait(None) is False
    started = time.monotonic()
    assert exchange.wait(0.05) is False
    assert time.monotonic() - started >= 0.04, "the wakes are used up"


def test_a_wake_after_the_end_touches_no_file_that_was_opened_since(exchange: LocalExchange) -> None:
    exchange.close()
    with ExitStack() as opened:
        ends = [opened.enter_context(end) for _ in range(10) for end in socket.socketpair()]
        exchange.wake()
        for end in ends:
            with pytest.raises(BlockingIOError):
                end.recv(1, socket.MSG_DONTWAIT)


# The end


def test_closing_sends_what_is_left(exchange: LocalExchange, connect: Connect) -> None:
    client = connect()
    client.sendall(b"{}")
    answer = MORE_THAN_FITS[:1_000_000]  # closing takes a second at most
    exchange.put_response(take_request(exchange), {"data": answer})
    closer = threading.Thread(target=exchange.close)
    closer.start()
    assert receive(client, 2_000_000) == answer + b"\n"
    closer.join(PATIENCE)


def test_closing_does_not_wait_for_a_client_that_takes_no_answers(
    exchange: LocalExchange, connect: Connect, path: Path
) -> None:
    deaf, silent = connect(), connect()
    deaf.sendall(b"{}{}")
    first, second = take_request(exchange), take_request(exchange)
    exchange.put_response(first, {"data": MORE_THAN_FITS})
    closer = threading.Thread(target=exchange.close, daemon=True)
    closer.start()
    closer.join(PATIENCE)
    assert not closer.is_alive()
    assert silent.recv(1) == b""
    assert not path.exists()
    with pytest.raises(ExchangeError, match="went away"):
        exchange.put_response(second, {"data": b"{}"})
