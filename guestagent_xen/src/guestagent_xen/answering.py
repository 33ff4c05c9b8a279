"""Answers: one transaction takes a request out of the store and puts its answer in.

A request never vanishes without its answer: the transaction is committed once the writing is known to be done, or at
once where the daemon is known to fail one in which there was no room for it.
"""

from __future__ import annotations

import logging
import random
import time
from contextlib import suppress
from itertools import islice

from pyxs._internal import Op

from guestagent_core import ExchangeError, ResponseTooLargeError

from .listing import list_children
from .session import DIRECTORY_PART, Operation, Session, SessionLostError, StoreError

__all__ = ("NO_ROOM", "Answerer")

_log = logging.getLogger(__name__)
NO_ROOM = ("ENOSPC", "EQUOTA")
"""Names of the errors that say that a guest has no room left."""
_TOO_LARGE = ("E2BIG", "EINVAL")  # oxenstored says so; kernels do
_DROPPED = ("EAGAIN", "ENOENT")  # the transaction met a conflict; the daemon does not know it (any more)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.1  # seconds, after a second conflict
_LARGEST_OF_XENSTORED = 2015  # bytes that a guest may write: 2048 for the record with an entry of permissions
_LARGEST_OF_OXENSTORED = 2048
_REFUSED = 2100  # bytes of a value that either refuses
_SPARE_LIFE = 0.02  # seconds; oxenstored punishes those whose old transactions conflict
_FIRST_REMOVED = 4  # answers removed at a time to make room; doubled while that is not enough
_UNTOUCHED = 1.0  # seconds for which no answer is removed: many hosts look for theirs every half second
_LONGEST_WAIT = 0.2  # seconds, for somebody to collect one
_MOST_KNOWN = 1024  # answers known by name; a guest has less room
_TOKEN = b"answers"


class Answerer:
    """Writes answers below one node.

    :param folder: where the answers go.
    :param patience: seconds for which a conflict is tried again.
    """

    def __init__(self, folder: bytes, patience: float) -> None:
        self._folder = folder
        self._patience = patience
        self._put: dict[bytes, float] = {}  # the names of our answers, oldest first, and when they were put, in the
        # time of _now()
        self._listed = False  # whether it is known which are there, those of earlier runs too
        self._watching = False  # whether the host takes answers away
        self._spare: tuple[int, float] | None = None  # a transaction begun ahead, and when
        self._whole: bool | None = None  # whether a transaction without room fails as a whole; None: not known yet
        self.events_before_commit = 0
        """How many of the session's events came before the last answer was in."""

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
        self._whole = None  # it may be another daemon the next time
        self._listed = self._watching = False
        self._put = dict.fromkeys(self._put, float("inf"))  # hosts could not collect any either

    def answer(
        self, session: Session, request: bytes, content: bytes, name: bytes, value: bytes, *, more: bool
    ) -> bool:
        """Removes the node ``request`` and writes the answer ``name``, both or neither.

        While the folder is full of answers that are younger than a second, it waits for the host to collect them.

        :param content: that of the request.
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
        most = _FIRST_REMOVED
        pause, deadline = (
            0.0,
            time.monotonic() + self._patience,
        )  # the first time again at once: a request came beside it
        try:
            while True:
                try:
                    found = self._try(session, request, content, path, value, more)
                    break
                except StoreError as error:
                    if error.name in _DROPPED:
                        if time.monotonic() > deadline:
                            raise ExchangeError(f"XenStore: {path.decode()} meets conflicts without end") from error
                        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # no secret
                        pause = min(pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE)
                        continue
                    if error.name in _TOO_LARGE:
                        raise ResponseTooLargeError(min(_LARGEST_OF_OXENSTORED, len(value) - 1)) from error
                    if error.name not in NO_ROOM:
                        raise
                    if len(value) > _LARGEST_OF_XENSTORED and self._fits(session, path):
                        raise ResponseTooLargeError(_LARGEST_OF_XENSTORED) from error
                    went = self._make_room(session, most)
                    if went is None:
                        raise
                    most = max(most, 2 * went)
        except SessionLostError:
            self._watching = False
            raise
        finally:
            if self._watching:
                self._watching = False
                with suppress(StoreError):
                    session.call(Op.UNWATCH, self._folder, _TOKEN)
        self._put.pop(name, None)
        self._put[name] = _now(session)
        if len(self._put) > _MOST_KNOWN:
            del self._put[next(iter(self._put))]
        return found

    def _try(self, session: Session, request: bytes, content: bytes, path: bytes, value: bytes, more: bool) -> bool:
        at_once = self._fails_whole(session, path)
        transaction = self._begin(session)
        committing = [Operation(Op.TRANSACTION_END, b"T\0", transaction)]
        if more:
            committing.append(self.begin_ahead())
        operations = [  # in this order, for then the answer needs no room among the nodes
            Operation(Op.RM, request + b"\0", transaction),
            Operation(Op.WRITE, path + b"\0" + value, transaction),
        ]
        removed, written, *done = session.call_all(*operations, *(committing if at_once else ()), mark=2 * at_once)
        # A request that is gone is still answered: the host gave up waiting but may look later.
        gone = isinstance(removed, StoreError) and removed.name == "ENOENT"
        failed = written if isinstance(written, StoreError) else removed if not gone else None
        if not done:
            if isinstance(failed, StoreError):
                session.tell(Operation(Op.TRANSACTION_END, b"F\0", transaction))
                raise failed
            done = session.call_all(*committing)
        self.events_before_commit = session.events_before_answer
        committed, *begun = done
        for answer in begun:
            self.begun_ahead(answer)
        if isinstance(failed, StoreError):
            if not isinstance(committed, StoreError) and isinstance(removed, bytes):
                self._whole = False  # it was refused for another reason than room, and only the removal was done
                session.call_all(Operation(Op.WRITE, request + b"\0" + content))
            raise failed
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

    def _fails_whole(self, session: Session, path: bytes) -> bool:
        """Returns whether the daemon takes nothing of a transaction in which it had no room for something.

        Then all of an answer can be asked for in one send, which saves a round trip, and time in which a request that
        comes beside it is a conflict. C xenstored does so, oxenstored does not: found out once, by a value too large.
        """
        if self._whole is None:
            transaction = self._begin(session)
            large = (path + b"\0" + b"x" * _REFUSED)[: session.largest]
            (written,) = session.call_all(Operation(Op.WRITE, large, transaction))
            refused = isinstance(written, StoreError)
            end = b"T\0" if refused else b"F\0"
            (ended,) = session.call_all(Operation(Op.TRANSACTION_END, end, transaction))
            if refused:
                if isinstance(ended, StoreError) and ended.name in _DROPPED:
                    return False  # it is not known yet
                self._whole = isinstance(ended, StoreError)
            else:  # domain 0, which C xenstored refuses nothing; it alone lists in parts
                (part,) = session.call_all(Operation(DIRECTORY_PART, self._folder + b"\0000\0"))
                self._whole = not isinstance(part, StoreError) or part.name == "ENOENT"
        return self._whole

    def _fits(self, session: Session, path: bytes) -> bool:
        """Returns whether an empty answer would be taken: then it is the size of this one that is refused."""
        transaction = self._begin(session)
        (written,) = session.call_all(Operation(Op.WRITE, path + b"\0", transaction))
        session.tell(Operation(Op.TRANSACTION_END, b"F\0", transaction))
        return not isinstance(written, StoreError)

    def _make_room(self, session: Session, most: int) -> int | None:
        """Removes our oldest answers, or lets the host collect some.

        :returns: how many went, as far as known; None if there are none to go.
        """
        if not self._listed and self._list(session):
            return 0
        if not self._put:
            self._listed = False
            return None
        now = _now(session)
        self._put = {name: min(when, now) for name, when in self._put.items()}
        latest = now - _UNTOUCHED
        oldest = [name for name, when in islice(self._put.items(), most) if when <= latest]
        if not oldest:
            if self._watching:
                # In parts: that the daemon stands still shows in how long the next operation takes.
                session.await_event(_TOKEN, min(next(iter(self._put.values())) - latest, _LONGEST_WAIT))
            else:  # it is tried once more now: what the host collects before the watch is set, no event tells
                session.call(Op.WATCH, self._folder, _TOKEN)
                self._watching = True
            self._listed = False
            return 0
        _log.info("XenStore: no room in %s; %d answers that nobody collected go", self._folder.decode(), len(oldest))
        session.call_all(*(Operation(Op.RM, self._folder + b"/" + name + b"\0") for name in oldest))
        for name in oldest:
            del self._put[name]
        return len(oldest)

    def _list(self, session: Session) -> bool:
        """Finds out which of our answers are there; returns whether the folder had to be emptied for that."""
        self._listed = True
        try:
            there = list_children(session, self._folder)
        except StoreError as error:
            if error.name == "ENOENT":
                self._put.clear()
            elif error.name != "E2BIG":
                raise
            elif not self._put:  # thousands, and none is known by name: the host has never collected any
                _log.warning("XenStore: %s is full and cannot be listed; it is emptied", self._folder.decode())
                session.call(Op.RM, self._folder)
                return True
            return False
        # What is not there any more has been collected. What this run has not put is older than its own, but an agent
        # that was killed may have put it a moment ago.
        present = set(there)
        ours = {name: when for name, when in self._put.items() if name in present}
        earlier = min([_now(session), *ours.values()])
        self._put = {**{name: earlier for name in there if name not in ours}, **ours}
        return False


def _now(session: Session) -> float:
    """Returns the time in seconds, which stands still while the daemon does: nobody can collect an answer then."""
    return time.monotonic() - session.stalled
