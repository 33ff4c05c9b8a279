"""A connection that watches nodes, and makes itself anew whenever it is lost."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from pyxs._internal import Op

from guestagent_core import ExchangeError

from .listing import list_children
from .reconnecting import ReconnectingSession
from .session import Operation, Session, SessionLostError, StoreError

__all__ = ("Changes", "Watcher", "is_missing", "removing", "seconds_until", "writing")

_CONFLICT_PAUSE, _LONGEST_CONFLICT_PAUSE = 0.001, 0.1  # seconds, after a transaction met a conflict
_DROPPED = ("EAGAIN", "ENOENT")  # the transaction met a conflict; the daemon does not know it (any more)
ResultT = TypeVar("ResultT")


class Changes(NamedTuple):
    """Why a :meth:`Watcher.wait` has ended."""

    paths: list[str]
    """Nodes that have changed, oldest first, each once."""
    readable: list[int]
    """Those of the caller's own descriptors that can be read from."""
    woken: bool
    """Whether somebody called ``wake``."""


class Watcher:
    """Watches nodes; a relative path is the domain's own. One thread at a time may use it; any may call ``wake``.

    A daemon tells of each watched node once when the watch is set, so after every new connection each is reported as
    changed, whether it exists or not.

    :param path: a xenbus device or a socket; None: the one that this machine offers.
    :param watched: the nodes; what happens below them is told too.
    :param timeout: seconds that the daemon has to answer before the connection is given up.
    """

    def __init__(self, path: Path | None, watched: Sequence[str], timeout: float = 5.0) -> None:
        self._watched = tuple(watched)
        self._timeout = timeout
        self._connection = ReconnectingSession(path, timeout, begin=self._begin)

    @property
    def path(self) -> Path | None:
        """The way to the daemon."""
        return self._connection.path

    @property
    def connected(self) -> bool:
        """Whether there is a connection at present, as far as is known."""
        return self._connection.session is not None

    def wait(self, timeout: float | None, descriptors: Iterable[tuple[int, int]] = ()) -> Changes:
        """Waits until a watched node has changed, one of ``descriptors`` has something, or ``wake`` is called.

        :param timeout: in seconds; None: no limit.
        :param descriptors: of the caller's own, each with the events of poll(2) to wait for.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._connection.connect()
            paths = self._changed()
            if paths:
                return Changes(paths, [], woken=False)
            woken, readable = self._connection.sleep(deadline, descriptors)
            paths = self._changed()
            if woken or readable or paths or (deadline is not None and time.monotonic() >= deadline):
                return Changes(paths, readable, woken)

    def wake(self) -> None:
        """Ends a ``wait``, or the next one."""
        self._connection.wake()

    def close(self) -> None:
        """Hangs up. May be called again."""
        self._connection.close()

    def read(self, path: str, transaction: int = 0) -> bytes | None:
        """Returns the value at ``path``, None if there is none.

        :raises StoreError: the daemon refuses.
        :raises SessionLostError: there is no connection.
        """
        (answer,) = self.call_all(Operation(Op.READ, path.encode() + b"\0", transaction))
        if is_missing(answer):
            return None
        if isinstance(answer, StoreError):
            raise answer
        return answer

    def read_all(self, paths: Iterable[str], transaction: int = 0) -> list[bytes | None]:
        """Returns the value at each path, None where there is none or where it cannot be read.

        :raises SessionLostError: there is no connection.
        """
        operations = [Operation(Op.READ, path.encode() + b"\0", transaction) for path in paths]
        return [None if isinstance(answer, StoreError) else answer for answer in self.call_all(*operations)]

    def children(self, path: str) -> list[str]:
        """Returns the names directly below ``path``, none if it does not exist.

        :raises StoreError: the daemon refuses, or cannot list as many.
        :raises SessionLostError: there is no connection.
        """
        try:
            names = self._do(lambda session: list_children(session, path.encode()))
        except StoreError as error:
            if not is_missing(error):
                raise
            return []
        return [name.decode(errors="replace") for name in names]

    def call_all(self, *operations: Operation) -> list[bytes | StoreError]:
        """Asks for several operations and returns what each came to, in their order.

        :raises SessionLostError: there is no connection.
        """
        return self._do(lambda session: session.call_all(*operations)) if operations else []

    def transact(self, work: Callable[[int], Sequence[Operation] | None]) -> bool:
        """Commits what ``work`` wants to have done, all or nothing; once more where others came between.

        :param work: reads in the transaction whose id it is given, and returns the operations of that transaction;
                None: nothing is to be done. A node to be removed may be missing.
        :returns: whether anything was committed.
        :raises StoreError: the daemon refuses one of the operations.
        :raises SessionLostError: there is no connection: it is done, or it is not.
        :raises ExchangeError: conflicts do not cease.
        """
        pause, deadline = _CONFLICT_PAUSE, time.monotonic() + self._timeout
        while True:
            (begun,) = self.call_all(Operation(Op.TRANSACTION_START, b"\0"))
            if isinstance(begun, StoreError):
                raise begun
            refused = self._commit(int(begun.rstrip(b"\0")), work)
            if not isinstance(refused, StoreError):
                return refused
            if refused.name not in _DROPPED:
                raise refused
            if time.monotonic() > deadline:
                raise ExchangeError(f"{refused}: it meets conflicts without end")
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # no secret
            pause = min(pause * 2, _LONGEST_CONFLICT_PAUSE)

    def _commit(self, transaction: int, work: Callable[[int], Sequence[Operation] | None]) -> bool | StoreError:
        """Returns whether it was committed, or why the transaction was dropped."""
        try:
            operations = work(transaction)
            answers = zip(operations or (), self.call_all(*operations or ()), strict=True)
            failed = next((answer for operation, answer in answers if _failed(operation, answer)), None)
        except BaseException:
            with suppress(ExchangeError):  # of which the first one is told
                self._end(transaction, b"F\0")
            raise
        if operations is None or isinstance(failed, StoreError):
            self._end(transaction, b"F\0")
            if isinstance(failed, StoreError):
                raise failed
            return False
        committed = self._end(transaction, b"T\0")
        return committed if isinstance(committed, StoreError) else True

    def _end(self, transaction: int, how: bytes) -> bytes | StoreError:
        (answer,) = self.call_all(Operation(Op.TRANSACTION_END, how, transaction))
        return answer

    def _do(self, work: Callable[[Session], ResultT]) -> ResultT:
        if self._connection.session is None:
            raise SessionLostError("There is no connection to XenStore")
        try:
            return work(self._connection.session)
        except SessionLostError as error:
            self._connection.lose(error)
            raise

    def _begin(self, session: Session) -> None:
        for path in self._watched:
            session.call(Op.WATCH, path.encode(), path.encode())
        self._connection.works()

    def _changed(self) -> list[str]:
        """Takes the events that have come; each names a watched node by its token."""
        session = self._connection.session
        if session is None or not session.events:
            return []
        paths = dict.fromkeys(event.path.decode(errors="replace") for event in session.events)
        session.events.clear()
        return list(paths)


def seconds_until(*moments: float | None) -> float | None:
    """Returns the seconds until the first of ``moments`` by the monotonic clock, for :meth:`Watcher.wait`; None: there
    is none.
    """
    known = [moment for moment in moments if moment is not None]
    return max(0.0, min(known) - time.monotonic()) if known else None


def writing(path: str, value: str, transaction: int = 0) -> Operation:
    """Returns the operation that sets the value at ``path``; its parents are made."""
    return Operation(Op.WRITE, path.encode() + b"\0" + value.encode(), transaction)


def removing(path: str, transaction: int = 0) -> Operation:
    """Returns the operation that removes ``path`` and everything below it."""
    return Operation(Op.RM, path.encode() + b"\0", transaction)


def _failed(operation: Operation, answer: bytes | StoreError) -> bool:
    """Whether a transaction cannot do what it should; what is not there need not be removed."""
    return isinstance(answer, StoreError) and not (operation.op == Op.RM and is_missing(answer))


def is_missing(answer: object) -> bool:
    """Whether a daemon said that there is no such node."""
    return isinstance(answer, StoreError) and answer.name == "ENOENT"
