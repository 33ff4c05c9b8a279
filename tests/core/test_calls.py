"""A call, and the delivery on which it travels."""

from __future__ import annotations

import logging
import threading

import pytest

from guestagent_core import Call, CommandSpec
from guestagent_core.calls import CallAbandonedError, Delivery, current_delivery, ensured_delivery


def test_a_call_shows_neither_value_nor_argument() -> None:
    call = Call("1", "local", "password", "hunter2", b"hunter3", CommandSpec("password", examples=("hunter4",)))
    assert "password" in repr(call)
    assert "hunter" not in repr(call)


def test_a_call_is_frozen_and_has_no_deadline_at_first() -> None:
    call = Call("1", "local", "x", "", "", CommandSpec("x"))
    assert (call.peer, call.deadline) == (None, None)
    with pytest.raises(AttributeError):
        call.deadline = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("delivered", [True, False])
def test_what_waits_for_the_answer_learns_in_order_whether_it_went_out(delivered: bool) -> None:
    seen: list[tuple[str, bool]] = []
    delivery = Delivery({})
    delivery.settled.append(lambda went_out: seen.append(("first", went_out)))
    delivery.settled.append(lambda went_out: seen.append(("second", went_out)))
    delivery.settle(delivered)
    assert seen == [("first", delivered), ("second", delivered)]


def test_a_failure_of_what_waits_is_logged_and_keeps_none_of_the_others(caplog: pytest.LogCaptureFixture) -> None:
    def fail(delivered: bool) -> None:
        raise OSError("no such device")

    seen: list[bool] = []
    delivery = Delivery({})
    delivery.settled.extend([fail, seen.append])
    delivery.settle(True)
    assert seen == [True]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "no such device" in caplog.text


def test_a_delivery_is_made_where_there_is_none_and_settled_in_the_end() -> None:
    settled: list[bool] = []
    with ensured_delivery() as delivery:
        assert current_delivery.get() is delivery
        delivery.settled.append(settled.append)
        assert (dict(delivery.request), delivery.call, delivery.store, delivery.commands()) == ({}, None, None, {})
        assert settled == []
    assert settled == [True]
    assert current_delivery.get() is None


def test_a_delivery_that_was_made_is_settled_after_a_failure_too() -> None:
    def fail() -> None:
        with ensured_delivery() as delivery:
            delivery.settled.append(settled.append)
            raise ZeroDivisionError

    settled: list[bool] = []
    with pytest.raises(ZeroDivisionError):
        fail()
    assert settled == [True]
    assert current_delivery.get() is None


def test_a_delivery_that_is_there_is_used_and_left_to_its_owner() -> None:
    settled: list[bool] = []
    mine = Delivery({"id": 1})
    mine.settled.append(settled.append)
    token = current_delivery.set(mine)
    try:
        with ensured_delivery() as delivery:
            assert delivery is mine
        assert settled == []
        assert current_delivery.get() is mine
    finally:
        current_delivery.reset(token)


def test_each_thread_works_on_its_own_delivery() -> None:
    elsewhere: list[Delivery | None] = []
    with ensured_delivery():
        thread = threading.Thread(target=lambda: elsewhere.append(current_delivery.get()))
        thread.start()
        thread.join()
    assert elsewhere == [None]


def test_an_abandoned_call_is_not_taken_for_a_failure() -> None:
    """Parsers turn every Exception into an answer."""
    assert not issubclass(CallAbandonedError, Exception)
