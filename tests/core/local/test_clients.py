"""The local exchange: what its clients cannot do to each other, however they behave."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guestagent_core.errors import ExchangeError
from guestagent_core.local import LocalExchange
from guestagent_core.protocols import Request
from guestagent_core.readiness import AdaptiveSelector
from guestagent_core.testing import take_request

from .asking import MORE_THAN_FITS, PATIENCE, Connect, ask, receive, served, settle

MESSAGE = b'{"padding": "' + b"x" * 900 + b'"}'


def test_any_number_of_clients_is_served(exchange: LocalExchange, connect: Connect) -> None:
    clients = []
    for _ in range(300):
        clients.append(connect())
        exchange.wait(0)
    for client in reversed(clients):
        ask(exchange, client)
    for client in clients[1:]:
        client.close()
    settle(exchange)
    ask(exchange, clients[0])
    ask(exchange, connect())


def test_silent_slow_deaf_and_dead_clients_delay_nobody(exchange: LocalExchange, connect: Connect) -> None:
    silent, slow, deaf, dead, unanswered = (connect() for _ in range(5))
    deaf.sendall(b"{}")
    exchange.put_response(take_request(exchange), {"data": MORE_THAN_FITS})
    for client in (dead, unanswered):
        client.sendall(b"{}")
        take_request(exchange)
    dead.close()
    slow.sendall(b'{"name": ')
    ask(exchange, connect())
    ask(exchange, silent)
    slow.sendall(b'"x"}')
    assert take_request(exchange)["data"] == b'{"name": "x"}'


def fill(exchange: LocalExchange, client: socket.socket, answer: Callable[[Request], object]) -> int:
    """Sends requests and answers them until the exchange reads no more; returns how many were sent."""
    client.setblocking(False)
    sent = 0
    while sent < 20_000:
        try:
            client.sendall(MESSAGE)
            sent += 1
        except BlockingIOError:
            settle(exchange)
            requests = list(iter(exchange.get_request, None))
            if not requests:
                client.settimeout(PATIENCE)
                return sent
            for request in requests:
                answer(request)
    pytest.fail("the exchange reads on and on")


def test_a_client_that_takes_no_answers_is_not_read_until_it_does(exchange: LocalExchange, connect: Connect) -> None:
    client = connect()
    sent = fill(exchange, client, lambda request: exchange.put_response(request, {"data": request["data"]}))
    ask(exchange, connect())
    with served(exchange):
        assert receive(client, sent * (len(MESSAGE) + 1)) == (MESSAGE + b"\n") * sent


def test_a_client_with_many_open_requests_is_not_read_until_they_are_answered(
    exchange: LocalExchange, connect: Connect
) -> None:
    client = connect()
    opened: list[Request] = []
    sent = fill(exchange, client, opened.append)
    assert len(opened) == 64 < sent
    ask(exchange, connect())
    for request in opened:
        exchange.put_response(request, {"data": request["data"]})
    with served(exchange):
        assert receive(client, sent * (len(MESSAGE) + 1)) == (MESSAGE + b"\n") * sent


def test_a_flood_of_one_client_lets_others_in_between(exchange: LocalExchange, connect: Connect) -> None:
    connect().sendall(b"{}" * 10_000)
    first = take_request(exchange)
    other = connect()
    other.sendall(b'{"other": 1}')
    settle(exchange)
    exchange.put_response(first, {"data": b"{}"})
    handed_out = [first]
    while handed_out[-1]["data"] == b"{}":
        handed_out.append(take_request(exchange))
        exchange.put_response(handed_out[-1], {"data": b"{}"})
    assert len(handed_out) <= 4 * 64  # accepted in one round, read in the next
    assert receive(other, 3) == b"{}\n"


@pytest.mark.parametrize("sending", [False, True], ids=["idle", "sending"])
@pytest.mark.parametrize("noticed", [False, True], ids=["unnoticed", "noticed"])
def test_whatever_is_put_to_a_client_that_vanished_is_an_error(
    exchange: LocalExchange, connect: Connect, noticed: bool, sending: bool
) -> None:
    client = connect()
    client.sendall(b"{}{}{}{}")
    requests = [take_request(exchange) for _ in range(4)]
    if sending:
        exchange.put_response(requests.pop(0), {"data": MORE_THAN_FITS})
    client.close()
    if noticed:
        settle(exchange)
    for request in requests[:-1]:
        with pytest.raises(ExchangeError, match="went away before it had its answer"):
            exchange.put_response(request, {"data": b"{}"})
    with pytest.raises(ExchangeError, match="went away"):
        exchange.discard(requests[-1])
    ask(exchange, connect())


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """Gets the time-out of each round of selecting from here on."""
    rounds: list[float | None] = []
    select = AdaptiveSelector.select

    def counting(selector: AdaptiveSelector[Any], timeout: float | None) -> list[tuple[Any, int]]:
        rounds.append(timeout)
        return select(selector, timeout)

    monkeypatch.setattr(AdaptiveSelector, "select", counting)
    return rounds


@pytest.mark.parametrize("how", [socket.SHUT_WR, socket.SHUT_RD, socket.SHUT_RDWR, None])
@pytest.mark.parametrize(
    ("requests", "answer"), [(1, None), (100, None), (1, MORE_THAN_FITS)], ids=["a request", "many", "an answer"]
)
def test_a_client_that_hung_up_while_something_is_open_keeps_nobody_busy(
    rounds: list[float | None],
    exchange: LocalExchange,
    connect: Connect,
    requests: int,
    answer: bytes | None,
    how: int | None,
) -> None:
    client = connect()
    client.sendall(b"{}" * requests)
    opened = [take_request(exchange) for _ in range(min(requests, 64))]
    if answer is not None:
        exchange.put_response(opened[0], {"data": answer})
    client.close() if how is None else client.shutdown(how)
    settle(exchange)
    rounds.clear()
    assert exchange.wait(0.1) is False
    assert 1 <= len(rounds) <= 5


OUT_OF_DESCRIPTORS = """
import os, resource, socket, sys
from pathlib import Path

from guestagent_core.local import LocalExchange
from guestagent_core.readiness import AdaptiveSelector

rounds = []
def select(selector, timeout, select=AdaptiveSelector.select):
    rounds.append(timeout)
    return select(selector, timeout)
AdaptiveSelector.select = select

def ask(client):
    client.sendall(b"{}")
    while (request := exchange.get_request()) is None:
        exchange.wait(30)
    exchange.put_response(request, {"data": b"{}"})
    assert client.recv(3) == b"{}\\n"

exchange = LocalExchange(LocalExchange.Options(path=Path(sys.argv[1])))
first, second = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
first.connect(sys.argv[1])
ask(first)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
lowest_free = os.dup(0)
os.close(lowest_free)
resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
second.connect(sys.argv[1])
rounds.clear()
exchange.wait(0.2)
assert 1 <= len(rounds) <= 5, rounds
ask(first)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
ask(second)
exchange.close()
"""


def test_out_of_descriptors_clients_wait_and_the_connected_ones_are_served(path: Path) -> None:
    command = [sys.executable, "-c", OUT_OF_DESCRIPTORS, str(path)]
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("No client can connect for the next 1 s: [Errno 24]") == 1, ended.stderr
