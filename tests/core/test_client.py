"""The client of the local channel: each request gets its own answer, or an error that says why not."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Literal

import pytest

from guestagent_core.client import LocalClient
from guestagent_core.errors import ExchangeError
from guestagent_core.local import LocalExchange

PATIENCE = 30.0  # seconds until something counts as hanging


@pytest.fixture
def path(folder: Path) -> Path:
    """Where the agent listens."""
    return folder / "s"


@contextmanager
def agent(
    path: Path, answer: Callable[[bytes], bytes | None] = bytes, framing: Literal["json", "line"] = "json"
) -> Iterator[list[bytes]]:
    """Runs an agent that answers what ``answer`` returns, with None nothing; gives the list of what it was asked."""
    asked: list[bytes] = []
    stopped = threading.Event()

    def serve(exchange: LocalExchange) -> None:
        while not stopped.is_set():
            exchange.wait(None)
            for request in iter(exchange.get_request, None):
                asked.append(request["data"])
                data = answer(request["data"])
                with suppress(ExchangeError):  # some of these clients do not wait for their answer
                    exchange.discard(request) if data is None else exchange.put_response(request, {"data": data})

    with closing(LocalExchange(LocalExchange.Options(path=path, framing=framing))) as exchange:
        thread = threading.Thread(target=serve, args=(exchange,))
        thread.start()
        try:
            yield asked
        finally:
            stopped.set()
            exchange.wake()
            thread.join(PATIENCE)


@contextmanager
def fake_agent(path: Path, *connections: Callable[[socket.socket], object]) -> Iterator[None]:
    """Listens, and has each of ``connections`` treat one connection, in turn."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.settimeout(PATIENCE)
        listening.bind(os.fspath(path))
        listening.listen()

        def serve() -> None:
            for treat in connections:
                connected, _ = listening.accept()
                with connected:
                    treat(connected)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            thread.join(PATIENCE)


def failure(client: LocalClient, data: bytes = b"{}") -> str:
    """Fails unless the client gets no answer; returns why."""
    with pytest.raises(ExchangeError) as caught:
        client.request(data)
    return str(caught.value)


# Answers


def test_a_client_connects_once_and_asks_as_often_as_it_likes(path: Path) -> None:
    with LocalClient(path) as client, agent(path) as asked:
        for number in range(100):
            assert client.request(b'{"number": %d}' % number) == b'{"number": %d}' % number
    assert len(asked) == 100


@pytest.mark.parametrize(
    "data",
    [b'{"a": 1}', b'{"a": 1}\n', b'{"a":\n1}\n\n', b"hello?", b'[{"a": 1}]', b'"x', b"{" + b" " * 1_000_000 + b"}"],
)
def test_one_message_gets_one_answer_with_or_without_a_newline(path: Path, data: bytes) -> None:
    with LocalClient(path) as client, agent(path, lambda message: b'{"size": %d}' % len(message)):
        assert client.request(data).startswith(b'{"size": ')
        assert client.request(b'{"next": 1}') == b'{"size": 11}', "not a second answer to the first request"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b" \n\n", id="blank"),
        pytest.param(b"{}{}", id="two objects"),
        pytest.param(b"a\nb", id="two lines"),
        pytest.param(b'{"a": "x\ny"}', id="a newline inside a string"),
        pytest.param(b'{"a": ', id="an open object"),
        pytest.param(b'{} {"a": ', id="an object and an open one"),
    ],
)
def test_what_is_not_one_message_is_an_error_and_is_not_sent(path: Path, data: bytes) -> None:
    with LocalClient(path) as client, agent(path) as asked:
        with pytest.raises(ValueError, match="not one message in the framing 'json'"):
            client.request(data)
        assert client.request(b'{"a": 1}') == b'{"a": 1}'
    assert asked == [b'{"a": 1}']


def test_with_line_framing_a_line_is_a_message(path: Path) -> None:
    with LocalClient(path, framing="line") as client, agent(path, framing="line"):
        for message in (b"{}{}", b'{"a": ', b""):
            assert client.request(message) == message
        with pytest.raises(ValueError, match="not one message in the framing 'line'"):
            client.request(b'{"a":\n1}')


def test_a_large_answer_arrives_whole(path: Path) -> None:
    answer = b'{"a": "' + b"x" * 5_000_000 + b'"}'
    with LocalClient(path) as client, agent(path, lambda message: answer):
        assert client.request(b"{}") == answer


def test_an_answer_may_come_in_pieces(path: Path) -> None:
    def answer_bytewise(connected: socket.socket) -> None:
        connected.recv(100)
        for byte in b'{"a": 1}\n':
            connected.sendall(bytes([byte]))

    with LocalClient(path) as client, fake_agent(path, answer_bytewise):
        assert client.request(b"{}") == b'{"a": 1}'


def test_many_clients_at_once_get_their_own_answers(path: Path) -> None:
    answers: dict[int, bytes] = {}

    def ask(number: int) -> None:
        with LocalClient(path) as client:
            answers[number] = client.request(b'{"number": %d}' % number)

    with agent(path):
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert answers == {number: b'{"number": %d}' % number for number in range(50)}


def test_a_client_waits_until_it_can_connect(path: Path) -> None:
    answers: list[bytes] = []
    with ExitStack() as opened:
        listening, first = (opened.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        listening.bind(os.fspath(path))
        listening.listen(0)
        first.connect(os.fspath(path))  # and the queue is full
        hasty, patient = LocalClient(path, timeout=0.05), opened.enter_context(LocalClient(path, timeout=PATIENCE))
        assert failure(hasty) == f"{path}: no answer within 0.05 s"
        thread = threading.Thread(target=lambda: answers.append(patient.request(b"{}")))
        thread.start()
        thread.join(0.05)
        for _ in range(2):
            connected = opened.enter_context(listening.accept()[0])
        connected.sendall(b'{"a": 1}\n')
        thread.join(PATIENCE)
    assert answers == [b'{"a": 1}']


# No answer


@pytest.mark.parametrize("stale", [False, True])
def test_without_an_agent_there_is_an_error_that_says_so(path: Path, stale: bool) -> None:
    if stale:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(os.fspath(path))
    assert failure(LocalClient(path)) == f"{path}: no agent listens there; is it running?"


def test_a_path_that_is_too_long_is_an_error_that_says_so() -> None:
    assert "a socket's path may have 107 bytes, and this one has 108" in failure(LocalClient("/" + "x" * 107))


def test_an_agent_that_is_back_is_connected_to_again(path: Path) -> None:
    with LocalClient(path) as client:
        with agent(path):
            assert client.request(b"{}") == b"{}"
        assert "the agent hung up" in failure(client)
        assert "no agent listens there" in failure(client)
        with agent(path):
            assert client.request(b"{}") == b"{}"


@pytest.mark.parametrize("read", [0, 1, 100], ids=["nothing", "a part", "all"])
def test_an_agent_that_hangs_up_is_an_error_whatever_it_has_read(path: Path, read: int) -> None:
    with LocalClient(path) as client, fake_agent(path, lambda connected: read and connected.recv(read)):
        assert failure(client) == f"{path}: the agent hung up without an answer; may this user connect?"


def test_an_answer_that_comes_too_late_is_an_error_and_not_taken_for_the_next_one(path: Path) -> None:
    gave_up = threading.Event()

    def answer(message: bytes) -> bytes:
        if b"slow" in message:
            gave_up.wait(PATIENCE)
        return message

    with agent(path, answer), LocalClient(path, timeout=0.05) as hasty:
        assert failure(hasty, b'{"slow": 1}') == f"{path}: no answer within 0.05 s"
        hasty._timeout = PATIENCE
        gave_up.set()
        assert hasty.request(b'{"next": 1}') == b'{"next": 1}'


def test_an_answer_to_a_request_that_was_interrupted_is_not_taken_for_the_next_one(path: Path) -> None:
    class InterruptedByTest(BaseException):
        pass

    main = threading.get_ident()
    gave_up = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise InterruptedByTest

    def answer(message: bytes) -> bytes:
        if b"slow" in message:
            signal.pthread_kill(main, signal.SIGUSR1)
            gave_up.wait(PATIENCE)
        return message

    previous = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with agent(path, answer), LocalClient(path) as client:
            with pytest.raises(InterruptedByTest):
                client.request(b'{"slow": 1}')
            gave_up.set()
            assert client.request(b'{"next": 1}') == b'{"next": 1}'
    finally:
        signal.signal(signal.SIGUSR1, previous)


def test_an_agent_that_sends_on_and_on_does_not_hold_a_client_beyond_its_time(path: Path) -> None:
    def babble(connected: socket.socket) -> None:
        connected.settimeout(PATIENCE)
        with suppress(BrokenPipeError, ConnectionResetError):
            while True:
                connected.sendall(b" ")

    with fake_agent(path, babble), LocalClient(path, timeout=0.2) as client:
        assert failure(client) == f"{path}: no answer within 0.2 s"


def test_an_agent_that_does_not_read_does_not_hold_a_client_beyond_its_time(path: Path) -> None:
    gave_up = threading.Event()
    request = b'{"a": "' + b"x" * 5_000_000 + b'"}'
    with fake_agent(path, lambda connected: gave_up.wait(PATIENCE)), LocalClient(path, timeout=0.2) as client:
        assert failure(client, request) == f"{path}: no answer within 0.2 s"
        gave_up.set()


def test_an_answer_beyond_every_measure_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guestagent_core.client._LONGEST_ANSWER", 10)
    with agent(path, lambda message: b'{"a": "%s"}' % (b"x" * 10)), LocalClient(path) as client:
        assert failure(client) == f"{path}: the answer is larger than 10 bytes"


@pytest.mark.parametrize("timeout", [None, float("inf"), 1e10])
def test_without_a_time_out_a_client_waits(path: Path, timeout: float | None) -> None:
    with agent(path), LocalClient(path, timeout=timeout) as client:
        assert client.request(b"{}") == b"{}"


def test_a_client_may_be_closed_again_and_used_again(path: Path) -> None:
    client = LocalClient(path)
    client.close()
    with agent(path):
        assert client.request(b"{}") == b"{}"
        client.close()
        client.close()
        assert client.request(b"{}") == b"{}"
        client.close()
