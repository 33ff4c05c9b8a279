"""The xenstore exchange: in which order it takes requests, what it does to the store, and how it comes back."""

from __future__ import annotations

import itertools
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Literal

import pytest

from guestagent_core import Dispatcher, ExchangeError, ResponseTooLargeError
from guestagent_core.testing import ExchangeContract
from guestagent_xen import answering, connecting
from guestagent_xen import exchange as exchange_module
from guestagent_xen.connecting import connect
from guestagent_xen.devstore import DevelopmentStore
from guestagent_xen.exchange import XenStoreExchange
from guestagent_xen.session import Operation, Session, SessionLostError, StoreError
from guestagent_xen.store import XenStoreStore

READ, WATCH, WRITE, RM, SET_PERMS = 2, 4, 11, 13, 14


class Echo:
    """A parser that answers with what it was asked."""

    def parse_request(self, request: Any) -> dict[str, bytes]:
        return {"data": b"answer to " + request["data"]}

    def encode_error(self, code: int, message: str) -> dict[str, bytes]:
        return {"data": message.encode()}


@pytest.fixture
def host(small_store: DevelopmentStore) -> Iterator[Session]:
    """The host's own connection."""
    with closing(connect(small_store.path, 10.0)) as session:
        yield session


@pytest.fixture
def exchange(small_store: DevelopmentStore) -> Iterator[XenStoreExchange]:
    with closing(XenStoreExchange(XenStoreExchange.Options(path=small_store.path))) as opened:
        yield opened


class Node:
    """A request of the host; its answer is waited for on a watch."""

    def __init__(self, path: Path, name: str, value: bytes) -> None:
        self._session = connect(path, 30.0)
        self._path = b"data/guest/" + name.encode()
        self._session.call(WATCH, self._path, b"answer")
        write(self._session, name, value)

    def answer(self, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            (answer,) = self._session.call_all(Operation(READ, self._path + b"\0"))
            if isinstance(answer, bytes):
                return answer
            if not self._session.events:
                select.select([self._session], [], [], deadline - time.monotonic())
                self._session.receive()
            self._session.events.clear()
        raise TimeoutError

    def close(self) -> None:
        self._session.close()


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


def write(host: Session, name: str, value: bytes) -> None:
    (answer,) = host.call_all(Operation(WRITE, b"data/host/" + name.encode() + b"\0" + value))
    assert answer == b"OK\0"


def take(exchange: XenStoreExchange, count: int) -> list[Any]:
    requests: list[Any] = []
    while len(requests) < count:
        assert exchange.wait(30.0), "the request does not come"
        while (request := exchange.get_request()) is not None:
            requests.append(request)
    return requests


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


@pytest.mark.parametrize("daemon", ["xenstored", "oxenstored"])
@pytest.mark.parametrize("as_guest", [True, False])
def test_an_answer_is_refused_as_a_whole(
    daemon: Literal["xenstored", "oxenstored"], as_guest: bool, store_path: Path
) -> None:
    """However the daemon ends a transaction in which it refused something."""
    with DevelopmentStore(store_path, daemon=daemon) as store:
        way, home = (store.add_guest(7), HOME) if as_guest else (store.path, "/local/domain/0")
        with closing(XenStoreExchange(XenStoreExchange.Options(path=way))) as exchange:
            assert not exchange.wait(0.1)
            for number in range(3):
                store.write(f"{home}/data/host/{number}", b"request")
                (request,) = take(exchange, 1)
                if as_guest or daemon == "oxenstored":
                    with pytest.raises(ResponseTooLargeError):
                        exchange.put_response(request, {"data": b"x" * 2100})
                    assert store.read(f"{home}/data/host/{number}") == b"request"
                    assert store.read(f"{home}/data/guest/{number}") is None
                exchange.put_response(request, {"data": b"answer"})
                assert store.read(f"{home}/data/host/{number}") is None
                assert store.read(f"{home}/data/guest/{number}") == b"answer"


@pytest.mark.parametrize("daemon", ["xenstored", "oxenstored"])
def test_a_request_stays_if_its_answer_may_not_be_written(
    daemon: Literal["xenstored", "oxenstored"], store_path: Path
) -> None:
    with DevelopmentStore(store_path, daemon=daemon) as store, closing(connect(store_path, 10.0)) as host:
        with closing(XenStoreExchange(XenStoreExchange.Options(path=store.add_guest(7)))) as exchange:
            assert not exchange.wait(0.1)
            store.write(f"{HOME}/data/host/one", b"1")
            exchange.put_response(take(exchange, 1)[0], {"data": b"answer"})
            host.call(SET_PERMS, f"{HOME}/data/guest".encode(), b"n0")
            store.write(f"{HOME}/data/host/two", b"2")
            (request,) = take(exchange, 1)
            with pytest.raises(ExchangeError, match="EACCES"):
                exchange.put_response(request, {"data": b"answer"})
            assert store.read(f"{HOME}/data/host/two") == b"2"


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


def test_a_conflict_is_tried_again(host: Session, exchange: XenStoreExchange) -> None:
    write(host, "one", b"1")
    (request,) = take(exchange, 1)
    host.call_all(Operation(WRITE, b"data/guest/one\0somebody"))  # after the transaction was begun ahead
    exchange.put_response(request, {"data": b"done"})
    assert host.call(READ, b"data/guest/one") == b"done"


def test_the_folder_is_made_again(host: Session, exchange: XenStoreExchange) -> None:
    assert not exchange.wait(0.1)
    host.call(RM, b"data/host")
    assert not exchange.wait(0.1)
    assert host.call(READ, b"data/host") == b""
    write(host, "one", b"1")
    assert take(exchange, 1)[0]["id"] == "one"


def test_an_answer_too_large_names_the_limit(host: Session, exchange: XenStoreExchange) -> None:
    write(host, "one", b"1")
    (request,) = take(exchange, 1)
    limit = 4096 - len(b"data/guest/one\0")
    with pytest.raises(ResponseTooLargeError) as caught:
        exchange.put_response(request, {"data": b"x" * (limit + 1)})
    assert caught.value.limit == limit
    exchange.put_response(request, {"data": b"x" * limit})
    assert host.call(READ, b"data/guest/one") == b"x" * limit


HOME = "/local/domain/7"


@pytest.fixture
def guest_exchange(small_store: DevelopmentStore) -> Iterator[XenStoreExchange]:
    """That of domain 7, whose folder of answers has room for 54 names of 36 letters."""
    with closing(XenStoreExchange(XenStoreExchange.Options(path=small_store.add_guest(7)))) as opened:
        assert not opened.wait(0.1)
        yield opened


def test_the_oldest_answers_make_room(
    small_store: DevelopmentStore, guest_exchange: XenStoreExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "_UNTOUCHED", 0.0)  # seconds for which a host may look for its answer
    early = [f"early{number:031}" for number in range(5)]  # of an earlier run
    for name in early:
        small_store.write(f"{HOME}/data/guest/{name}", b"x")
    for number in range(100):
        small_store.write(f"{HOME}/data/host/{number:036}", b"")
        guest_exchange.put_response(take(guest_exchange, 1)[0], {"data": b"%d" % number})
        assert small_store.read(f"{HOME}/data/guest/{number:036}") == b"%d" % number
        if number == 49:  # by then some had to go: the oldest
            assert not {early[0], early[1]} & set(small_store.list(f"{HOME}/data/guest"))
            assert small_store.read(f"{HOME}/data/guest/{0:036}") == b"0"
    kept = small_store.list(f"{HOME}/data/guest")
    assert kept == sorted(kept)
    assert 40 <= len(kept) <= 54


def test_a_full_folder_is_told_from_an_answer_too_large(
    small_store: DevelopmentStore, guest_exchange: XenStoreExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "_UNTOUCHED", 0.0)
    for number in range(56):
        small_store.write(f"{HOME}/data/host/{number:036}", b"")
        (request,) = take(guest_exchange, 1)
        if number < 54:
            with pytest.raises(ResponseTooLargeError) as caught:
                guest_exchange.put_response(request, {"data": b"x" * 2016})
            assert caught.value.limit == 2015
            assert small_store.read(f"{HOME}/data/host/{number:036}") == b""
        guest_exchange.put_response(request, {"data": b"x" * 2015})
    assert small_store.read(f"{HOME}/data/guest/{55:036}") == b"x" * 2015


def test_a_discarded_request_is_removed(host: Session, exchange: XenStoreExchange) -> None:
    write(host, "one", b"1")
    exchange.discard(take(exchange, 1)[0])
    with pytest.raises(StoreError, match="ENOENT"):
        host.call(READ, b"data/host/one")


def test_it_comes_back_and_puts_the_answer_that_it_kept(
    small_store: DevelopmentStore, exchange: XenStoreExchange
) -> None:
    with closing(connect(small_store.path, 10.0)) as host:
        write(host, "one", b"1")
        (request,) = take(exchange, 1)
    small_store.close()
    with pytest.raises(ExchangeError, match="kept"):
        exchange.put_response(request, {"data": b"done"})
    assert not exchange.wait(0.01)
    with DevelopmentStore(small_store.path) as again:
        with closing(connect(again.path, 10.0)) as host:
            write(host, "one", b"1")
            write(host, "two", b"2")
            (other,) = take(exchange, 1)
            assert other["id"] == "two"
            assert host.call(READ, b"data/guest/one") == b"done"


def test_many_answers_without_a_daemon_do_not_delay_connecting(small_store: Any, exchange: XenStoreExchange) -> None:
    with closing(connect(small_store.path, 10.0)) as host:
        for number in range(20):
            write(host, f"r{number}", b"")
        requests = take(exchange, 20)
    small_store.close()
    for request in requests:
        with pytest.raises(ExchangeError, match="kept"):
            exchange.put_response(request, {"data": b"done"})
    again = type(small_store)(small_store.path)
    try:
        begun = time.monotonic()
        with closing(connect(again.path, 10.0)) as host:
            write(host, "new", b"")
            assert [request["id"] for request in take(exchange, 1)] == ["new"]
        assert time.monotonic() - begun < 2.0
    finally:
        again.close()


def test_a_daemon_that_does_not_answer_is_given_up(store_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(store_path))
        listener.listen()
        with closing(connect(store_path, 0.05)) as session, pytest.raises(SessionLostError, match=r"0\.05 s"):
            session.call(READ, b"name")


def test_a_daemon_that_accepts_nobody_is_given_up(store_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind(str(store_path))
        listener.listen(0)  # one may wait
        waiting.connect(str(store_path))
        with pytest.raises(SessionLostError, match="cannot be reached"):
            connect(store_path, 0.05)
        timer = threading.Timer(0.1, lambda: listener.accept()[0].close())
        timer.start()
        connect(store_path, 10.0).close()
        timer.join()


def test_wake_is_sticky(exchange: XenStoreExchange) -> None:
    exchange.wake()
    assert not exchange.wait(30.0)


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


def test_no_way_to_a_store_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XENSTORED_PATH", str(tmp_path / "none"))
    monkeypatch.setattr(connecting, "_DEVICES", ())  # also on a machine that has them
    assert not XenStoreExchange.available()
    with pytest.raises(ExchangeError, match="option path"):
        XenStoreExchange(XenStoreExchange.Options())


@pytest.mark.parametrize(
    "wrong",
    [{"timeout": 0}, {"request_path": "/"}, {"request_path": "a\0b"}, {"request_path": "x/", "response_path": "x"}],
)
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        XenStoreExchange.Options(**wrong)


def test_the_store_reads_and_writes(small_store: DevelopmentStore) -> None:
    with closing(XenStoreStore(XenStoreStore.Options(path=small_store.path))) as store:
        assert store.read("vm-data/hostname") is None
        assert store.list("vm-data") == []
        store.write("vm-data/hostname", b"\xff\0")
        store.write("vm-data/networking/A", b"")
        assert store.read("vm-data/hostname") == b"\xff\0"
        assert store.list("vm-data") == ["hostname", "networking"]
        store.remove("vm-data")
        store.remove("vm-data")
        assert store.list("vm-data") == []
        store.close()
        assert store.read("name") == b"Domain-0"
