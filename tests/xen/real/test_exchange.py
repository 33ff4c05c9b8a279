"""The exchange on the real daemons, as domain 0 and as a guest: the contract, values of all kinds and sizes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any, ClassVar

import pytest
from tests.xen.harness import Daemon, Guest

from guestagent_core import Dispatcher, ResponseTooLargeError
from guestagent_core.testing import ExchangeContract, take_request
from guestagent_xen import exchange as exchange_module
from guestagent_xen.connecting import connect
from guestagent_xen.exchange import XenStoreExchange
from guestagent_xen.session import Operation, Session

pytestmark = pytest.mark.real
READ, WATCH, WRITE, RM = 2, 4, 11, 13
EVERY_BYTE = bytes(range(256))


class Asker:
    """A host that writes and reads any bytes, which the distribution's programs do not."""

    def __init__(self, session: Session, home: str, name: str, value: bytes) -> None:
        self._session = session
        self._answer = f"{home}/data/guest/{name}".encode()
        session.call(WATCH, self._answer, name.encode())
        written = session.call_all(Operation(WRITE, f"{home}/data/host/{name}".encode() + b"\0" + value))
        assert written == [b"OK\0"]

    def answer(self, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        while True:
            (answer,) = self._session.call_all(Operation(READ, self._answer + b"\0"))
            if isinstance(answer, bytes):
                return answer
            token = self._answer.rpartition(b"/")[2]
            if not self._session.await_event(token, deadline - time.monotonic()):
                raise TimeoutError


@pytest.fixture
def exchange(place: Any) -> Iterator[XenStoreExchange]:
    with closing(XenStoreExchange(XenStoreExchange.Options(path=place.way))) as opened:
        opened.wait(0)  # the folder of the requests has to be the guest's own
        yield opened


@pytest.fixture
def ask(place: Any) -> Iterator[Callable[[bytes], Asker]]:
    numbers = itertools.count()
    with ExitStack() as stack:
        yield lambda value: Asker(
            stack.enter_context(closing(connect(place.daemon.socket, 10.0))), place.home, f"{next(numbers):036}", value
        )


class TestContract(ExchangeContract):
    entry_point = "xenstore"
    payloads: ClassVar = (*ExchangeContract.payloads, b"", EVERY_BYTE, b"\0", b"\n\n", b"x" * 1900)

    # Every daemon has a limit of its own, see below; no request is larger than a message, and no host can hang up.
    test_payloads_may_be_as_large_as_the_limit = None  # type: ignore[assignment]
    test_an_answer_that_is_too_large_is_refused_and_can_be_replaced = None  # type: ignore[assignment]
    test_a_request_that_is_too_large_is_handed_over_as_an_error = None  # type: ignore[assignment]
    test_an_answer_to_somebody_who_vanished_raises = None  # type: ignore[assignment]


def limit_in(place: Any) -> int:
    """Returns the size of the largest answer."""
    if place.daemon.name == "oxenstored":
        return 2048
    return 2015 if place.guest else 4096 - len(f"data/guest/{0:036}\0")


@pytest.mark.parametrize("size", [2015, 2016, 2048, 2049, 4048, 4080, 100_000])
def test_an_answer_arrives_or_is_refused_with_the_limit(place: Any, exchange: Any, ask: Any, size: int) -> None:
    limit = limit_in(place)
    question = ask(b"")
    request = take_request(exchange)
    while size > limit:
        with pytest.raises(ResponseTooLargeError) as caught:
            exchange.put_response(request, {"data": b"x" * size})
        assert limit <= caught.value.limit < size
        size = caught.value.limit  # first that of a message, perhaps, and then that of the daemon
    exchange.put_response(request, {"data": b"x" * size})
    assert question.answer(10.0) == b"x" * size


@pytest.mark.parametrize("size", [2015, 2016, 2048, 2049, 4080, 100_000])
def test_what_is_too_large_is_replaced_by_an_error(place: Any, exchange: Any, ask: Any, size: int) -> None:
    class Parser:
        def parse_request(self, request: Any) -> dict[str, bytes]:
            return {"data": b"x" * int(request["data"])}

        def encode_error(self, code: int, message: str) -> dict[str, str]:
            return {"data": f"{code} {message}"}

    question = ask(b"%d" % size)
    assert Dispatcher(exchange, Parser()).run_once(10.0)
    answer = question.answer(10.0)
    if size <= limit_in(place):
        assert answer == b"x" * size
    else:
        assert answer.startswith(b"500 ")


def test_a_watch_that_the_daemon_forgot_is_set_again(
    daemon: Daemon, guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_module, "_LOOK_ANYWAY", 0.2)
    with closing(XenStoreExchange(XenStoreExchange.Options(path=guest.device, timeout=0.2))) as exchange:
        assert not exchange.wait(0.1)
        guest.forgets_watches = True
        daemon.restart()
        daemon.host.write({f"{guest.home}/data/host/one": b"1"})
        request = take_request(exchange)  # the look finds it
        exchange.put_response(request, {"data": b"done"})
        assert daemon.host.read(f"{guest.home}/data/guest/one") == b"done"
        monkeypatch.setattr(exchange_module, "_LOOK_ANYWAY", 60.0)
        assert not exchange.wait(0.3)
        daemon.host.write({f"{guest.home}/data/host/two": b"2"})
        assert exchange.wait(5.0)  # an event tells of it
