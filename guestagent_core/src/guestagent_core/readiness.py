"""Waiting for many descriptors at once, with the lowest latency while they are few."""

from __future__ import annotations

import selectors
from contextlib import suppress
from typing import Any

__all__ = ("AdaptiveSelector",)

_MANY = 256  # descriptors
_FEW = 128


class AdaptiveSelector:
    """A selector that polls while its descriptors are few, and is the system's best while they are many.

    poll(2) passes on that a sender is about to wait, so that the kernel wakes the receiver on its processor;
    epoll(7) does not, and the receiver wakes on an idle one. Between two processes that take turns this makes a round
    trip
    of 17 microseconds one of 90 (a virtual machine with 2 processors). But the cost of poll grows with its descriptors.
    """

    def __init__(self) -> None:
        self._selector: selectors.BaseSelector = selectors.PollSelector()
        self._is_for_many = False

    def register(self, fileobj: Any, events: int, data: Any = None) -> None:
        """Begins to listen for ``events``; the other methods too are those of :class:`selectors.BaseSelector`."""
        self._selector.register(fileobj, events, data)
        if not self._is_for_many and len(self._selector.get_map()) > _MANY:
            with suppress(OSError):  # no descriptor for it: then there are not that many after all
                self._move(selectors.DefaultSelector(), is_for_many=True)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> None:
        """Listens for other events."""
        self._selector.modify(fileobj, events, data)

    def unregister(self, fileobj: Any) -> None:
        """Listens no longer."""
        self._selector.unregister(fileobj)
        if self._is_for_many and len(self._selector.get_map()) < _FEW:
            self._move(selectors.PollSelector(), is_for_many=False)

    def select(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        """Waits up to ``timeout`` seconds; returns what is ready."""
        return self._selector.select(timeout)

    def registered(self) -> list[selectors.SelectorKey]:
        """Returns what is listened to."""
        return list(self._selector.get_map().values())

    def close(self) -> None:
        """Lets go of everything."""
        self._selector.close()

    def _move(self, selector: selectors.BaseSelector, *, is_for_many: bool) -> None:
        for key in self.registered():
            selector.register(key.fileobj, key.events, key.data)
        self._selector.close()
        self._selector = selector
        self._is_for_many = is_for_many
