"""The xenstore exchange: daemons that go and come back, do not answer, or are not there."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from guestagent_core import ExchangeError
from guestagent_xen import connecting, reconnecting
from guestagent_xen.connecting import connect
from guestagent_xen.devstore import DevelopmentStore
from guestagent_xen.exchange import XenStoreExchange
from guestagent_xen.session import SessionLostError

from .asking import READ, take, write


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


def test_many_answers_without_a_daemon_do_not_delay_connecting(
    small_store: DevelopmentStore, exchange: XenStoreExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconnecting, "_LONGEST_PAUSE", 600.0)  # it would be that long, did it double by each
    with closing(connect(small_store.path, 10.0)) as host:
        for number in range(20):
            write(host, f"r{number}", b"")
        requests = take(exchange, 20)
    small_store.close()
    for request in requests:
        with pytest.raises(ExchangeError, match="kept"):
            exchange.put_response(request, {"data": b"done"})
    with DevelopmentStore(small_store.path) as again, closing(connect(again.path, 10.0)) as host:
        write(host, "new", b"")
        assert [request["id"] for request in take(exchange, 1)] == ["new"]


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


def test_no_way_to_a_store_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XENSTORED_PATH", str(tmp_path / "none"))
    monkeypatch.setattr(connecting, "_DEVICES", ())  # also on a machine that has them
    assert not XenStoreExchange.available()
    with pytest.raises(ExchangeError, match="option path"):
        XenStoreExchange(XenStoreExchange.Options())


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0},
        {"request_path": "/"},
        {"request_path": "a\0b"},
        {"response_path": "a b"},
        {"response_path": "\xe9"},
        {"request_path": "a//b"},
        {"request_path": "@a"},
        {"request_path": "x/", "response_path": "x"},
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        XenStoreExchange.Options(**wrong)
