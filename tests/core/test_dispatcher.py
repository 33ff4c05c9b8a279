"""The dispatcher: one loop, leader and followers, and what happens when plugins misbehave."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from guestagent_core import (
    ChannelRunner,
    CommandBase,
    CommandRegistry,
    CommandResult,
    Dispatcher,
    Exchange,
    Request,
    Response,
    command,
)
from guestagent_core.testing import ExchangeContract, MemoryExchange, MemoryQuestion
from guestagent_json import JsonParser

PATIENCE = 30.0  # seconds; how long anything may take before it counts as hanging


class Gates(CommandBase):
    """Commands that tell when they begin and end when they are told."""

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.begun: list[Any] = []
        self.changed = threading.Condition()
        self.opened = threading.Event()
        self.running = 0
        self.most_running = 0

    @command("quick", parallel=True)
    def quick(self, value: Any) -> CommandResult:
        return CommandResult(0, value)

    @command("slow")
    def slow(self, value: Any) -> CommandResult:
        with self.changed:
            self.begun.append(value)
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            self.changed.notify_all()
        assert self.opened.wait(PATIENCE)
        with self.changed:
            self.running -= 1
        return CommandResult(0, f"slow {value}")

    @command("brief")
    def brief(self, value: Any) -> CommandResult:
        with self.changed:
            self.begun.append(value)
        return CommandResult(0, f"brief {value}")

    @command("after")
    def after(self, value: Any) -> CommandResult:
        self.context.after_answer(["true"])
        return CommandResult()

    def wait_until_begun(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.begun) >= count, PATIENCE)


class Running:
    """A dispatcher that runs in a thread."""

    def __init__(self, exchange: Exchange, parser: Any, name: str = "test") -> None:
        self.dispatcher = Dispatcher(exchange, parser, name)
        self.thread = threading.Thread(target=self.dispatcher.run)
        self.thread.start()

    def end(self) -> None:
        self.dispatcher.stop()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "run() did not return after stop()"


@pytest.fixture
def exchange() -> MemoryExchange:
    return MemoryExchange()


@pytest.fixture
def registry() -> CommandRegistry:
    return CommandRegistry([Gates])


@pytest.fixture
def gates(registry: CommandRegistry) -> Gates:
    pack = registry._entries["slow"].pack
    assert isinstance(pack, Gates)
    return pack


@pytest.fixture
def running(exchange: MemoryExchange, registry: CommandRegistry, gates: Gates) -> Iterator[Running]:
    running = Running(exchange, JsonParser(ChannelRunner(registry)))
    yield running
    gates.opened.set()
    running.end()


def ask(exchange: MemoryExchange, name: str, value: Any = "", **keys: Any) -> MemoryQuestion:
    return exchange.ask(json.dumps({"name": name, "value": value}).encode(), **keys)


def answer(question: MemoryQuestion) -> str:
    message = json.loads(question.answer(PATIENCE))["message"]
    assert isinstance(message, str)
    return message


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
    gates.wait_until_begun(1)
    with pytest.raises(TimeoutError):
        quick.answer(0.3)
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
    deadline = time.monotonic() + PATIENCE
    while len(running.dispatcher._threads) > 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(running.dispatcher._threads) <= 3


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


def test_the_pause_of_a_failing_exchange_doubles_and_stop_ends_it(
    registry: CommandRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    running = Running(Faulty(*[OSError("broken")] * 1000), JsonParser(registry))
    deadline = time.monotonic() + PATIENCE
    while "again in 2 s" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.01)
    running.end()
    assert caplog.text.count("it is tried again") == 2


class Polled:
    """An exchange that cannot wait."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.answers: list[tuple[Request, Response]] = []
        self.answered = threading.Event()

    def get_request(self) -> Request | None:
        return self.requests.pop(0) if self.requests else None

    def put_response(self, request: Request, response: Response) -> None:
        self.answers.append((request, response))
        self.answered.set()


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


def test_an_answer_ends_the_pause_between_two_polls(registry: CommandRegistry, gates: Gates) -> None:
    exchange = Polled()
    exchange.requests.append({"data": '{"name": "slow"}'})
    running = Running(exchange, JsonParser(ChannelRunner(registry)))
    try:
        gates.wait_until_begun(1)
        gates.opened.set()
        assert exchange.answered.wait(PATIENCE)
    finally:
        running.end()


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
