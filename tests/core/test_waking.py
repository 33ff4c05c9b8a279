"""Ending a wait from another thread."""

from __future__ import annotations

import select
import threading
from contextlib import closing

from guestagent_core import Waker


def is_readable(waker: Waker, timeout: float = 0) -> bool:
    return bool(select.select([waker], [], [], timeout)[0])


def test_another_thread_ends_a_wait() -> None:
    with closing(Waker()) as waker:
        thread = threading.Timer(0.05, waker.wake)
        thread.start()
        assert is_readable(waker, 30)
        thread.join()


def test_a_wake_that_comes_first_is_not_lost_and_counts_once() -> None:
    with closing(Waker()) as waker:
        assert not is_readable(waker)
        assert not waker.clear()
        waker.wake()
        waker.wake()
        assert is_readable(waker)
        assert waker.clear()
        assert not waker.clear()
        assert not is_readable(waker)


def test_any_number_of_wakes_that_nobody_clears_does_not_wait() -> None:
    with closing(Waker()) as waker:
        for _ in range(100_000):
            waker.wake()
        while waker.clear():
            pass
        assert not is_readable(waker)
        waker.wake()
        assert is_readable(waker)


def test_closed_it_can_be_woken_and_closed_again() -> None:
    waker = Waker()
    waker.close()
    waker.wake()
    waker.close()
    assert waker.fileno() == -1
