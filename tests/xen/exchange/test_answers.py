"""The xenstore exchange: answers that are refused, too large, or one too many."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest

from guestagent_core import ExchangeError, ResponseTooLargeError
from guestagent_xen import answering
from guestagent_xen.connecting import connect
from guestagent_xen.devstore import DevelopmentStore
from guestagent_xen.exchange import XenStoreExchange
from guestagent_xen.session import Operation, Session

from .asking import HOME, READ, SET_PERMS, WRITE, take, write


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


def test_a_conflict_is_tried_again(host: Session, exchange: XenStoreExchange) -> None:
    write(host, "one", b"1")
    (request,) = take(exchange, 1)
    host.call_all(Operation(WRITE, b"data/guest/one\0somebody"))  # after the transaction was begun ahead
    exchange.put_response(request, {"data": b"done"})
    assert host.call(READ, b"data/guest/one") == b"done"


def test_an_answer_too_large_names_the_limit(host: Session, exchange: XenStoreExchange) -> None:
    write(host, "one", b"1")
    (request,) = take(exchange, 1)
    limit = 4096 - len(b"data/guest/one\0")
    with pytest.raises(ResponseTooLargeError) as caught:
        exchange.put_response(request, {"data": b"x" * (limit + 1)})
    assert caught.value.limit == limit
    exchange.put_response(request, {"data": b"x" * limit})
    assert host.call(READ, b"data/guest/one") == b"x" * limit


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
