"""The dispatcher: what ends it, and what becomes of what runs and waits then."""

from __future__ import annotations

import pytest

from guestagent_core import (
    ChannelRunner,
    CommandBase,
    CommandRegistry,
    CommandResult,
    Dispatcher,
    Request,
    Response,
    command,
)
from guestagent_core.testing import MemoryExchange, MemoryQuestion
from guestagent_json import JsonParser

from .gates import PATIENCE, Gates, Running, answer, ask


def test_stop_finishes_what_runs_and_leaves_what_waits(
    exchange: MemoryExchange, running: Running, gates: Gates
) -> None:
    runs = ask(exchange, "slow", "runs")
    gates.wait_until_begun(1)
    waits = ask(exchange, "brief", "waits")
    assert answer(ask(exchange, "quick", "so the other is in the queue")) != ""
    running.dispatcher.stop()
    too_late = ask(exchange, "quick", "too late")
    gates.opened.set()
    running.thread.join(PATIENCE)
    assert not running.thread.is_alive()
    assert answer(runs) == "slow runs"
    for question in (waits, too_late):
        with pytest.raises(TimeoutError):
            question.answer(0)
    assert gates.begun == ["runs"]


def test_what_waits_is_left_even_if_the_parser_swallows_the_interruption(
    exchange: MemoryExchange, registry: CommandRegistry, gates: Gates
) -> None:
    class Greedy(JsonParser):
        def parse_request(self, request: Request) -> Response:
            try:
                return super().parse_request(request)
            except BaseException as error:
                return self.encode_error(500, repr(error))

    running = Running(exchange, Greedy(ChannelRunner(registry)))
    ask(exchange, "slow", "runs")
    gates.wait_until_begun(1)
    waits = ask(exchange, "brief", "waits")
    answer(ask(exchange, "quick"))
    running.dispatcher.stop()
    gates.opened.set()
    running.end()
    with pytest.raises(TimeoutError):
        waits.answer(0)


def test_a_stopped_dispatcher_stays_stopped(exchange: MemoryExchange, registry: CommandRegistry) -> None:
    dispatcher = Dispatcher(exchange, JsonParser(registry))
    dispatcher.stop()
    dispatcher.run()
    dispatcher.run()


def test_it_runs_once_at_a_time(exchange: MemoryExchange, running: Running) -> None:
    answer(ask(exchange, "quick"))
    with pytest.raises(RuntimeError, match="running already"):
        running.dispatcher.run()
    with pytest.raises(RuntimeError, match="running already"):
        running.dispatcher.run_once()


def test_an_interrupt_while_it_waits_ends_run(registry: CommandRegistry) -> None:
    class Interrupted(MemoryExchange):
        def wait(self, timeout: float | None) -> bool:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Dispatcher(Interrupted(), JsonParser(registry)).run()


def test_an_interrupt_of_a_command_ends_run_after_the_others_are_answered(exchange: MemoryExchange) -> None:
    class Interrupted(CommandBase):
        @command("interrupted")
        def interrupted(self, value: object) -> CommandResult:
            while not quick:
                quick.append(ask(exchange, "quick", "in between"))
                answer(quick[0])
            raise KeyboardInterrupt

    quick: list[MemoryQuestion] = []
    question = ask(exchange, "interrupted")
    dispatcher = Dispatcher(exchange, JsonParser(ChannelRunner(CommandRegistry([Interrupted, Gates]))))
    with pytest.raises(KeyboardInterrupt):
        dispatcher.run()
    assert answer(quick[0]) == "in between"
    with pytest.raises(TimeoutError):
        question.answer(0)
    assert not dispatcher._threads
