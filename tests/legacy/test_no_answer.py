"""A parser that returns nothing: the old daemon gave the exchange None, and so it is told that the request is done."""

from __future__ import annotations

from guestagent_core import CommandRegistry, Dispatcher
from guestagent_legacy.adapters import OldExchange, OldParser


class Queue:
    """An exchange that keeps what it is given."""

    def __init__(self) -> None:
        self.waiting = [{"data": "one"}, {"data": "two"}]
        self.answered: list[tuple[object, object]] = []

    def get_request(self) -> object:
        return self.waiting.pop(0) if self.waiting else None

    def put_response(self, request: object, response: object) -> None:
        self.answered.append((request, response))


class Silent:
    """A parser that answers every second request only."""

    def parse_request(self, request: dict[str, str]) -> dict[str, str] | None:
        return {"data": "yes"} if request["data"] == "two" else None


def test_an_old_exchange_is_given_none() -> None:
    queue = Queue()
    dispatcher = Dispatcher(OldExchange(queue), OldParser(Silent(), CommandRegistry()))
    while dispatcher.run_once():
        pass
    assert queue.answered == [({"data": "one"}, None), ({"data": "two"}, {"data": "yes"})]
