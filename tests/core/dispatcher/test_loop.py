"""The dispatcher: one loop, leader and followers, and what runs beside what."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import pytest
from tests.core.waiting import until

from guestagent_core import ChannelRunner, CommandRegistry, Dispatcher
from guestagent_core.testing import ExchangeContract, MemoryExchange, MemoryQuestion
from guestagent_json import JsonParser

from .gates import PATIENCE, Gates, Running, answer, ask


class TestMemoryExchange(ExchangeContract):
    answer_limit = 1000

    @pytest.fixture
    def exchange(self) -> MemoryExchange:
        return MemoryExchange(self.answer_limit)

    @pytest.fixture
    def ask(self, exchange: MemoryExchange) -> Callable[[bytes], MemoryQuestion]:
        return exchange.ask


def test_it_works_alone_in_a_dozen_lines() -> None:
    exchange = MemoryExchange()
    dispatcher = Dispatcher(exchange, JsonParser(CommandRegistry([Gates])))
    question = ask(exchange, "quick", "hello")
    threads = threading.active_count()
    assert dispatcher.run_once() is True
    assert answer(question) == "hello"
    assert dispatcher.run_once() is False
    assert threading.active_count() == threads


def test_run_once_runs_exclusive_commands_inline(exchange: MemoryExchange, registry: CommandRegistry) -> None:
    question = ask(exchange, "brief", 1)
    assert Dispatcher(exchange, JsonParser(ChannelRunner(registry))).run_once(PATIENCE) is True
    assert answer(question) == "brief 1"


def test_run_once_waits_as_long_as_it_is_told(exchange: MemoryExchange, registry: CommandRegistry) -> None:
    dispatcher = Dispatcher(exchange, JsonParser(registry))
    started = time.monotonic()
    assert dispatcher.run_once(0.05) is False
    assert time.monotonic() - started >= 0.04
    asking = threading.Timer(0.05, ask, (exchange, "quick"))
    asking.start()
    assert dispatcher.run_once(PATIENCE) is True
    asking.join()


def test_requests_are_answered_while_it_runs(exchange: MemoryExchange, running: Running) -> None:
    questions = [ask(exchange, "quick", number) for number in range(100)]
    assert [answer(question) for question in questions] == [str(number) for number in range(100)]


def test_a_quick_command_does_not_wait_for_a_slow_one(exchange: MemoryExchange, running: Running, gates: Gates) -> None:
    slow = ask(exchange, "slow", "one")
    gates.wait_until_begun(1)
    for number in range(10):
        assert answer(ask(exchange, "quick", number)) == str(number)
    gates.opened.set()
    assert answer(slow) == "slow one"


def test_exclusive_commands_run_one_at_a_time_in_the_order_they_came(
    exchange: MemoryExchange, running: Running, gates: Gates
) -> None:
    slow = ask(exchange, "slow", 0)
    gates.wait_until_begun(1)
    others = [ask(exchange, "brief", number) for number in range(1, 20)]
    assert answer(ask(exchange, "quick", "in between")) == "in between"
    assert gates.begun == [0]
    gates.opened.set()
    assert [answer(question) for question in others] == [f"brief {number}" for number in range(1, 20)]
    assert answer(slow) == "slow 0"
    assert gates.begun == list(range(20))


def test_exclusive_commands_of_two_channels_share_one_queue(
    exchange: MemoryExchange, registry: CommandRegistry, running: Running, gates: Gates
) -> None:
    other_exchange = MemoryExchange()
    other = Running(other_exchange, JsonParser(ChannelRunner(registry, "other")), "other")
    try:
        questions = [ask(exchange, "slow", 1), ask(other_exchange, "slow", 2)]
        gates.wait_until_begun(1)
        assert answer(ask(other_exchange, "quick", "free")) == "free"
        gates.opened.set()
        for question in questions:
            answer(question)
        assert gates.most_running == 1
    finally:
        other.end()


def test_at_most_64_exclusive_commands_wait_and_then_the_loop_pauses(
    exchange: MemoryExchange, running: Running, gates: Gates
) -> None:
    questions = [ask(exchange, "slow", number) for number in range(70)]
    quick = ask(exchange, "quick", "waits as well")
    until(lambda: len(running.dispatcher._errands) == 64)
    with pytest.raises(TimeoutError):
        quick.answer(0.1)
    assert len(running.dispatcher._errands) == 64
    gates.opened.set()
    assert answer(quick) == "waits as well"
    assert [answer(question) for question in questions] == [f"slow {number}" for number in range(70)]
    assert gates.begun == list(range(70))


def test_threads_of_a_burst_do_not_stay(exchange: MemoryExchange, running: Running, gates: Gates) -> None:
    questions = [ask(exchange, "slow", number) for number in range(30)]
    gates.wait_until_begun(1)
    gates.opened.set()
    for question in questions:
        answer(question)
    until(lambda: len(running.dispatcher._threads) <= 3)


def test_without_a_thread_to_be_had_the_command_runs_inline(
    exchange: MemoryExchange, running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answer(ask(exchange, "quick"))

    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_more)
        assert answer(ask(exchange, "brief", 1)) == "brief 1"
    assert "can't start new thread" in caplog.text
    assert answer(ask(exchange, "brief", 2)) == "brief 2"


def test_the_id_and_the_peer_of_a_request_reach_the_call(
    exchange: MemoryExchange, registry: CommandRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ask(exchange, "quick", id="cafe-1", peer="host 7")
    Dispatcher(exchange, JsonParser(ChannelRunner(registry, "xs"))).run_once()
    assert "xs: quick cafe-1: 0 in" in caplog.text


def test_ten_thousand_mixed_requests_are_each_answered_once(
    exchange: MemoryExchange, running: Running, gates: Gates
) -> None:
    gates.opened.set()
    names = ("quick", "brief", "slow", "quick")
    questions = [(names[number % 4], number, ask(exchange, names[number % 4], number)) for number in range(10_000)]
    for name, number, question in questions:
        assert answer(question) == (str(number) if name == "quick" else f"{name} {number}")
    assert gates.begun == [number for name, number, _ in questions if name != "quick"]
    assert gates.most_running == 1
