"""Says in the log which commands are past their deadline: a deadline ends programs, and not Python code."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .calls import Call

__all__ = ("DeadlineWatch",)

_log = logging.getLogger(__name__)
_GRACE = 1.0  # seconds after its deadline in which a command may still end without being reported


class DeadlineWatch:
    """Looks at the running calls when one of them may be late, and never otherwise.

    :param running: returns the calls that run.
    :param wake: makes whoever waits for :attr:`next_look` look at it anew; called from any thread.
    :param stuck: seconds after its deadline at which a call is reported for the second time, and as stuck.
    :param remedy: what is to be done about that, for the log.
    """

    def __init__(
        self, running: Callable[[], list[Call]], wake: Callable[[], object], stuck: float, remedy: str
    ) -> None:
        self._running = running
        self._wake = wake
        self._stuck = stuck
        self._remedy = remedy
        self._lock = threading.Lock()
        self._reports: dict[Call, int] = {}  # how often each was reported
        #: The moment of :func:`time.monotonic` at which to call :meth:`look`; None: there is no need.
        self.next_look: float | None = None

    def began(self, call: Call) -> None:
        """Called when ``call`` begins. It wakes nobody as long as an earlier look is due, which is most of the time."""
        if call.deadline is None:
            return
        moment = call.deadline + _GRACE
        with self._lock:
            if self.next_look is not None and self.next_look <= moment:
                return
            self.next_look = moment
        self._wake()

    def look(self) -> None:
        """Reports what is late; calls that are not over are looked at again."""
        with self._lock:
            self.next_look = None
            now = time.monotonic()
            running = [call for call in self._running() if call.deadline is not None]
            self._reports = {call: self._reports.get(call, 0) for call in running}
            moments = [moment for call in running if (moment := self._report(call, now)) is not None]
            self.next_look = min(moments, default=None)

    def _report(self, call: Call, now: float) -> float | None:
        """Reports ``call`` if it is late; returns when to look at it again."""
        assert call.deadline is not None
        who = f"{call.channel}: {call.name} ({ascii(call.id)[1:-1]})"
        if self._reports[call] == 0 and now >= call.deadline + _GRACE:
            self._reports[call] = 1
            consequence = "exclusive commands wait for it, parallel ones do not"
            _log.error("%s is past its deadline of %.0f s and goes on; %s", who, call.spec.timeout, consequence)
        if self._reports[call] == 1 and now >= call.deadline + self._stuck:
            self._reports[call] = 2
            _log.error("%s does not end; %s", who, self._remedy)
        return (call.deadline + _GRACE, call.deadline + self._stuck, None)[self._reports[call]]
