"""Exchanges that each break one clause of the contract: `breaks` says which one. Not collected; see test_broken.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from guestagent_core.errors import ResponseTooLargeError
from guestagent_core.testing import ExchangeContract, MemoryExchange

LIMIT = 100


class Sound(MemoryExchange):
    """Keeps every clause, and has a limit for requests too."""

    def __init__(self) -> None:
        super().__init__(LIMIT)

    def wait(self, timeout: float | None) -> bool:
        ready = super().wait(timeout)
        for request in self._read:
            if len(request.get("data", b"")) > LIMIT:
                del request["data"]  # type: ignore[attr-defined]  # they are dicts
                request["error"] = "too large"  # type: ignore[index]
        return ready


class Held(ExchangeContract):
    patience = 0.5
    request_limit = answer_limit = LIMIT
    make: ClassVar[Callable[[], Any]] = Sound
    breaks: ClassVar[str]

    @pytest.fixture
    def exchange(self) -> Any:
        return type(self).make()

    @pytest.fixture
    def ask(self, exchange: Any) -> Any:
        return exchange.ask


class TestSound(Held):
    breaks = ""


class TestHasNoWake(Held):
    breaks = "test_it_is_an_exchange"

    class make(Sound):  # noqa: N801 - it stands for the function that makes one
        wake: Any = None


class TestTellsOfAnEmptyRequest(Held):
    breaks = "test_an_idle_exchange_has_no_request"

    class make(Sound):  # noqa: N801
        def get_request(self) -> Any:
            return super().get_request() or {}


class TestWaitsInGetRequest(Held):
    breaks = "test_an_idle_exchange_has_no_request"

    class make(Sound):  # noqa: N801
        def get_request(self) -> Any:
            while not self.wait(0.1) and not self.closed:
                pass
            return super().get_request()


class TestStripsWhatIsSent(Held):
    breaks = "test_requests_and_answers_arrive_as_they_are"
    payloads = (b" x ",)

    class make(Sound):  # noqa: N801
        def get_request(self) -> Any:
            request = super().get_request()
            return request and {**request, "data": request["data"].strip()}


class TestRefusesTheLimitItself(Held):
    breaks = "test_payloads_may_be_as_large_as_the_limit"

    class make(Sound):  # noqa: N801
        def put_response(self, request: Any, response: Any) -> None:
            if len(response["data"]) >= LIMIT:
                raise ResponseTooLargeError(LIMIT)
            super().put_response(request, response)


class TestTakesNoText(Held):
    breaks = "test_an_answer_may_be_text"

    class make(Sound):  # noqa: N801
        def put_response(self, request: Any, response: Any) -> None:
            super().put_response(request, {"data": response["data"] + b""})


class TestHandsOutTwice(Held):
    breaks = "test_a_request_is_handed_out_once"

    class make(Sound):  # noqa: N801
        _last: Any = None

        def get_request(self) -> Any:
            self._last = super().get_request() or self._last
            return self._last

        def put_response(self, request: Any, response: Any) -> None:
            self._last = None
            super().put_response(request, response)


class TestForgetsToTakeAway(Held):
    breaks = "test_a_request_is_answered_once"

    class make(Sound):  # noqa: N801
        def put_response(self, request: Any, response: Any) -> None:
            super().put_response(request, response)
            self._read.append(request)


class TestTakesTheLastFirst(Held):
    breaks = "test_requests_come_in_order"

    class make(Sound):  # noqa: N801
        def get_request(self) -> Any:
            self.wait(0)
            return self._read.pop() if self._read else None


class TestAnswersWhoeverCameLast(Held):
    breaks = "test_several_may_be_open_and_are_answered_in_any_order"

    class make(Sound):  # noqa: N801
        _last: Any = None

        def get_request(self) -> Any:
            self._last = super().get_request() or self._last
            return self._last if self._last and not self._last.get("done") and not self._given() else None

        def _given(self) -> bool:
            given, self._last["given"] = self._last.get("given"), True
            return bool(given)

        def put_response(self, request: Any, response: Any) -> None:
            super().put_response(self._last, response)


class TestBelongsToOneThread(Held):
    breaks = "test_it_works_in_one_thread_after_another"

    class make(Sound):  # noqa: N801
        _mine: Any = None

        def get_request(self) -> Any:
            self._mine = self._mine or threading.current_thread()
            assert self._mine is threading.current_thread(), "this connection was opened in another thread"
            return super().get_request()


class TestHandsOutWhatIsTooLarge(Held):
    breaks = "test_a_request_that_is_too_large_is_handed_over_as_an_error"

    class make(Sound):  # noqa: N801
        def wait(self, timeout: float | None) -> bool:
            return MemoryExchange.wait(self, timeout)


class TestForgetsWhoGotTooMuch(Held):
    breaks = "test_an_answer_that_is_too_large_is_refused_and_can_be_replaced"

    class make(Sound):  # noqa: N801
        def put_response(self, request: Any, response: Any) -> None:
            question = request.pop("question")  # and when the second answer comes, it is gone
            super().put_response({**request, "question": question}, response)


class TestCutsOffWhatIsTooLarge(Held):
    breaks = "test_an_answer_that_is_too_large_is_refused_and_can_be_replaced"

    class make(Sound):  # noqa: N801
        def put_response(self, request: Any, response: Any) -> None:
            super().put_response(request, {"data": response["data"][:LIMIT]})


class TestKeepsWhatWasDiscarded(Held):
    breaks = "test_a_discarded_request_is_closed"

    class make(Sound):  # noqa: N801
        def discard(self, request: Any) -> None:
            self._read.append(request)


class TestSaysNothingOfLostAnswers(Held):
    breaks = "test_an_answer_to_somebody_who_vanished_raises"

    class make(Sound):  # noqa: N801
        def put_response(self, request: Any, response: Any) -> None:
            if not request["question"].vanished:
                super().put_response(request, response)


class TestWaitsForThoseWhoVanished(Held):
    breaks = "test_an_answer_to_somebody_who_vanished_raises"

    class make(Sound):  # noqa: N801
        def put_response(self, request: Any, response: Any) -> None:
            if request["question"].vanished:
                threading.Event().wait(5)
            super().put_response(request, response)


class TestWaitsNotAtAll(Held):
    breaks = "test_wait_ends_with_its_timeout"

    class make(Sound):  # noqa: N801
        def wait(self, timeout: float | None) -> bool:
            return super().wait(0 if timeout else timeout)


class TestWaitsForEver(Held):
    breaks = "test_wait_ends_with_its_timeout"

    class make(Sound):  # noqa: N801
        def wait(self, timeout: float | None) -> bool:
            return super().wait(None)


class TestLosesAnEarlyWake(Held):
    breaks = "test_wake_ends_the_next_wait"

    class make(Sound):  # noqa: N801
        def wake(self) -> None:
            super().wake()
            time.sleep(0.05)  # whoever waits at this moment has seen it
            self._woken = False


class TestCannotBeWoken(Held):
    breaks = "test_wake_ends_a_running_wait"

    class make(Sound):  # noqa: N801
        def wake(self) -> None:
            self._woken = True


class TestPromisesTooMuch(Held):
    breaks = "test_wait_has_read_what_get_request_hands_out"

    class make(Sound):  # noqa: N801
        def wait(self, timeout: float | None) -> bool:
            with self._changed:
                return bool(self._changed.wait_for(lambda: self._incoming, timeout))


class TestClosesOnce(Held):
    breaks = "test_it_closes_twice_and_from_another_thread"

    class make(Sound):  # noqa: N801
        def close(self) -> None:
            assert not self.closed or threading.current_thread() is threading.main_thread(), "it is closed already"
            super().close()


class TestClosesNever(Held):
    breaks = "test_it_closes_twice_and_from_another_thread"

    class make(Sound):  # noqa: N801
        def close(self) -> None:
            if threading.current_thread() is not threading.main_thread():
                threading.Event().wait(5)


class TestIsNotInstalled(Held):
    breaks = "test_it_is_found_by_its_entry_point"
    entry_point = "pigeon"


class TestIsAnotherOne(Held):
    breaks = "test_it_is_found_by_its_entry_point"
    entry_point = "local"
