"""What every exchange has to keep."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Protocol

import pytest

from guestagent_core.errors import ResponseTooLargeError
from guestagent_core.protocols import Exchange, Waitable

from .contract import Contract

if TYPE_CHECKING:
    from guestagent_core.protocols import Request

__all__ = ("ExchangeContract", "Question", "take_request", "wait_until")

_PATIENCE = 30.0  # seconds


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
        assert remaining > 0, f"get_request() handed out nothing within {timeout} s, though a request was made"
        if isinstance(exchange, Waitable):
            exchange.wait(remaining)
        else:
            time.sleep(0.01)
    return request


def wait_until(condition: Callable[[], object], timeout: float) -> None:
    """Returns once ``condition()`` is true; for transports that cannot be waited for.

    :raises AssertionError: it is not within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"what was waited for did not come within {timeout} s"
        time.sleep(0.005)


class ExchangeContract(Contract):
    """The clauses of :class:`~guestagent_core.protocols.Exchange`; a vendor's test gives the fixtures.

    - ``exchange``: a new one that nobody has asked anything; the contract closes it.
    - ``ask``: a function that makes a request of some bytes from the host's side and returns a :class:`Question`. Each
      call stands for another host, whose answer does not have to wait for those of others.
    """

    group = "guestagent.exchanges"
    payloads: ClassVar[tuple[bytes, ...]] = (b"x", b'{"name": "version", "value": ""}', "{Grüße}".encode())
    """Requests, and answers, that the transport has to carry as they are."""
    request_limit: ClassVar[int | None] = None
    """The largest request in bytes; a larger one has to be handed over as an error."""
    answer_limit: ClassVar[int | None] = None
    """The largest answer in bytes; a larger one has to raise ResponseTooLargeError."""

    @pytest.fixture(autouse=True)
    def _closed_in_the_end(self, exchange: Exchange) -> Iterator[None]:
        yield
        close = getattr(exchange, "close", None)
        if close is not None:
            close()

    def test_it_is_an_exchange(self, exchange: Exchange) -> None:
        """An exchange has the methods ``get_request()`` and ``put_response(request, response)``.

        Optional are ``wait(timeout)`` and ``wake()``, which come together, ``discard(request)``, ``close()`` and the
        class method ``available()``, which returns whether this machine has what the exchange needs.
        """
        assert isinstance(exchange, Exchange), "get_request() or put_response() is missing"
        if hasattr(exchange, "wait") or hasattr(exchange, "wake"):
            assert isinstance(exchange, Waitable), "wait() and wake() only work together"
        available = getattr(type(exchange), "available", None)
        assert available is None or isinstance(available(), bool), "available() has to return True or False"

    def test_an_idle_exchange_has_no_request(self, exchange: Exchange) -> None:
        """``get_request()`` returns None when nothing was asked, and does not wait for anything.

        Waiting is what ``wait(timeout)`` is for; ``wait(0)`` returns False then.
        """
        if isinstance(exchange, Waitable):
            waited = self.returns(lambda: exchange.wait(0), "wait(0) waits")
            assert waited is False, f"wait(0) returned {waited!r} although nothing was asked"
        request = self.returns(exchange.get_request, "get_request() waits for a request")
        assert request is None, "get_request() has to return None when nothing was asked"

    def test_requests_and_answers_arrive_as_they_are(self, exchange: Exchange, ask: Ask) -> None:
        """A request, and an answer, arrives as it was sent, byte by byte.

        ``request["data"]`` is what the host sent, without the framing of the transport. If the transport cannot carry
        the ``payloads`` of this contract, give those that it has to carry.
        """
        for payload in self.payloads:
            self._exchange(exchange, ask, payload, payload)

    def test_payloads_may_be_as_large_as_the_limit(self, exchange: Exchange, ask: Ask) -> None:
        """A request of ``request_limit`` bytes, and an answer of ``answer_limit`` bytes, passes.

        Compare with ``>`` and not with ``>=``, and do not count the framing; or give the real limit.
        """
        if self.request_limit is None and self.answer_limit is None:
            pytest.skip("this exchange has neither request_limit nor answer_limit")
        self._exchange(exchange, ask, _filled(self.request_limit), _filled(self.answer_limit))

    def test_an_answer_may_be_text(self, exchange: Exchange, ask: Ask) -> None:
        """An answer may be a str, which means UTF-8, and have keys that the exchange does not know.

        Encode it: ``data.encode() if isinstance(data, str) else data``.
        """
        question = ask(self.payloads[0])
        exchange.put_response(take_request(exchange, self.patience), {"data": "{Grüße}", "another key": 1})
        assert question.answer(self.patience) == "{Grüße}".encode()

    def test_a_request_is_handed_out_once(self, exchange: Exchange, ask: Ask) -> None:
        """A request is handed out once while it is open.

        Remember in ``get_request()`` what was handed out and is not answered yet.
        """
        question = ask(self.payloads[0])
        request = take_request(exchange, self.patience)
        self._nothing_more(exchange, "while it was open")
        exchange.put_response(request, {"data": b"{}"})
        question.answer(self.patience)

    def test_a_request_is_answered_once(self, exchange: Exchange, ask: Ask) -> None:
        """A request that is answered is over: it is not handed out again.

        Take it out of the transport when its answer has been put, and not before.
        """
        question = ask(self.payloads[0])
        exchange.put_response(take_request(exchange, self.patience), {"data": b"{}"})
        question.answer(self.patience)
        self._nothing_more(exchange, "after it was answered")

    def test_requests_come_in_order(self, exchange: Exchange, ask: Ask) -> None:
        """Two requests are handed out in the order in which they were made.

        Keep what came in a queue, and read a folder sorted by time and name.
        """
        first, second = b'{"number": 1}', b'{"number": 2}'
        questions = [ask(first)]
        if isinstance(exchange, Waitable):
            self._wait_for_request(exchange)
        questions.append(ask(second))
        for payload, question in zip((first, second), questions, strict=True):
            request = take_request(exchange, self.patience)
            assert _bytes(request["data"]) == payload, "a later request was handed out first"
            exchange.put_response(request, {"data": b"{}"})
            question.answer(self.patience)

    def test_several_may_be_open_and_are_answered_in_any_order(self, exchange: Exchange, ask: Ask) -> None:
        """Several requests may be open at a time, and are answered in any order.

        Find out in ``put_response(request, response)`` by ``request``, which is the very object that ``get_request()``
        returned, who gets the answer: put what you need for that into the request.
        """
        questions = {}
        requests = []
        for number in range(3):
            payload = b'{"number": %d}' % number
            questions[payload] = ask(payload)
            requests.append(take_request(exchange, self.patience))
        for request in reversed(requests):
            exchange.put_response(request, {"data": request["data"]})
        for payload, question in questions.items():
            assert question.answer(self.patience) == payload, "an answer went to somebody else's request"

    def test_it_works_in_one_thread_after_another(self, exchange: Exchange, ask: Ask) -> None:
        """The methods are called by one thread at a time, but not always by the same one.

        Keep nothing that belongs to a thread: no thread-local, no connection that only works where it was opened.
        """
        for payload in self.payloads:
            question = ask(payload)
            request = self.returns(lambda: take_request(exchange, self.patience), "get_request() hangs")
            response = {"data": payload}
            self.returns(lambda: exchange.put_response(request, response), "put_response() hangs")  # noqa: B023 - now
            assert question.answer(self.patience) == payload

    def test_a_request_that_is_too_large_is_handed_over_as_an_error(self, exchange: Exchange, ask: Ask) -> None:
        """A request that is larger than ``request_limit`` is handed over as an error, and answered like any other.

        Hand out ``{"error": "The request is larger than ... bytes"}`` without ``data``; the dispatcher answers it.
        """
        if self.request_limit is None:
            pytest.skip("this exchange has no request_limit")
        question = ask(b"{" + b" " * self.request_limit + b"}")
        request = take_request(exchange, self.patience)
        assert "data" not in request, "a request that is too large was handed out as if it were not"
        assert isinstance(request["error"], str), "request['error'] has to say, in words, what is wrong"
        exchange.put_response(request, {"data": b"{}"})
        assert question.answer(self.patience) == b"{}"

    def test_an_answer_that_is_too_large_is_refused_and_can_be_replaced(self, exchange: Exchange, ask: Ask) -> None:
        """An answer that is larger than ``answer_limit`` raises ResponseTooLargeError, and another one can be put.

        Check the size before anything is sent, raise ``ResponseTooLargeError(limit)``, and keep the request open: the
        dispatcher puts a short answer in its place.
        """
        if self.answer_limit is None:
            pytest.skip("this exchange has no answer_limit")
        question = ask(self.payloads[0])
        request = take_request(exchange, self.patience)
        with pytest.raises(ResponseTooLargeError) as caught:
            exchange.put_response(request, {"data": b"x" * (self.answer_limit + 1)})
        exchange.put_response(request, {"data": b"x" * caught.value.limit})
        assert question.answer(self.patience) == b"x" * caught.value.limit

    def test_a_discarded_request_is_closed(self, exchange: Exchange, ask: Ask) -> None:
        """A request that was discarded is over: it is not handed out again.

        Do in ``discard(request)`` what ``put_response`` does, without an answer.
        """
        discard = getattr(exchange, "discard", None)
        if discard is None:
            pytest.skip("this exchange has no discard()")
        ask(self.payloads[0])
        discard(take_request(exchange, self.patience))
        self._nothing_more(exchange, "after it was discarded")

    def test_an_answer_to_somebody_who_vanished_raises(self, exchange: Exchange, ask: Ask) -> None:
        """An answer that cannot be delivered, because the peer is gone, raises; it is not waited for.

        Raise ExchangeError, so that the log tells of it, and set a time-out for whatever might block.
        """
        question = ask(self.payloads[0])
        vanish = getattr(question, "vanish", None)
        if vanish is None:
            pytest.skip("these questions have no vanish()")
        request = take_request(exchange, self.patience)
        vanish()

        def put() -> bool:
            try:
                exchange.put_response(request, {"data": b"{}"})
            except Exception:
                return True
            return False

        raised = self.returns(put, "put_response() hangs when the peer is gone")
        assert raised, "put_response() has to raise when the peer is gone"

    def test_wait_ends_with_its_timeout(self, exchange: Exchange) -> None:
        """``wait(timeout)`` lasts that many seconds when nothing comes, no longer and no shorter, and returns False.

        Give the time to what you wait with, such as ``select``, and go on waiting for the rest of it when something
        came that is no request.
        """
        waitable = self._waitable(exchange)
        started = time.monotonic()
        waited = self.returns(lambda: waitable.wait(0.05), "wait(0.05) does not end")
        assert waited is False, f"wait(0.05) returned {waited!r} although nothing was asked"
        assert time.monotonic() - started >= 0.04, "wait(0.05) ended early: an agent would be busy for nothing"

    def test_wake_ends_the_next_wait(self, exchange: Exchange) -> None:
        """``wake()`` before ``wait()`` is not lost: the next ``wait()`` returns at once.

        Wait for something that stays set, such as a byte in a pipe or an Event, and clear it in ``wait()``.
        """
        waitable = self._waitable(exchange)
        waitable.wake()
        self.returns(lambda: waitable.wait(None), "wake() before wait() was lost")

    def test_wake_ends_a_running_wait(self, exchange: Exchange) -> None:
        """``wake()``, from any thread, makes a running ``wait()`` return.

        An answer may be ready, or the agent may want to stop: wait for the transport and for ``wake()`` together.
        """
        waitable = self._waitable(exchange)
        waker = threading.Timer(0.05, waitable.wake)
        waker.start()
        self.returns(lambda: waitable.wait(None), "wake() did not end wait()")
        waker.join()

    def test_wait_has_read_what_get_request_hands_out(self, exchange: Exchange, ask: Ask) -> None:
        """When ``wait()`` has returned True, ``get_request()`` has a request.

        Read from the transport in ``wait()``, and only hand out in ``get_request()``.
        """
        waitable = self._waitable(exchange)
        question = ask(self.payloads[0])
        self._wait_for_request(waitable)
        request = exchange.get_request()
        assert request is not None, "wait() returned True, but get_request() had nothing"
        exchange.put_response(request, {"data": b"{}"})
        question.answer(self.patience)

    def test_it_closes_twice_and_from_another_thread(self, exchange: Exchange, ask: Ask) -> None:
        """``close()`` may be called twice, and by a thread that did not use the exchange; it never hangs.

        Remember that it is closed, and flush for at most a second.
        """
        close = getattr(exchange, "close", None)
        if close is None:
            pytest.skip("this exchange has no close()")
        ask(self.payloads[0])
        take_request(exchange, self.patience)
        self.returns(close, "close() hangs")
        self.returns(close, "close() hangs the second time")

    def test_it_is_found_by_its_entry_point(self, exchange: Exchange) -> None:
        """The installed package offers the exchange by its entry point.

        Name the class in ``[project.entry-points."guestagent.exchanges"]`` and install the package anew.
        """
        from guestagent_core.discovery import load

        plugin = self.offered()
        found = load(plugin)
        assert callable(found), f"{plugin.entry_point.value} is nothing that an exchange could be built by"
        if isinstance(found, type):
            assert isinstance(exchange, found), f"{plugin.entry_point.value} is not what this test tests"

    def _exchange(self, exchange: Exchange, ask: Ask, payload: bytes, answer: bytes) -> None:
        question = ask(payload)
        request = take_request(exchange, self.patience)
        assert isinstance(request, Mapping), "a request is a mapping"
        assert "data" in request, f"the request has no data, but says: {request.get('error')}"
        assert _bytes(request["data"]) == payload
        exchange.put_response(request, {"data": answer})
        assert question.answer(self.patience) == answer

    def _wait_for_request(self, waitable: Waitable) -> None:
        deadline = time.monotonic() + self.patience
        while not waitable.wait(self.patience):
            assert time.monotonic() < deadline, "wait() never returned True, though a request was made"

    def _nothing_more(self, exchange: Exchange, when: str) -> None:
        if isinstance(exchange, Waitable):
            exchange.wait(0)
        assert exchange.get_request() is None, f"the request was handed out again {when}"

    def _waitable(self, exchange: Exchange) -> Waitable:
        if not isinstance(exchange, Waitable):
            pytest.skip("this exchange has no wait() and wake(): it is asked every second")
        return exchange


def _bytes(data: bytes | str) -> bytes:
    return data.encode() if isinstance(data, str) else bytes(data)


def _filled(limit: int | None) -> bytes:
    return b"{}" if limit is None else b"{" + b"x" * (limit - 2) + b"}"
