"""The lock that serves in the order of arrival."""

from __future__ import annotations

import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestagent_core.locks import FifoLock, Place

PATIENCE = 60.0  # seconds; how long anything may take before it counts as hanging


def is_held(lock: FifoLock) -> bool:
    """Whether somebody else holds ``lock``: only a place that does not hold it can be cancelled."""
    place = lock.enqueue()
    place.cancel()
    place.release()
    return place.cancelled


def test_the_first_place_holds_the_lock_at_once() -> None:
    lock = FifoLock()
    place = lock.enqueue()
    assert place.wait()
    assert is_held(lock)
    place.release()
    assert not is_held(lock)


def test_places_are_served_in_the_order_in_which_they_were_taken() -> None:
    lock = FifoLock()
    first = lock.enqueue()
    places = [lock.enqueue() for _ in range(20)]
    served: list[int] = []
    holders = 0

    def work(number: int) -> None:
        nonlocal holders
        assert places[number].wait()
        holders += 1
        served.append(number * holders)  # holders is 1, unless two hold the lock
        holders -= 1
        places[number].release()

    numbers = list(range(20))
    random.Random(5).shuffle(numbers)  # the order of waiting has no say
    threads = [threading.Thread(target=work, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    assert first.wait()
    assert served == []
    first.release()
    for thread in threads:
        thread.join(PATIENCE)
    assert served == list(range(20))
    assert not is_held(lock)


def test_a_waiting_thread_goes_on_when_its_place_is_cancelled() -> None:
    lock = FifoLock()
    holder, place, next_place = lock.enqueue(), lock.enqueue(), lock.enqueue()
    outcome: list[bool] = []
    thread = threading.Thread(target=lambda: outcome.append(place.wait()))
    thread.start()
    place.cancel()
    thread.join(PATIENCE)
    assert outcome == [False]
    place.release()
    holder.release()
    assert next_place.wait()
    assert not next_place.cancelled


def test_a_place_that_holds_the_lock_cannot_be_cancelled() -> None:
    lock = FifoLock()
    place = lock.enqueue()
    place.cancel()
    assert place.wait()
    place.cancel()
    assert not place.cancelled
    assert is_held(lock)


def test_releasing_and_cancelling_again_do_nothing() -> None:
    lock = FifoLock()
    place, waiting = lock.enqueue(), lock.enqueue()
    waiting.cancel()
    waiting.cancel()
    place.release()
    following = lock.enqueue()
    place.release()
    place.cancel()
    waiting.release()
    assert following.wait()
    assert is_held(lock)


def test_a_place_can_be_given_up_before_its_turn() -> None:
    lock = FifoLock()
    holder, place, following = lock.enqueue(), lock.enqueue(), lock.enqueue()
    place.release()
    assert is_held(lock)
    holder.release()
    assert following.wait()


def test_an_interrupted_wait_leaves_no_place_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted:
        def acquire(self) -> None:
            raise KeyboardInterrupt

        def release(self) -> None:
            """Somebody else's turn has come."""

    lock = FifoLock()
    holder, place, following = lock.enqueue(), lock.enqueue(), lock.enqueue()
    monkeypatch.setattr(place, "_turn", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        place.wait()
    holder.release()
    assert following.wait()


@given(st.lists(st.tuples(st.sampled_from(("enqueue", "cancel", "release")), st.integers(0, 9)), max_size=40))
def test_whatever_is_done_the_oldest_place_left_holds_the_lock(steps: list[tuple[str, int]]) -> None:
    lock = FifoLock()
    queue: list[Place] = []
    for action, index in steps:
        if action == "enqueue" or not queue:
            queue.append(lock.enqueue())
            continue
        place = queue[index % len(queue)]
        if action == "release":
            place.release()
            queue.remove(place)
        else:
            place.cancel()
            assert place.cancelled == (place is not queue[0])
            if place.cancelled:
                queue.remove(place)
                assert not place.wait()
    assert is_held(lock) == bool(queue)
    for place in tuple(queue):
        assert place.wait()
        place.release()
    assert not is_held(lock)
