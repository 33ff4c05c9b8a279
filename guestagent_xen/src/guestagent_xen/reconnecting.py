"""A session that is made anew whenever it is lost."""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from guestagent_core import ExchangeError, Waker

from .connecting import connect
from .session import Session, SessionLostError, StoreError

__all__ = ("ReconnectingSession",)

_log = logging.getLogger(__name__)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0  # seconds between two attempts to connect


class ReconnectingSession:
    """Connects, waits, and connects again. One thread at a time may use it; any may call ``wake``.

    :param path: a xenbus device or a socket; None: the one that this machine offers.
    :param timeout: seconds that the daemon has to answer before the connection is given up.
    :param begin: what is done first in a new session, such as to set watches. If the daemon refuses, the session is
            given up.
    :param lost: called when a session is gone, or could not be begun.
    """

    def __init__(
        self,
        path: Path | None,
        timeout: float,
        *,
        begin: Callable[[Session], None],
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        """The way to the daemon."""
        self.session: Session | None = None
        """The session there is at present, as far as is known."""
        self._timeout = timeout
        self._begin, self._lost = begin, lost
        self._pause, self._connect_at = 0.0, 0.0  # while there is no session
        self._others: tuple[int, ...] = ()  # the caller's descriptors of the last sleep
        self._waker = Waker()
        self._poll = select.poll()
        self._poll.register(self._waker.fileno(), select.POLLIN)

    def connect(self) -> None:
        """Connects, if there is no session and the last attempt was long enough ago."""
        if self.session is not None or time.monotonic() < self._connect_at:
            return
        session = None
        try:
            session = connect(self.path, self._timeout)
            self._begin(session)
        except (SessionLostError, StoreError) as error:
            if session is not None:
                session.close()
            self.lose(error)
            return
        self.session = session
        self._poll.register(session.fileno(), select.POLLIN)

    def works(self) -> None:
        """Is called when the daemon has done what a new session is for: the next pause is a short one again."""
        if self._pause:
            _log.info("XenStore is back")
            self._pause = 0.0

    def lose(self, error: ExchangeError) -> None:
        """Gives the session up; each pause before the next attempt is longer until one works."""
        self._pause = min(self._pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE)
        self._connect_at = time.monotonic() + self._pause
        if self._pause == _FIRST_PAUSE:
            _log.warning("%s; until it is back, connecting is tried at least every %.0f s", error, _LONGEST_PAUSE)
        if self.session is not None:
            self._poll.unregister(self.session.fileno())
            self.session.close()
            self.session = None
        self._lost()

    def sleep(self, until: float | None, descriptors: Iterable[tuple[int, int]] = ()) -> tuple[bool, list[int]]:
        """Waits until something has come, somebody calls ``wake``, or it is time to connect.

        :param until: by the monotonic clock, when to end anyway; None: never.
        :param descriptors: of the caller's own, each with the events of poll(2) to wait for.
        :returns: whether somebody called ``wake``, and which of ``descriptors`` have something.
        """
        if self.session is None:
            until = self._connect_at if until is None else min(until, self._connect_at)
        for descriptor in self._others:
            self._poll.unregister(descriptor)
        wanted = dict(descriptors)
        self._others = tuple(wanted)
        for descriptor, events in wanted.items():
            self._poll.register(descriptor, events)
        # Rounded up: a wait that ends a little early would be repeated without a pause.
        pause = None if until is None else max(0, -int(-(until - time.monotonic()) * 1000 // 1))
        woken, readable = False, []
        for descriptor, _ in self._poll.poll(pause):
            if descriptor in wanted:
                readable.append(descriptor)
            elif descriptor == self._waker.fileno():
                woken = self._waker.clear()
            elif self.session is not None:
                try:
                    self.session.receive()
                except SessionLostError as error:
                    self.lose(error)
        return woken, readable

    def wake(self) -> None:
        """Ends a ``sleep``, or the next one."""
        self._waker.wake()

    def close(self) -> None:
        """Hangs up. May be called again."""
        if self.session is not None:
            self.session.close()
            self.session = None
        self._waker.close()
