"""The dispatcher: exchanges that fail, and those that cannot wait."""

from __future__ import annotations

import re

import pytest
from tests.core.waiting import until

from guestagent_core import ChannelRunner, CommandRegistry, Request, dispatcher
from guestagent_core.testing import MemoryExchange
from guestagent_json import JsonParser

from .gates import PATIENCE, Gates, Polled, Running, answer, ask


class Faulty(MemoryExchange):
    """Raises, or returns, what it is given before it works."""

    def __init__(self, *faults: object) -> None:
        super().__init__()
        self.faults = list(faults)

    def get_request(self) -> Request | None:
        if self.faults:
            fault = self.faults.pop(0)
            if isinstance(fault, BaseException):
                raise fault
            return fault  # type: ignore[return-value]  # that is the point
        return super().get_request()


@pytest.mark.parametrize("fault", [OSError("broken"), SystemExit(3), "rubbish", 5, b"bytes"])
def test_a_failing_exchange_is_tried_again(
    fault: object, registry: CommandRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    exchange = Faulty(fault)
    running = Running(exchange, JsonParser(registry), "flaky")
    try:
        assert answer(ask(exchange, "quick", "still there")) == "still there"
    finally:
        running.end()
    assert "flaky: the exchange failed; it is tried again in 1 s" in caplog.text


def test_the_pause_of_a_failing_exchange_doubles(registry: CommandRegistry, caplog: pytest.LogCaptureFixture) -> None:
    running = Running(Faulty(*[OSError("broken")] * 1000), JsonParser(registry))
    until(lambda: "again in 2 s" in caplog.text)
    running.end()
    assert re.findall(r"again in (\d+) s", caplog.text) == ["1", "2"]


def test_stop_ends_the_pause_of_a_failing_exchange(
    registry: CommandRegistry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "_FIRST_PAUSE", 10 * PATIENCE)
    monkeypatch.setattr(dispatcher, "_LONGEST_PAUSE", 10 * PATIENCE)
    running = Running(Faulty(OSError("broken")), JsonParser(registry))
    until(lambda: "again in 300 s" in caplog.text)
    running.end()


def test_an_exchange_that_cannot_wait_is_polled(registry: CommandRegistry) -> None:
    exchange = Polled()
    running = Running(exchange, JsonParser(registry))
    try:
        request = {"data": '{"name": "quick"}', "path": "data/host/1"}
        exchange.requests.append(request)
        assert exchange.answered.wait(PATIENCE)
        assert exchange.answers[0][0] is request
    finally:
        running.end()


def test_an_answer_ends_the_pause_between_two_polls(
    registry: CommandRegistry, gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "_POLL", 10 * PATIENCE)
    exchange = Polled()
    exchange.requests.append({"data": '{"name": "slow"}'})
    running = Running(exchange, JsonParser(ChannelRunner(registry)))
    try:
        gates.wait_until_begun(1)
        gates.opened.set()
        assert exchange.answered.wait(PATIENCE)
    finally:
        running.end()


def test_an_exchange_whose_wake_fails_keeps_its_channel(
    registry: CommandRegistry, gates: Gates, caplog: pytest.LogCaptureFixture
) -> None:
    class Sleepy(MemoryExchange):
        def wake(self) -> None:
            super().wake()
            raise OSError("broken")

    gates.opened.set()
    exchange = Sleepy()
    running = Running(exchange, JsonParser(ChannelRunner(registry)), "sleepy")
    try:
        assert answer(ask(exchange, "slow", 1)) == "slow 1"
        assert answer(ask(exchange, "slow", 2)) == "slow 2"
        assert answer(ask(exchange, "quick", "still there")) == "still there"
    finally:
        running.end()
    assert "sleepy: the exchange cannot be woken" in caplog.text
