"""The xenstore exchange: which requests it takes, in which order, and what that costs."""

from __future__ import annotations

import itertools
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from guestagent_core import Dispatcher
from guestagent_core.testing import ExchangeContract
from guestagent_xen import exchange as exchange_module
from guestagent_xen.connecting import connect
from guestagent_xen.devstore import DevelopmentStore
from guestagent_xen.exchange import XenStoreExchange
from guestagent_xen.session import Operation, Session, StoreError

from .asking import READ, RM, WATCH, Node, take, write


class Echo:
    """A parser that answers with what it was asked."""

    def parse_request(self, request: Any) -> dict[str, bytes]:
        return {"data": b"answer to " + request["data"]}

    def encode_error(self, code: int, message: str) -> dict[str, bytes]:
        return {"data": message.encode()}


class TestContract(ExchangeContract):
    entry_point = "xenstore"
    answer_limit = 4096 - len(b"data/guest/r0\0")

    @pytest.fixture
    def exchange(self, small_store: DevelopmentStore) -> XenStoreExchange:
        return XenStoreExchange(XenStoreExchange.Options(path=small_store.path))

    @pytest.fixture
    def ask(self, small_store: DevelopmentStore) -> Iterator[Callable[[bytes], Node]]:
        numbers = itertools.count()
        with ExitStack() as opened:
            yield lambda value: opened.enter_context(closing(Node(small_store.path, f"r{next(numbers)}", value)))


def test_a_request_is_replaced_by_its_answer(
    small_store: DevelopmentStore, host: Session, exchange: XenStoreExchange
) -> None:
    write(host, "one", b"caf\xc3\xa9 \x00\xff")
    (request,) = take(exchange, 1)
    assert request["data"] == b"caf\xc3\xa9 \x00\xff"
    assert request["id"] == "one"
    exchange.put_response(request, {"data": "caf\u00e9\n"})
    assert host.call(READ, b"data/guest/one") == b"caf\xc3\xa9\n"
    with pytest.raises(StoreError, match="ENOENT"):
        host.call(READ, b"data/host/one")


def test_requests_come_in_the_order_of_their_events(host: Session, exchange: XenStoreExchange) -> None:
    assert not exchange.wait(0.1)
    names = [f"{number * 7919 % 100:02}" for number in range(100)]
    for name in names:
        write(host, name, name.encode())
    assert [request["id"] for request in take(exchange, 100)] == names


def test_what_waits_already_is_taken_however_much_it_is(host: Session, small_store: DevelopmentStore) -> None:
    for number in range(500):
        write(host, f"{number:036}", b"%d" % number)
    with closing(XenStoreExchange(XenStoreExchange.Options(path=small_store.path))) as exchange:
        requests = take(exchange, 500)
        assert [request["data"] for request in requests] == [b"%d" % number for number in range(500)]


def test_an_open_request_is_not_handed_out_again(host: Session, exchange: XenStoreExchange) -> None:
    write(host, "one", b"1")
    (request,) = take(exchange, 1)
    write(host, "one", b"1")
    write(host, "two", b"2")
    (other,) = take(exchange, 1)
    assert other["id"] == "two"
    exchange.put_response(request, {"data": b"done"})
    write(host, "one", b"again")
    (again,) = take(exchange, 1)
    assert (again["id"], again["data"]) == ("one", b"again")


def test_a_request_costs_five_operations(
    small_store: DevelopmentStore, host: Session, exchange: XenStoreExchange
) -> None:
    write(host, "first", b"")
    exchange.put_response(take(exchange, 1)[0], {"data": b""})
    assert not exchange.wait(0.1)
    small_store.operations.clear()
    write(host, "one", b"1")
    exchange.put_response(take(exchange, 1)[0], {"data": b"done"})
    assert not exchange.wait(0.1)
    asked = [name for _, name in small_store.operations]
    assert asked == ["WRITE", "READ", "TRANSACTION_START", "WRITE", "RM", "TRANSACTION_END"]


def test_a_listing_that_is_due_soon_is_done_while_awake(
    small_store: DevelopmentStore, host: Session, exchange: XenStoreExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not exchange.wait(0.1)
    for number, (quiet, listings) in enumerate(((0.0, 0), (exchange_module._LOOK_ANYWAY, 1), (30.0, 0))):
        monkeypatch.setattr(exchange_module, "_QUIET", quiet)
        small_store.operations.clear()
        write(host, f"r{number}", b"")
        exchange.put_response(take(exchange, 1)[0], {"data": b""})
        assert not exchange.wait(0.1)
        assert [name for _, name in small_store.operations].count("DIRECTORY") == listings


def test_the_folder_is_made_again(host: Session, exchange: XenStoreExchange) -> None:
    assert not exchange.wait(0.1)
    host.call(RM, b"data/host")
    assert not exchange.wait(0.1)
    assert host.call(READ, b"data/host") == b""
    write(host, "one", b"1")
    assert take(exchange, 1)[0]["id"] == "one"


def test_a_discarded_request_is_removed(host: Session, exchange: XenStoreExchange) -> None:
    write(host, "one", b"1")
    exchange.discard(take(exchange, 1)[0])
    with pytest.raises(StoreError, match="ENOENT"):
        host.call(READ, b"data/host/one")


def test_wake_is_sticky(exchange: XenStoreExchange) -> None:
    exchange.wake()
    waiting = threading.Thread(target=exchange.wait, args=(None,), daemon=True)
    waiting.start()
    waiting.join(30.0)
    assert not waiting.is_alive()


def test_a_dispatcher_answers(host: Session, exchange: XenStoreExchange, small_store: DevelopmentStore) -> None:
    dispatcher = Dispatcher(exchange, Echo())
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    answered = threading.Event()

    def see() -> None:
        with closing(connect(small_store.path, 30.0)) as session:
            session.call(WATCH, b"data/guest/last", b"t")
            while not answered.is_set():
                if not session.events:
                    select.select([session], [], [])
                    session.receive()
                if session.events:
                    session.events.clear()
                    (answer,) = session.call_all(Operation(READ, b"data/guest/last\0"))
                    if not isinstance(answer, StoreError):
                        answered.set()

    watcher = threading.Thread(target=see)
    watcher.start()
    for number in range(200):
        write(host, f"r{number}", b"%d" % number)
    write(host, "last", b"!")
    assert answered.wait(30)
    watcher.join()
    for number in range(200):
        assert host.call(READ, b"data/guest/r%d" % number) == b"answer to %d" % number
    dispatcher.stop()
    thread.join()
