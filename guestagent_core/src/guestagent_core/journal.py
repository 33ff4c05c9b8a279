"""The journal: what was started, finished and answered, so that a crash makes nothing happen twice.

A call passes three states. ``started`` is on the disk before the command runs, and ``finished`` with its outcome before
the answer is put. Once the answer is out the entry is removed; it stays as ``answered`` only while programs have to be
started after the answer. When a request comes again after a crash, its entry says what to do.

The file is opened by the first command that needs it, and removed at the end of an agent that leaves nothing open.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .calls import Action, Call, Delivery, current_delivery
from .digests import Digests
from .errors import CommandError
from .journal_file import JournalFile
from .outcomes import decode_outcome, encode_outcome

if TYPE_CHECKING:
    from .commands import CommandResult
    from .entries import Entries, Entry
    from .protocols import Request

__all__ = ("FileJournal",)

_log = logging.getLogger(__name__)
_MOST_ATTEMPTS = 3  # to resume a command; one that ends the agent each time would do so for ever
_RETURN_TIME = 60.0  # seconds in which the request of an earlier run may come again before its programs start anyway
Start = Callable[[Sequence[str]], object]


class FileJournal:
    """The :class:`~guestagent_core.protocols.Journal` of one agent, in the file ``journal.db`` of its state folder.

    :param folder: made if it does not exist.
    :param detach: starts a program that outlives the agent.
    """

    def __init__(self, folder: Path, detach: Start) -> None:
        self._file = JournalFile(folder / "journal.db", self._take_up)
        self._digests = Digests(folder / "journal.key")
        self._detach = detach
        self._ending = threading.Event()
        self._starter: threading.Thread | None = None

    def recover(self) -> None:
        """Takes up what an earlier run left behind: logs which commands were interrupted, and starts the programs that
        were to be started after an answer.
        """
        if os.path.lexists(self._file.path):
            self._file.attempt(lambda entries: None)

    def run(
        self,
        call: Call,
        request: Request,
        command: Callable[[], CommandResult],
        resume: Callable[[], CommandResult] | None = None,
    ) -> CommandResult:
        """Returns what ``command()`` returns, or the outcome on record if ``request`` has had its effect before.

        :param resume: takes up a call that was interrupted.
        :raises CommandError: the one on record; or the call was interrupted, and cannot be taken up.
        """
        delivery = current_delivery.get() or Delivery(request)
        part = delivery.parts = delivery.parts + 1
        entry = self._file.attempt(lambda entries: self._begin(entries, call, request, part))
        if entry is None:
            return command()
        if entry.outcome is not None:
            _log.info("%s: %s was run already; its answer is put again", call.channel, call.name)
            delivery.actions += self._noted(entry.number, [(argv, self._detach) for argv in _argvs(entry)])
            delivery.settled.append(partial(self._settle, entry, call.spec.secret))
            return _replayed(entry)
        asked_before = len(delivery.actions)
        try:
            result = self._resumed(entry, call, resume) if entry.attempts else command()
        except Exception as error:
            self._finish(entry, call, delivery, asked_before, error)
            raise
        except BaseException:  # an interrupt: how far the command came is not known
            self._file.live.discard(entry.number)
            raise
        self._finish(entry, call, delivery, asked_before, result)
        return result

    def close(self) -> None:
        """Closes the file, and removes it if there is nothing to remember."""
        self._ending.set()
        if self._starter is not None:
            self._starter.join()
        self._file.close()

    # The way of a call

    def _begin(self, entries: Entries, call: Call, request: Request, part: int) -> Entry:
        """Returns the entry on record for the call, or a new one."""
        from .entries import STARTED, Entry

        self._file.tidy(entries)
        given = request.get("id")
        identifier = None if given is None else str(given).encode("utf-8", "surrogatepass")
        digest = b"" if identifier is None else self._digests.digest(request, secret=call.spec.secret)
        entry = None
        if identifier is not None:
            entry = self._find(entries, call, identifier, digest, part)
        if entry is None:
            place = (call.channel, identifier, digest, part, call.name)
            entry = Entry(self._file.next_number(), self._file.run, time.monotonic(), *place, STARTED)
            # Without an id the request cannot come again: its entry is for the log of the next start.
            entries.put(entry, flush=identifier is not None)
        elif entry.outcome is None:
            entry = entries.put(entry._replace(attempts=entry.attempts + 1), flush=True)
        self._file.live.add(entry.number)
        return entry

    def _find(self, entries: Entries, call: Call, identifier: bytes, digest: bytes, part: int) -> Entry | None:
        from .entries import ANSWERED

        for entry in entries.find(call.channel, identifier, digest):
            is_same = (entry.part, entry.command) == (part, call.name)
            # Two open requests of one id are two requests, for an exchange hands out each of them once.
            if is_same and entry.state != ANSWERED and entry.number not in self._file.live:
                return entry
        return None

    def _resumed(self, entry: Entry, call: Call, resume: Callable[[], CommandResult] | None) -> CommandResult:
        """Takes up a call that was interrupted, or says that it was."""
        reason = f"Command {call.name!r} was interrupted: the agent ended while it ran, so it may have been half done"
        if resume is not None and entry.attempts <= _MOST_ATTEMPTS:
            _log.warning("%s: %s was interrupted, and is resumed", call.channel, call.name)
            return resume()
        if resume is not None:
            reason += f"; it was resumed {_MOST_ATTEMPTS} times, and interrupted each time"
        raise CommandError(reason)

    def _finish(
        self, entry: Entry, call: Call, delivery: Delivery, asked_before: int, outcome: CommandResult | Exception
    ) -> None:
        from .entries import FINISHED

        asked = delivery.actions[asked_before:]
        if entry.request is None and not asked:
            self._remove(entry, secret=False)
            return
        finished = entry._replace(
            state=FINISHED,
            since=time.monotonic(),
            outcome=encode_outcome(call.name, outcome),
            actions=json.dumps([list(action.argv) for action in asked]),
        )
        if self._file.attempt(lambda entries: entries.put(finished, flush=True)):
            delivery.actions[asked_before:] = self._noted(entry.number, asked)
            entry = finished
        delivery.settled.append(partial(self._settle, entry, call.spec.secret))

    def _settle(self, entry: Entry, secret: bool, delivered: bool) -> None:
        """Notes that the answer is out. One that was lost stays, for its request may come again."""
        from .entries import ANSWERED

        if not delivered and entry.request is not None:
            self._file.live.discard(entry.number)
        elif _argvs(entry):
            answered = entry._replace(state=ANSWERED, outcome=None)
            if not self._file.attempt(lambda entries: entries.put(answered, flush=True)):
                self._file.forget(entry.number)
        else:
            self._remove(entry, secret)

    def _remove(self, entry: Entry, secret: bool) -> None:
        def remove(entries: Entries) -> bool:
            entries.remove(entry.number)
            if secret:
                entries.shred()
            return True

        if self._file.attempt(remove):
            self._file.live.discard(entry.number)
        else:
            self._file.forget(entry.number)

    # Programs after the answer

    def _noted(self, number: int, programs: Iterable[tuple[Sequence[str], Start]]) -> list[Action]:
        """Returns the programs of an entry, each of which is noted as started before it is."""
        return [Action(argv, partial(self._start, number, start)) for argv, start in programs]

    def _start(self, number: int, start: Start, argv: Sequence[str]) -> None:
        if self._file.attempt(lambda entries: (self._take_program(entries, number),)) is None:
            self._file.forget(number)
        start(argv)

    def _take_program(self, entries: Entries, number: int) -> list[str] | None:
        """Takes the next program out of an entry and returns it; None: there is none left."""
        from .entries import ANSWERED

        entry = entries.get(number)
        argvs = _argvs(entry) if entry is not None else []
        if entry is None or not argvs:
            return None
        if len(argvs) > 1 or (entry.state != ANSWERED and entry.request is not None):
            entries.put(entry._replace(actions=json.dumps(argvs[1:])), flush=True)
        else:
            entries.remove(number, flush=True)
            self._file.live.discard(number)
        return argvs[0]

    # What an earlier run left behind

    def _take_up(self, entries: Entries, left: list[Entry]) -> None:
        from .entries import FINISHED, STARTED

        at_once: list[int] = []
        later: list[int] = []
        for entry in left:
            if entry.state == STARTED:
                _log.warning("%s: %s was interrupted: the agent ended while it ran", entry.channel, entry.command)
            if _argvs(entry):
                may_return = entry.state == FINISHED and entry.request is not None
                (later if may_return else at_once).append(entry.number)
            elif entry.request is None:
                self._file.forget(entry.number)
        if at_once or later:
            self._starter = threading.Thread(target=self._start_left, args=(at_once, later), name="left-behind")
            self._starter.start()
        self._file.tidy(entries)  # comes last: a disk that is full keeps nothing else back

    def _start_left(self, at_once: list[int], later: list[int]) -> None:
        """Starts programs; those whose answer may have to be put again wait for that, but not for ever, and those that
        cannot be noted as started for a file that can be written.
        """
        left = [number for number in at_once if not self._start_all(number)] + later
        while left and not self._ending.wait(_RETURN_TIME):
            left = [number for number in left if not self._start_all(number)]

    def _start_all(self, number: int) -> bool:
        """Starts the programs of an entry; returns False if the file cannot be used."""
        while not self._ending.is_set():
            taken = self._file.attempt(
                lambda entries: (None if number in self._file.live else self._take_program(entries, number),)
            )
            if taken is None:
                return False
            (argv,) = taken
            if argv is None:
                break
            _log.warning("%s is started now: the agent ended before it could start it after an answer", argv[0])
            try:
                self._detach(argv)
            except Exception:
                _log.exception("What was to happen after the answer failed")
        return True


def _argvs(entry: Entry) -> list[list[str]]:
    return list(json.loads(entry.actions))


def _replayed(entry: Entry) -> CommandResult:
    assert entry.outcome is not None
    outcome = decode_outcome(entry.outcome)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
