"""Notices commands that leave threads or descriptors behind, before the process has no more of them."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

__all__ = ("LeakWatch",)

_log = logging.getLogger(__name__)
_MANY = 50  # threads or descriptors left behind
_TIMES = 10  # calls that left some; a client that connects meanwhile is no leak


@dataclass
class _Growth:
    total: dict[str, int] = field(default_factory=lambda: {"threads": 0, "descriptors": 0})
    calls: dict[str, int] = field(default_factory=lambda: {"threads": 0, "descriptors": 0})


class LeakWatch:
    """Compares what the process holds before and after each exclusive command; they run one at a time.

    What else happens meanwhile counts too, so a command is only reported when it has grown the process again and again.
    """

    def __init__(self) -> None:
        self._growth: dict[str, _Growth] = {}
        self._reported: set[tuple[str, str]] = set()

    @contextmanager
    def watching(self, name: str, provider: str) -> Iterator[None]:
        """Watches one call of the command ``name``.

        :param provider: the class and module that it is of, for the log.
        """
        before = _held()
        try:
            yield
        finally:
            growth = self._growth.setdefault(name, _Growth())
            for what, held in _held().items():
                more = held - before.get(what, held)
                growth.total[what] += more
                growth.calls[what] += more > 0
                is_leak = growth.total[what] >= _MANY and growth.calls[what] >= _TIMES
                if is_leak and (name, what) not in self._reported:
                    self._reported.add((name, what))
                    _log.error("Command %s of %s leaves %s behind: %d so far", name, provider, what, growth.total[what])


def _held() -> dict[str, int]:
    held = {"threads": threading.active_count()}
    with suppress(OSError):  # there is none left, which is what the others will say
        # The lowest free number grows with what is left open, and is found in no time.
        descriptor = os.dup(0)
        os.close(descriptor)
        held["descriptors"] = descriptor
    return held
