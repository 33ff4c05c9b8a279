"""Waiting for many descriptors at once, with the lowest latency while they are few."""

from __future__ import annotations

import select
from contextlib import suppress
from typing import Generic, TypeVar

__all__ = ("READ", "WRITE", "AdaptiveSelector")

READ, WRITE = select.POLLIN, select.POLLOUT  # EPOLLIN and EPOLLOUT are the same
_MANY = 256  # descriptors
_FEW = 128
DataT = TypeVar("DataT")


class AdaptiveSelector(Generic[DataT]):
    """Polls while its descriptors are few, and uses epoll while they are many.

    poll(2) passes on that a sender is about to wait, so that the kernel wakes the receiver on the sender's processor;
    epoll(7) does not, and the receiver wakes on an idle one. Between two processes that take turns this made a round
    trip of 17 microseconds one of 90 (a virtual machine with 2 processors). But the cost of poll grows with its
    descriptors. Python's selectors cannot be told to change, and take three times as long to say what is ready.
    """

    def __init__(self) -> None:
        self._listened: dict[int, tuple[int, DataT]] = {}
        self._poll: select.poll | None = select.poll()
        self._epoll: select.epoll | None = None

    def __len__(self) -> int:
        return len(self._listened)

    def listen(self, descriptor: int, events: int, data: DataT) -> None:
        """Listens for ``events``, :data:`READ` or :data:`WRITE` or both, from here on; 0: no longer.

        :param data: what :meth:`select` gives when one of them is there.
        """
        poller = self._epoll or self._poll
        assert poller is not None
        if not events:
            if self._listened.pop(descriptor, None) is not None:
                poller.unregister(descriptor)
                if self._epoll is not None and len(self._listened) < _FEW:
                    self._change_to_poll()
            return
        if descriptor in self._listened:
            poller.modify(descriptor, events)
        else:
            poller.register(descriptor, events)
        self._listened[descriptor] = events, data
        if self._poll is not None and len(self._listened) > _MANY:
            with suppress(OSError):  # no descriptor for it: then there are not that many after all
                self._change_to_epoll()

    def select(self, timeout: float | None) -> list[tuple[DataT, int]]:
        """Waits up to ``timeout`` seconds (None: no limit); returns what is ready, or has hung up, and for what."""
        if self._epoll is not None:
            ready = self._epoll.poll(timeout)
        else:
            assert self._poll is not None
            # Rounded up: a wait that ends a little early would be repeated without a pause.
            ready = self._poll.poll(None if timeout is None else -int(-timeout * 1000 // 1))
        found = []
        for descriptor, events in ready:
            awaited, data = self._listened[descriptor]
            found.append((data, events & awaited or awaited))
        return found

    def close(self) -> None:
        """Lets go of everything."""
        self._listened.clear()
        if self._epoll is not None:
            self._epoll.close()

    def _change_to_epoll(self) -> None:
        epoll = select.epoll()
        for descriptor, (events, _) in self._listened.items():
            epoll.register(descriptor, events)
        self._epoll, self._poll = epoll, None

    def _change_to_poll(self) -> None:
        assert self._epoll is not None
        self._epoll.close()
        self._epoll, self._poll = None, select.poll()
        for descriptor, (events, _) in self._listened.items():
            self._poll.register(descriptor, events)
