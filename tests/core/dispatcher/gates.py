"""A dispatcher that runs, and commands that begin and end under the eyes of a test."""

from __future__ import annotations

import json
import threading
from typing import Any

from guestagent_core import CommandBase, CommandResult, Dispatcher, Exchange, Request, Response, command
from guestagent_core.testing import MemoryExchange, MemoryQuestion

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
        self.thread = threading.Thread(target=self.dispatcher.run, daemon=True)
        self.thread.start()

    def end(self) -> None:
        self.dispatcher.stop()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "run() did not return after stop()"


def ask(exchange: MemoryExchange, name: str, value: Any = "", **keys: Any) -> MemoryQuestion:
    return exchange.ask(json.dumps({"name": name, "value": value}).encode(), **keys)


def answer(question: MemoryQuestion) -> str:
    message = json.loads(question.answer(PATIENCE))["message"]
    assert isinstance(message, str)
    return message


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
