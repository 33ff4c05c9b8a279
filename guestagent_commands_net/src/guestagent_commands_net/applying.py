"""Applying a change: planned here, carried out by the worker, and its end put into words."""

from __future__ import annotations

import fcntl
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from guestagent_core import CommandError

from .planning import Planned, plan
from .transaction.launching import run_worker
from .transaction.record import COMMITTED, Folder, Outcome

if TYPE_CHECKING:
    from guestagent_core import Context

    from .model import Change
    from .transaction.launching import Launcher

__all__ = ("TIMEOUT", "TIME_TO_GO_BACK", "apply_change", "deadline_in", "in_words", "settle_interrupted")

TIMEOUT = 55.0  # seconds; hosts wait 60
TIME_TO_GO_BACK = 20.0  # seconds of those, which the change may not use
_log = logging.getLogger(__name__)

_WHAT_IS_NOW = {
    "refused": "nothing was changed",
    "rolled back": "the old configuration is back, in the files and in the kernel",
    "rescued": (
        "the old files are back; the tool did not bring the kernel back, which has been given its addresses and"
        " routes directly"
    ),
    "broken": "not everything could be put back",
}


def apply_change(
    change: Change,
    context: Context,
    *,
    until: float,
    backend: str | None = None,
    launcher: Launcher | None = None,
) -> Planned:
    """Makes ``change`` true, or leaves everything as it was; returns what was done.

    What another run left unfinished is ended first.

    :param until: the moment of :func:`time.monotonic` by which it has to have ended, one way or the other.
    :param backend: the name of the one to use; None: the owner of each interface.
    :raises guestagent_core.errors.CommandError: it could not be done; the text names the step and the interface, and
        says what was put back.
    """
    folder = Folder(context.state_dir)
    with _alone(folder):
        settle_interrupted(folder, context, until, launcher)
        planned = plan(change, context, folder, until=until - TIME_TO_GO_BACK, backend=backend)
        if planned.record is None:
            _log.info("The network is unchanged: %s", _list(planned.unchanged))
            return planned
        _log.info("The network is changed: %s; unchanged: %s", _list(planned.different), _list(planned.unchanged))
        folder.begin(planned.record)
        try:
            run_worker(folder, context, until, launcher=launcher)
        except CommandError:
            folder.forget_unless_begun()
            raise
        settle_interrupted(folder, context, until, launcher)  # where the worker and its dead-man switch were killed
        outcome = folder.last()
    if outcome is None or outcome.id != planned.record.id:
        raise CommandError("The change of the network came to no end that is known")
    for line in outcome.log:
        _log.info("%s", line)
    if outcome.result != COMMITTED:
        raise CommandError(in_words(outcome))
    for line in planned.remarks:
        _log.info("%s", line)
    return planned


def settle_interrupted(folder: Folder, context: Context, until: float, launcher: Launcher | None = None) -> None:
    """Ends a transaction that was interrupted, if there is one; one that still goes on is waited for."""
    if folder.open_transaction():
        try:
            record = folder.record()
        except ValueError as error:
            raise CommandError(
                f"{error}. It tells of a change of the network that was interrupted; look after the network, and then"
                " remove it"
            ) from error
        if record is None:  # it has ended meanwhile
            return
        run_worker(folder, context, until, recover=record.id, launcher=launcher)
        outcome = folder.last()
        if outcome is not None:
            _log.warning("An interrupted change of the network was ended: %s", outcome.result)


def in_words(outcome: Outcome) -> str:
    """Returns what a host is told of a change that did not succeed."""
    now = _WHAT_IS_NOW.get(outcome.result, outcome.result)
    left = f" ({'; '.join(outcome.left)})" if outcome.left else ""
    error = outcome.error.rstrip(".")
    return f"The network was not changed: {outcome.step}: {error}. Now {now}{left}"


@contextmanager
def _alone(folder: Folder) -> Iterator[None]:
    """Keeps two from planning at the same time: the second one would plan on what the first one changes."""
    folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(folder.path / "planning", "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError("Another change of the network is under way; ask again when it has ended") from None
        yield


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"


def deadline_in(seconds: float) -> float:
    """Returns the moment that is ``seconds`` from now."""
    return time.monotonic() + seconds
