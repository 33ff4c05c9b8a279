"""What every exchange has to keep."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Protocol

import pytest

from guestagent_core.errors import ResponseTooLargeError
from guestagent_core.protocols import Exchange, Waitable

if TYPE_CHECKING:
    from guestagent_core.protocols import Request

__all__ = ("ExchangeContract", "Question", "take_request")

_PATIENCE = 30.0  # seconds; how long anything here may take before it counts as hanging


class Question(Protocol):
    """One request, from the asking side; a vendor's test writes it for its transport.

    A class that also has ``vanish()``, which goes away without waiting for the answer, has that clause tested too.
    """

    def answer(self, timeout: float) -> bytes:
        """Waits up to ``timeout`` seconds for the answer and returns it as it went over the transport, unframed."""


Ask = Callable[[bytes], Question]


def take_request(exchange: Exchange, timeout: float = _PATIENCE) -> Request:
    """Returns the next request of ``exchange``, waiting for it as the dispatcher does.

    :raises AssertionError: there is none within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while (request := exchange.get_request()) is None:
        remaining = deadline - time.monotonic()
        assert remaining > 0, "get_request handed out nothing, though a request was made"
        if isinstance(exchange, Waitable):
            exchange.wait(remaining)
        else:
            time.sleep(0.01)
    return request


class ExchangeContract:
    """The clauses of :class:`~guestagent_core.protocols.Exchange`; a vendor's test gives the fixtures.

    - ``exchange``: a new one that nobody has asked anything; the contract closes it.
    - ``ask``: a function that makes a request of some bytes from the host's side and returns a :class:`Question`. Each
      call stands for another host, whose answer does not have to wait for those of others.
    """

    payloads: ClassVar[tuple[bytes, ...]] = (b"x", b'{"name": "version", "value": ""}', "{Grüße}".encode())
    """Requests, and answers, that the transport has to carry as they are."""
    request_limit: ClassVar[int | None] = None
    """The largest request in bytes; a larger one has to be handed over as an error."""
    answer_limit: ClassVar[int | None] = None
    """The largest answer in bytes; a larger one has to raise ResponseTooLargeError."""

    @pytest.fixture(autouse=True)
    def _closed_in_the_end(self, exchange: Exchange) -> object:
        yield
        close = getattr(exchange, "close", None)
        if close is not None:
            close()

    def test_it_is_an_exchange(self, exchange: Exchange) -> None:
        assert isinstance(exchange, Exchange), "an exchange has the methods get_request() and put_response()"

    def test_an_idle_exchange_has_no_request(self, exchange: Exchange) -> None:
        if isinstance(exchange, Waitable):
            assert exchange.wait(0) is False, "wait() returned True although nothing was asked"
        assert exchange.get_request() is None, "get_request() has to return None when nothing was asked"

    def test_requests_and_answers_arrive_as_they_are(self, exchange: Exchange, ask: Ask) -> None:
        for payload in self.payloads:
            question = ask(payload)
            request = take_request(exchange)
            data = request["data"]
            assert (data.encode() if isinstance(data, str) else data) == payload
            exchange.put_response(request, {"data": payload})
            assert question.answer(_PATIENCE) == payload

    def test_an_answer_may_be_text(self, exchange: Exchange, ask: Ask) -> None:
        question = ask(self.payloads[0])
        exchange.put_response(take_request(exchange), {"data": "{Grüße}", "another key": 1})
        assert question.answer(_PATIENCE) == "{Grüße}".encode()

    def test_a_request_is_handed_out_once(self, exchange: Exchange, ask: Ask) -> None:
        question = ask(self.payloads[0])
        request = take_request(exchange)
        self._nothing_more(exchange, "while it was open")
        exchange.put_response(request, {"data": b"{}"})
        question.answer(_PATIENCE)
        self._nothing_more(exchange, "after it was answered")

    def test_requests_come_in_order(self, exchange: Exchange, ask: Ask) -> None:
        first, second = b'{"number": 1}', b'{"number": 2}'
        questions = [ask(first)]
        if isinstance(exchange, Waitable):
            while not exchange.wait(_PATIENCE):
                pass
        questions.append(ask(second))
        for payload, question in zip((first, second), questions, strict=True):
            request = take_request(exchange)
            assert request["data"] in (payload, payload.decode()), "a later request was handed out first"
            exchange.put_response(request, {"data": b"{}"})
            question.answer(_PATIENCE)

    def test_several_may_be_open_and_are_answered_in_any_order(self, exchange: Exchange, ask: Ask) -> None:
        questions = {}
        requests = []
        for number in range(3):
            payload = b'{"number": %d}' % number
            questions[payload] = ask(payload)
            requests.append(take_request(exchange))
        for request in reversed(requests):
            exchange.put_response(request, {"data": request["data"]})
        for payload, question in questions.items():
            assert question.answer(_PATIENCE) == payload, "an answer went to somebody else's request"

    def test_a_request_that_is_too_large_is_handed_over_as_an_error(self, exchange: Exchange, ask: Ask) -> None:
        if self.request_limit is None:
            pytest.skip("this exchange has no request_limit")
        question = ask(b"{" + b" " * self.request_limit + b"}")
        request = take_request(exchange)
        assert "data" not in request
        assert isinstance(request["error"], str)
        exchange.put_response(request, {"data": b"{}"})
        assert question.answer(_PATIENCE) == b"{}"

    def test_an_answer_that_is_too_large_is_refused_and_can_be_replaced(self, exchange: Exchange, ask: Ask) -> None:
        if self.answer_limit is None:
            pytest.skip("this exchange has no answer_limit")
        question = ask(self.payloads[0])
        request = take_request(exchange)
        with pytest.raises(ResponseTooLargeError) as caught:
            exchange.put_response(request, {"data": b"x" * (self.answer_limit + 1)})
        exchange.put_response(request, {"data": b"x" * caught.value.limit})
        assert question.answer(_PATIENCE) == b"x" * caught.value.limit

    def test_a_discarded_request_is_closed(self, exchange: Exchange, ask: Ask) -> None:
        discard = getattr(exchange, "discard", None)
        if discard is None:
            pytest.skip("this exchange has no discard()")
        ask(self.payloads[0])
        discard(take_request(exchange))
        self._nothing_more(exchange, "after it was discarded")

    def test_an_answer_to_somebody_who_vanished_raises(self, exchange: Exchange, ask: Ask) -> None:
        question = ask(self.payloads[0])
        vanish = getattr(question, "vanish", None)
        if vanish is None:
            pytest.skip("these questions have no vanish()")
        request = take_request(exchange)
        vanish()
        failed = threading.Event()

        def put() -> None:
            try:
                exchange.put_response(request, {"data": b"{}"})
            except Exception:
                failed.set()

        thread = threading.Thread(target=put, daemon=True)
        thread.start()
        thread.join(_PATIENCE)
        assert not thread.is_alive(), "put_response() hangs when the peer is gone"
        assert failed.is_set(), "put_response() has to raise when the peer is gone"

    def test_wait_ends_with_its_timeout(self, exchange: Exchange) -> None:
        waitable = self._waitable(exchange)
        started = time.monotonic()
        assert waitable.wait(0.05) is False
        assert time.monotonic() - started >= 0.04, "wait() has to last as long as it was told"

    def test_wake_ends_the_next_wait(self, exchange: Exchange) -> None:
        waitable = self._waitable(exchange)
        waitable.wake()
        self._returns(lambda: waitable.wait(None), "wake() before wait() was lost")

    def test_wake_ends_a_running_wait(self, exchange: Exchange) -> None:
        waitable = self._waitable(exchange)
        waker = threading.Timer(0.05, waitable.wake)
        waker.start()
        self._returns(lambda: waitable.wait(None), "wake() did not end wait()")
        waker.join()

    def test_wait_has_read_what_get_request_hands_out(self, exchange: Exchange, ask: Ask) -> None:
        waitable = self._waitable(exchange)
        question = ask(self.payloads[0])
        while not waitable.wait(_PATIENCE):
            pass
        request = exchange.get_request()
        assert request is not None, "wait() returned True, but get_request() had nothing"
        exchange.put_response(request, {"data": b"{}"})
        question.answer(_PATIENCE)

    def test_it_closes_twice_and_from_another_thread(self, exchange: Exchange, ask: Ask) -> None:
        close = getattr(exchange, "close", None)
        if close is None:
            pytest.skip("this exchange has no close()")
        ask(self.payloads[0])
        take_request(exchange)
        self._returns(close, "close() hangs")
        self._returns(close, "close() hangs the second time")

    def _nothing_more(self, exchange: Exchange, when: str) -> None:
        if isinstance(exchange, Waitable):
            exchange.wait(0)
        assert exchange.get_request() is None, f"the request was handed out again {when}"

    def _waitable(self, exchange: Exchange) -> Waitable:
        if not isinstance(exchange, Waitable):
            pytest.skip("this exchange has no wait() and wake(): it is asked every second")
        return exchange

    def _returns(self, function: Callable[[], object], otherwise: str) -> None:
        failures: list[BaseException] = []

        def run() -> None:
            try:
                function()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(_PATIENCE)
        assert not thread.is_alive(), otherwise
        assert not failures, failures[0]
