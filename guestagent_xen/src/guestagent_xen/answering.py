"""Answers: one transaction takes a request out of the store and puts its answer in.

While the outcome of the writing is unknown the transaction is not committed: a request never vanishes without its
answer.
"""

from __future__ import annotations

import logging
import random
import time

from pyxs._internal import Op

from guestagent_core import ExchangeError, ResponseTooLargeError

from .listing import list_children
from .session import Operation, Session, StoreError

__all__ = ("Answerer",)

_log = logging.getLogger(__name__)
_NO_ROOM = ("ENOSPC", "EQUOTA")
_DROPPED = ("EAGAIN", "ENOENT")  # the transaction met a conflict; the daemon does not know it (any more)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.1  # seconds, after a conflict
_LARGEST_OF_XENSTORED = 2015  # bytes that a guest may write: 2048 for the record with an entry of permissions
_LARGEST_OF_OXENSTORED = 2048
_SPARE_LIFE = 0.02  # seconds; oxenstored punishes those whose old transactions conflict
_FIRST_REMOVED = 4  # answers removed at a time to make room; doubled while that is not enough


class Answerer:
    """Writes answers below one node.

    :param folder: where the answers go.
    :param patience: seconds for which a conflict is tried again.
    """

    def __init__(self, folder: bytes, patience: float) -> None:
        self._folder = folder
        self._patience = patience
        self._put: dict[bytes, None] = {}  # the names of our answers, oldest first, as far as known
        self._listed = False  # whether those of earlier runs have been looked for
        self._spare: tuple[int, float] | None = None  # a transaction begun ahead, and when

    def begin_ahead(self) -> Operation:
        """Returns the operation that begins a transaction; its answer goes to :meth:`begun_ahead`."""
        return Operation(Op.TRANSACTION_START, b"\0")

    def begun_ahead(self, answer: bytes | StoreError) -> None:
        """Keeps the transaction for the next answer."""
        if isinstance(answer, bytes):
            self._spare = int(answer.rstrip(b"\0")), time.monotonic()

    @property
    def ready(self) -> bool:
        """Whether a transaction has been begun ahead."""
        return self._spare is not None

    def rest(self, session: Session) -> None:
        """Ends a transaction that was begun ahead and not needed.

        :raises SessionLostError: the daemon is gone.
        """
        if self._spare is not None:
            transaction, _ = self._spare
            self._spare = None
            session.tell(Operation(Op.TRANSACTION_END, b"F\0", transaction))

    def forget_session(self) -> None:
        """The session is lost, and what was begun in it."""
        self._spare = None
        self._listed = False

    def answer(self, session: Session, request: bytes, name: bytes, value: bytes, *, more: bool) -> bool:
        """Removes the node ``request`` and writes the answer ``name``, both or neither.

        :param more: whether to begin the next transaction at once.
        :returns: whether there was a node to remove.
        :raises ResponseTooLargeError: the daemon, or the way to it, does not take a value of this size.
        :raises StoreError: the daemon refuses for another reason.
        :raises SessionLostError: the daemon does not answer: it is done, or it is not.
        :raises ExchangeError: conflicts do not cease.
        """
        path = self._folder + b"/" + name
        room = session.largest - len(path) - 1
        if len(value) > room:
            raise ResponseTooLargeError(room)
        removed = _FIRST_REMOVED
        pause, deadline = _FIRST_PAUSE, time.monotonic() + self._patience
        while True:
            try:
                found = self._try(session, request, path, value, more)
            except StoreError as error:
                if error.name in _DROPPED:
                    if time.monotonic() > deadline:
                        raise ExchangeError(f"XenStore: {path.decode()} meets conflicts without end") from error
                    time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # no secret
                    pause = min(pause * 2, _LONGEST_PAUSE)
                    continue
                if error.name == "E2BIG":
                    raise ResponseTooLargeError(min(_LARGEST_OF_OXENSTORED, len(value) - 1)) from error
                if error.name not in _NO_ROOM:
                    raise
                if len(value) > _LARGEST_OF_XENSTORED and self._fits(session, path):
                    raise ResponseTooLargeError(_LARGEST_OF_XENSTORED) from error
                if not self._make_room(session, removed):
                    raise
                removed *= 2
                continue
            self._put.pop(name, None)
            self._put[name] = None
            return found

    def _try(self, session: Session, request: bytes, path: bytes, value: bytes, more: bool) -> bool:
        transaction = self._begin(session)
        removed, written = session.call_all(  # in this order, for then the answer needs no room among the nodes
            Operation(Op.RM, request + b"\0", transaction), Operation(Op.WRITE, path + b"\0" + value, transaction)
        )
        # A request that is gone is still answered: the host gave up waiting but may look later.
        gone = isinstance(removed, StoreError) and removed.name == "ENOENT"
        failed = written if isinstance(written, StoreError) else removed if not gone else None
        if isinstance(failed, StoreError):
            session.tell(Operation(Op.TRANSACTION_END, b"F\0", transaction))
            raise failed
        committing = [Operation(Op.TRANSACTION_END, b"T\0", transaction)]
        if more:
            committing.append(self.begin_ahead())
        committed, *begun = session.call_all(*committing)
        for answer in begun:
            self.begun_ahead(answer)
        if isinstance(committed, StoreError):
            raise committed
        return not gone

    def _begin(self, session: Session) -> int:
        if self._spare is not None and time.monotonic() - self._spare[1] < _SPARE_LIFE:
            transaction, _ = self._spare
            self._spare = None
            return transaction
        self.rest(session)
        return int(session.call(Op.TRANSACTION_START, b"").rstrip(b"\0"))

    def _fits(self, session: Session, path: bytes) -> bool:
        """Returns whether an empty answer would be taken: then it is the size of this one that is refused."""
        transaction = self._begin(session)
        (written,) = session.call_all(Operation(Op.WRITE, path + b"\0", transaction))
        session.tell(Operation(Op.TRANSACTION_END, b"F\0", transaction))
        return not isinstance(written, StoreError)

    def _make_room(self, session: Session, most: int) -> bool:
        """Removes our oldest answers, which nobody collected; returns whether there were any."""
        if not self._listed:
            self._listed = True
            try:
                earlier = list_children(session, self._folder)
            except StoreError as error:
                if error.name != "E2BIG":
                    raise
                if not self._put:  # thousands, and none is known by name: the host has never collected any
                    _log.warning("XenStore: %s is full and cannot be listed; it is emptied", self._folder.decode())
                    session.call(Op.RM, self._folder)
                    return True
                earlier = []
            # What this run has not put is older; what is not there any more has been collected.
            there = set(earlier)
            ours = [name for name in self._put if not earlier or name in there]
            self._put = dict.fromkeys([*(name for name in earlier if name not in self._put), *ours])
        oldest = [name for name, _ in zip(self._put, range(most), strict=False)]
        if not oldest:
            self._listed = False
            return False
        _log.info("XenStore: no room in %s; %d answers that nobody collected go", self._folder.decode(), len(oldest))
        session.call_all(*(Operation(Op.RM, self._folder + b"/" + name + b"\0") for name in oldest))
        for name in oldest:
            del self._put[name]
        return True
