"""The journal's file as the journal uses it: opened when it is needed, bounded, and never in the way.

A file that cannot be read or written stops nothing: the log says so, and whatever comes next tries again. One that is
damaged is set aside.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from .entries import Entries, Entry

__all__ = ("JournalFile",)

_log = logging.getLogger(__name__)
_LONGEST_KEPT = 3600.0  # seconds that an unanswered entry of this run is kept, or one left behind, from the start on
_MOST_KEPT = 1000  # entries, and as many as begin until they are counted again
_COUNT_EVERY = 20  # entries
_LOOK_FOR_OLD = 60.0  # seconds between two times that all entries are looked through for old ones
ValueT = TypeVar("ValueT")


class JournalFile:
    """A file of entries that may be used by several threads.

    :param on_first_open: called with what an earlier run left behind.
    """

    def __init__(self, path: Path, on_first_open: Callable[[Entries, list[Entry]], object]) -> None:
        self.path = path
        #: The number of this run of the agent, 0 until the file was opened.
        self.run = 0
        #: Entries whose answer is still to come in this process.
        self.live: set[int] = set()
        self._on_first_open = on_first_open
        self._mutex = threading.RLock()  # what is called on the first open may forget entries
        self._entries: Entries | None = None
        self._failure = ""  # why it cannot be used at present
        self._began = time.monotonic()
        self._last_number = 0
        self._over: set[int] = set()  # entries that could not be removed so far
        self._look_for_old_at = 0.0
        self._uncounted = 0  # entries that began since they were counted

    def attempt(self, work: Callable[[Entries], ValueT]) -> ValueT | None:
        """Returns what ``work`` returns; None, and the log says why, if the file cannot be used.

        ``work`` is done again in a new file if this one turns out to be damaged.
        """
        with self._mutex:
            try:
                done = self._attempt(work)
            except Exception as error:
                self._report(error)
                return None
            if self._failure:
                _log.warning("The journal %s can be used again", self.path)
                self._failure = ""
            return done

    def next_number(self) -> int:
        """Returns a number for an entry that no other has had, not even in a file that was set aside."""
        self._last_number += 1
        return self._last_number

    def forget(self, number: int) -> None:
        """Removes an entry as soon as that can be done; until then it counts for nothing."""
        with self._mutex:
            self._over.add(number)

    def tidy(self, entries: Entries) -> None:
        """Removes what is forgotten, old, or too much."""
        for number in tuple(self._over):
            entries.remove(number)
            self._over.discard(number)
            self.live.discard(number)
        now = time.monotonic()
        self._uncounted += 1
        if now < self._look_for_old_at and self._uncounted < _COUNT_EVERY:
            return
        self._uncounted = 0
        count = entries.count()
        if now < self._look_for_old_at and count < _MOST_KEPT:
            return
        self._look_for_old_at = now + _LOOK_FOR_OLD
        excess = count - _MOST_KEPT * 9 // 10 if count >= _MOST_KEPT else 0
        for entry in entries.all():
            # No clock of the wall is looked at, for it may jump by years: age counts while an agent runs.
            since = entry.since if entry.run == self.run else self._began
            if entry.number not in self.live and (excess > 0 or now - since > _LONGEST_KEPT):
                _log.info("%s: the journal forgets %s (%s)", entry.channel, entry.command, entry.state)
                entries.remove(entry.number)
                excess -= 1

    def close(self) -> None:
        """Closes the file, and removes it if there is nothing in it."""
        with self._mutex:
            if self._entries is None:
                return
            try:
                self.tidy(self._entries)
                is_empty = self._entries.count() == 0
                self._close()
                if is_empty:
                    self.path.unlink()
            except Exception as error:
                _log.warning("The journal %s could not be closed as it should: %s", self.path, error)
                self._close()

    def _attempt(self, work: Callable[[Entries], ValueT]) -> ValueT:
        from .entries import DamagedError

        try:
            return work(self._opened())
        except DamagedError as error:
            self._set_aside(error)
            return work(self._opened())

    def _opened(self) -> Entries:
        if self._entries is None:
            from .entries import Entries

            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._entries = Entries(self.path)
            there = self._entries.all()
            self._last_number = max([self._last_number, *(entry.number for entry in there)])
            if not self.run:
                self.run = max((entry.run for entry in there), default=0) + 1
                self._on_first_open(self._entries, there)
        return self._entries

    def _report(self, error: Exception) -> None:
        self._close()
        reason = f"{type(error).__name__}: {error}"
        if reason != self._failure:
            consequence = "until it can, a command may be run twice if the agent is killed"
            _log.error("The journal %s cannot be used; %s: %s", self.path, consequence, reason)
        self._failure = reason

    def _set_aside(self, error: Exception) -> None:
        self._close()
        aside = self.path.with_name(f"{self.path.name}.damaged")
        os.replace(self.path, aside)
        for suffix in ("-wal", "-journal", "-shm"):  # they belong to what is gone
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        _log.error("The journal %s is damaged (%s); it is kept as %s, and a new one begun", self.path, error, aside)

    def _close(self) -> None:
        if self._entries is not None:
            entries, self._entries = self._entries, None
            entries.close()
