"""A lock that serves in the order of arrival, in which a place can be taken first and waited for later.

:class:`threading.Lock` promises no order, and cannot be queued for by a thread that has something to do before it
waits.
"""

from __future__ import annotations

import threading
from collections import deque

__all__ = ("FifoLock", "Place")


class FifoLock:
    """A lock held by one :class:`Place` at a time, first come, first served."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._places: deque[Place] = deque()  # the first one holds the lock

    def enqueue(self) -> Place:
        """Takes the next place in the queue; never blocks."""
        place = Place(self)
        with self._mutex:
            self._places.append(place)
            if self._places[0] is place:
                place._turn.release()
        return place

    def _leave(self, place: Place) -> None:
        with self._mutex:
            if place not in self._places:
                return
            was_first = self._places[0] is place
            self._places.remove(place)
            if was_first and self._places:
                self._places[0]._turn.release()


class Place:
    """A place in the queue of a :class:`FifoLock`; the one that took it calls :meth:`wait`, then :meth:`release`."""

    def __init__(self, lock: FifoLock) -> None:
        self._lock = lock
        self._turn = threading.Lock()
        self._turn.acquire()
        #: Whether the place was given up before it held the lock.
        self.cancelled = False

    def wait(self) -> bool:
        """Waits until this place holds the lock and returns True, or False if it was cancelled before that."""
        try:
            self._turn.acquire()
        except BaseException:  # an interrupt must not leave a place in the queue that nobody will ever release
            self.release()
            raise
        return not self.cancelled

    def cancel(self) -> None:
        """Gives the place up, unless it holds the lock; may be called from any thread."""
        with self._lock._mutex:
            places = self._lock._places
            if self not in places or places[0] is self:
                return
            places.remove(self)
            self.cancelled = True
            self._turn.release()

    def release(self) -> None:
        """Leaves the queue, and with it the lock if this place holds it."""
        self._lock._leave(self)
