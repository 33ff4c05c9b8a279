"""Answers: one transaction takes a request out of the store and puts its answer in.

Daemons commit what is left of a transaction of which they refused a part. So that a request never vanishes without its
answer, its removal is asked for only once the answer is known to be written; then it goes in one send with the commit,
because other changes of the folder of requests before the commit, which hosts make all the time, are conflicts.
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
from .session import Operation, Session, SessionLostError, StoreError

__all__ = ("NO_ROOM", "Answerer")

_log = logging.getLogger(__name__)
NO_ROOM = ("ENOSPC", "EQUOTA")
"""Names of the errors that say that a guest has no room left."""
_TOO_LARGE = ("E2BIG", "EINVAL")  # oxenstored says so; kernels do
_DROPPED = ("EAGAIN", "ENOENT")  # the transaction met a conflict; the daemon does not know it (any more)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.1  # seconds, after a second conflict
_LARGEST_OF_XENSTORED = 2015  # bytes that a guest may write: 2048 for the record with an entry of permissions
_LARGEST_OF_OXENSTORED = 2048
_SPARE_LIFE = 0.02  # seconds; oxenstored punishes those whose old transactions conflict
_FIRST_REMOVED = 4  # answers removed at a time to make room; doubled while that is not enough
# Seconds of the daemon's life for which no answer is removed: many hosts look for theirs every half second.
_UNTOUCHED = 1.0
_LONGEST_WAIT = 0.2  # seconds, for somebody to collect one; less than a silence of the daemon that counts as life
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
        # The names of our answers, oldest first, and when they were put, in the session's time alive: while the daemon
        # stands still, nobody can collect an answer.
        self._put: dict[bytes, float] = {}
        self._listed = False  # whether it is known which are there, those of earlier runs too
        self._watching = False  # whether the host takes answers away
        self._spare: tuple[int, float] | None = None  # a transaction begun ahead, and when
        self._removes_first = False  # whether the removal comes before the writing, and the commit after both are done
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
        self._removes_first = self._listed = self._watching = False
        self._put = dict.fromkeys(self._put, float("inf"))  # hosts could not collect any either

    def answer(self, session: Session, request: bytes, name: bytes, value: bytes, *, more: bool) -> bool:
        """Removes the node ``request`` and writes the answer ``name``, both or neither.

        While the folder is full of answers that are younger than a second, it waits for the host to collect them.

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
        pause = 0.0  # the first time it is tried again at once: something came beside it
        deadline = time.monotonic() + self._patience
        try:
            while True:
                try:
                    found = self._try(session, request, path, value, more)
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
                    if not self._removes_first:
                        self._removes_first = True  # a node that goes may be the room for one that comes
                        continue
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
        self._put[name] = session.alive
        if len(self._put) > _MOST_KNOWN:
            del self._put[next(iter(self._put))]
        return found

    def _try(self, session: Session, request: bytes, path: bytes, value: bytes, more: bool) -> bool:
        """Tries once; returns whether there was a node to remove."""
        transaction = self._begin(session)
        removing = [Operation(Op.RM, request + b"\0", transaction)]
        writing = [Operation(Op.WRITE, path + b"\0" + value, transaction)]
        ending = [Operation(Op.TRANSACTION_END, b"T\0", transaction)]
        if more:
            ending.append(self.begin_ahead())
        if self._removes_first:
            removed, written = session.call_all(*removing, *writing)
            self._give_up_if(_refusal(written) or _refusal(removed, but="ENOENT"), session, transaction)
            committed, *begun = session.call_all(*ending)
        else:
            (written,) = session.call_all(*writing)
            self._give_up_if(_refusal(written), session, transaction)
            removed, committed, *begun = session.call_all(*removing, *ending, mark=1)
        self.events_before_commit = session.events_before_answer
        for answer in begun:
            self.begun_ahead(answer)
        if isinstance(committed, StoreError):
            raise committed
        refused = _refusal(removed, but="ENOENT")
        if refused is not None:  # an answer was put whose request stays, which is not to happen again
            self._removes_first = True
            session.call_all(Operation(Op.RM, path + b"\0"))
            raise refused
        # A request that is gone was still answered: the host gave up waiting but may look later.
        return isinstance(removed, bytes)

    def _give_up_if(self, refused: StoreError | None, session: Session, transaction: int) -> None:
        if refused is not None:
            session.tell(Operation(Op.TRANSACTION_END, b"F\0", transaction))
            raise refused

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

    def _make_room(self, session: Session, most: int) -> int | None:
        """Removes our oldest answers, or lets the host collect some.

        :returns: how many went, as far as known; None if there are none to go.
        """
        if not self._listed and self._list(session):
            return 0
        if not self._put:
            self._listed = False
            return None
        now = session.alive
        self._put = {name: min(when, now) for name, when in self._put.items()}
        latest = now - _UNTOUCHED
        oldest = [name for name, when in islice(self._put.items(), most) if when <= latest]
        if not oldest:
            if self._watching:
                # In parts, after each of which it is tried again: a daemon that is not heard is not known to be alive.
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
        earlier = min([session.alive, *ours.values()])
        self._put = {**{name: earlier for name in there if name not in ours}, **ours}
        return False


def _refusal(answer: bytes | StoreError, *, but: str = "") -> StoreError | None:
    return answer if isinstance(answer, StoreError) and answer.name != but else None
