"""What the journal costs a command that has an effect: beside the same one without it, and beside SQLite alone."""

from __future__ import annotations

import itertools
import queue
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measuring import Row, compare, timed

from guestagent_core import (
    ChannelRunner,
    CommandBase,
    CommandRegistry,
    CommandResult,
    Dispatcher,
    Request,
    Response,
    command,
)
from guestagent_core.journal import FileJournal
from guestagent_json import JsonParser

__all__ = ("measure",)

_REQUESTS = 200
_REQUEST = b'{"name": "effect", "value": "value"}'


class Pack(CommandBase):
    """A command that does nothing, but is not known for that."""

    @command("effect")
    def effect(self, value: Any) -> CommandResult:
        """Does nothing."""
        return CommandResult(0, "done")


class QueueExchange:
    """A transport within the process: one request, one answer."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._ready: list[Request] = []
        self._answers: queue.SimpleQueue[Response] = queue.SimpleQueue()

    def ask(self, request: Request) -> Response:
        """Returns the answer."""
        self._events.put(request)
        return self._answers.get()

    def get_request(self) -> Request | None:
        """Returns what wait has taken."""
        return self._ready.pop() if self._ready else None

    def put_response(self, request: Request, response: Response) -> None:
        """Passes the answer on."""
        self._answers.put(response)

    def wait(self, timeout: float | None) -> bool:
        """Waits for a request."""
        event = self._events.get(timeout=timeout)
        if event is not None:
            self._ready.append(event)
        return bool(self._ready)

    def wake(self) -> None:
        """Ends a wait."""
        self._events.put(None)


def measure(rounds: int) -> list[Row]:
    """Measures on the disk that holds the folder for temporary files (``TMPDIR``)."""
    with tempfile.TemporaryDirectory(prefix="ga-") as name:
        folder = Path(name)
        journal = FileJournal(folder, lambda argv: None)
        with answering(journal) as ours, answering(None) as other, bare_sqlite(folder / "bare.db") as bare:
            numbers = itertools.count()

            def with_id(exchange: QueueExchange) -> float:
                return timed(lambda: exchange.ask({"data": _REQUEST, "id": str(next(numbers))}), _REQUESTS) * 1e6

            def without_id(exchange: QueueExchange) -> float:
                return timed(lambda: exchange.ask({"data": _REQUEST}), _REQUESTS) * 1e6

            journalled = compare(lambda: with_id(ours), lambda: with_id(other), rounds)
            local = compare(lambda: without_id(ours), lambda: without_id(other), rounds)
            floor = compare(
                lambda: with_id(ours) - with_id(other),
                lambda: timed(lambda: bare(next(numbers)), _REQUESTS) * 1e6,
                rounds,
            )
        journal.close()
    return [
        Row("exclusive command with an id, beside no journal", "us", *journalled, goal=60),
        Row("exclusive command without one, beside no journal", "us", *local, goal=6),
        Row("the journal, beside the same writes of SQLite", "us", *floor, goal=1.5),
    ]


@contextmanager
def answering(journal: FileJournal | None) -> Iterator[QueueExchange]:
    """Gives an exchange whose requests are answered."""
    exchange = QueueExchange()
    parser = JsonParser(ChannelRunner(CommandRegistry([Pack]), "bench", journal=journal))
    dispatcher = Dispatcher(exchange, parser)
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    try:
        yield exchange
    finally:
        dispatcher.stop()
        thread.join()


@contextmanager
def bare_sqlite(path: Path) -> Iterator[Any]:
    """Gives a function that writes a row, changes it and removes it, flushed where the journal does so."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 256")
    connection.execute("CREATE TABLE entries (number INTEGER PRIMARY KEY, state TEXT, outcome TEXT)")

    def write(number: int) -> None:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("INSERT INTO entries VALUES (?, 'started', NULL)", (number,))
        connection.execute("UPDATE entries SET state = 'finished', outcome = 'done' WHERE number = ?", (number,))
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("DELETE FROM entries WHERE number = ?", (number,))

    try:
        yield write
    finally:
        connection.close()
