"""The journal's file: an SQLite database of calls, one row for each that is not over.

SQLite is of the standard library, and takes care of what is hard here: a write that is there whole or not at all,
whatever happens to the process or the machine in between. Importing this module imports it, at a cost of 2 ms and
1.5 MiB, so the journal does so when it first needs it.

A write-ahead log in a file that only one process opens: a command's three writes take a quarter of the time of those
with a rollback journal (0.58 against 2.1 ms, on a virtual disk), and survive the same. What has to survive the machine
is flushed to the disk before the call returns (``synchronous=FULL``), the rest only has to survive this process
(``NORMAL``), for which the kernel's cache is enough.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import NamedTuple

__all__ = ("ANSWERED", "FINISHED", "STARTED", "DamagedError", "Entries", "Entry")

STARTED, FINISHED, ANSWERED = "started", "finished", "answered"

_VERSION = 1  # of the table; a file with another one is set aside
_LOCKED = 1.0  # seconds to wait for another process that has the file open
_COLUMNS = "number, run, since, channel, request, digest, part, command, state, attempts, outcome, actions"
_SCHEMA = f"""
CREATE TABLE entries (
    number INTEGER PRIMARY KEY, run INTEGER, since REAL, channel TEXT, request BLOB, digest BLOB, part INTEGER,
    command TEXT, state TEXT, attempts INTEGER, outcome TEXT, actions TEXT
);
CREATE INDEX entries_by_request ON entries (channel, request, digest);
PRAGMA user_version = {_VERSION};
"""


class DamagedError(Exception):
    """The file is no journal, or not one of this version."""


class Entry(NamedTuple):
    """One call."""

    number: int
    run: int
    """Which start of the agent it belongs to."""
    since: float
    """When its state changed last, in seconds of that run's monotonic clock."""
    channel: str
    request: bytes | None
    """The request's id; None: nobody can ask for this call again."""
    digest: bytes
    """Of the request's data."""
    part: int
    """The how-manieth call of its request it is."""
    command: str
    state: str
    attempts: int = 0
    """How often it was resumed."""
    outcome: str | None = None
    """JSON of what it answered."""
    actions: str = "[]"
    """JSON of the programs to start after the answer, without those that were started."""


class Entries:
    """The file, open. Its methods are called by one thread at a time, and raise OSError, sqlite3.Error or DamagedError.

    :raises DamagedError: it is no journal.
    """

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        self._connection = sqlite3.connect(path, timeout=_LOCKED, isolation_level=None, check_same_thread=False)
        self._flushes: bool | None = None  # what synchronous is set to
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._connection.close()
            raise _told(error) from error
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        for pragma in (
            "locking_mode = EXCLUSIVE",  # one agent has it, and no shared memory is needed
            "journal_mode = WAL",
            "secure_delete = ON",  # what is deleted is overwritten
            "wal_autocheckpoint = 256",  # pages, that is 1 MiB
            f"journal_size_limit = {1024 * 1024}",
            "cache_size = -256",  # KiB
        ):
            self._connection.execute(f"PRAGMA {pragma}")
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version == 0 and tables == 0:
            self._connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        elif version != _VERSION:
            raise DamagedError(f"it is of version {version}, not {_VERSION}")
        else:
            (verdict,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise DamagedError(verdict)

    def all(self) -> list[Entry]:
        """Returns every entry, oldest first."""
        return self._select("ORDER BY number")

    def find(self, channel: str, request: bytes, digest: bytes) -> list[Entry]:
        """Returns the entries of a request, newest first."""
        return self._select(
            "WHERE channel = ? AND request = ? AND digest = ? ORDER BY number DESC", channel, request, digest
        )

    def get(self, number: int) -> Entry | None:
        """Returns an entry, None if it is not there."""
        return next(iter(self._select("WHERE number = ?", number)), None)

    def put(self, entry: Entry, *, flush: bool) -> Entry:
        """Writes and returns ``entry``, in the place of the one with its number if there is one.

        :param flush: whether it has to survive a loss of power.
        """
        marks = ", ".join("?" * len(entry))
        self._write(f"INSERT OR REPLACE INTO entries ({_COLUMNS}) VALUES ({marks})", *entry, flush=flush)  # noqa: S608 - no values
        return entry

    def remove(self, number: int, *, flush: bool = False) -> None:
        """Removes an entry, if it is there."""
        self._write("DELETE FROM entries WHERE number = ?", number, flush=flush)

    def count(self) -> int:
        """Returns how many entries there are."""
        (count,) = self._connection.execute("SELECT count(*) FROM entries").fetchone()
        return int(count)

    def shred(self) -> None:
        """Leaves no copy of what was removed."""
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise _told(error) from error

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def _select(self, rest: str, *values: object) -> list[Entry]:
        try:
            rows = self._connection.execute(f"SELECT {_COLUMNS} FROM entries {rest}", values).fetchall()  # noqa: S608 - no values
        except sqlite3.Error as error:
            raise _told(error) from error
        return [Entry(*row) for row in rows]

    def _write(self, statement: str, *values: object, flush: bool) -> None:
        try:
            if flush != self._flushes:
                self._connection.execute(f"PRAGMA synchronous = {'FULL' if flush else 'NORMAL'}")
                self._flushes = flush
            self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise _told(error) from error


def _told(error: sqlite3.Error) -> Exception:
    """Returns ``error``, or a DamagedError in its place: SQLite's damaged files are plain database errors."""
    return DamagedError(str(error)) if type(error) is sqlite3.DatabaseError else error
