"""The dispatcher: every request is answered or discarded, whatever parsers and exchanges make of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from guestagent_core import ChannelRunner, CommandRegistry, Dispatcher, ExchangeError, Request, Response
from guestagent_core.testing import MemoryExchange, MemoryQuestion
from guestagent_json import JsonParser

from .gates import PATIENCE, Polled, Running, answer, ask


def put_once(exchange: MemoryExchange, parser: Any, question: MemoryQuestion) -> dict[str, str]:
    Dispatcher(exchange, parser).run_once()
    answer = json.loads(question.answer(0))
    assert isinstance(answer, dict)
    return answer


def test_what_the_exchange_could_not_read_is_answered_without_the_parser(registry: CommandRegistry) -> None:
    exchange = MemoryExchange()
    question = exchange.ask(b"", error="It is too large")
    del question.request["data"]
    answered = put_once(exchange, JsonParser(registry), question)
    assert answered == {"message": "It is too large", "returncode": "500"}


def test_an_answer_that_is_too_large_is_replaced_once(registry: CommandRegistry) -> None:
    exchange = MemoryExchange(limit=100)
    answered = put_once(exchange, JsonParser(registry), ask(exchange, "quick", "x" * 200))
    assert answered["returncode"] == "500"
    assert "100 bytes" in answered["message"]


@pytest.mark.parametrize("fault", [ZeroDivisionError("crashed"), SystemExit(), "rubbish", 5])
def test_a_parser_that_breaks_its_contract_is_answered_for(
    fault: object, registry: CommandRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(JsonParser):
        def parse_request(self, request: Request) -> Any:
            if isinstance(fault, BaseException):
                raise fault
            return fault

    exchange = MemoryExchange()
    assert put_once(exchange, Broken(registry), ask(exchange, "quick"))["returncode"] == "500"
    assert "the parser failed" in caplog.text


def test_a_request_without_an_answer_is_discarded(exchange: MemoryExchange, registry: CommandRegistry) -> None:
    class Silent(JsonParser):
        def parse_request(self, request: Request) -> Any:
            return None

    question = ask(exchange, "quick")
    Dispatcher(exchange, Silent(registry)).run_once()
    with pytest.raises(Exception, match="discarded"):
        question.answer(0)
    polled = Polled()
    polled.requests.append({"data": b""})
    Dispatcher(polled, Silent(registry)).run_once()
    assert b'"500"' in polled.answers[0][1]["data"]


def test_an_answer_that_cannot_be_delivered_is_logged_and_the_next_one_is(
    exchange: MemoryExchange, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    question = ask(exchange, "quick")
    question.vanish()
    assert answer(ask(exchange, "quick", "the next")) == "the next"
    assert "an answer was lost: The one who asked has gone away" in caplog.text


def test_what_follows_an_answer_happens_once_it_is_out_or_lost(
    exchange: MemoryExchange, registry: CommandRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    monkeypatch.setattr("guestagent_core.context.Context.detach", lambda self, argv: order.append("after"))
    put_response = exchange.put_response

    def put(request: Request, response: Response) -> None:
        order.append("put")
        put_response(request, response)

    monkeypatch.setattr(exchange, "put_response", put)
    dispatcher = Dispatcher(exchange, JsonParser(ChannelRunner(registry)))
    ask(exchange, "after")
    ask(exchange, "after").vanish()
    dispatcher.run_once()
    dispatcher.run_once()
    assert order == ["put", "after", "put", "after"]


def test_a_parser_that_cannot_even_say_that_it_failed_keeps_its_channel(
    exchange: MemoryExchange, registry: CommandRegistry
) -> None:
    class Broken(JsonParser):
        def parse_request(self, request: Request) -> Response:
            if b"bad" in request["data"]:
                raise ValueError
            return super().parse_request(request)

        def encode_error(self, code: int, message: str) -> Response:
            raise TypeError

    running = Running(exchange, Broken(registry))
    try:
        with pytest.raises(ExchangeError, match="discarded"):
            exchange.ask(b"bad").answer(PATIENCE)
        assert answer(ask(exchange, "quick", "still there")) == "still there"
    finally:
        running.end()
