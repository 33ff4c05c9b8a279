"""The process that changes the network: it goes on to its end whatever becomes of the agent.

``python -m guestagent_commands_net.transaction.worker STATE_DIR [--alive FIFO] [--recover [ID]]``, with the record of
the transaction in the state folder. Only one works at a time: the folder's lock is held until the worker and its
dead-man switch have ended. Without a record there is nothing to do; with ``--recover [ID]`` a transaction that was
begun and interrupted is ended: the one of that id, for by the time that a process has started, the next one may have
been begun. Whoever waits for a worker gives it a FIFO to hold open.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from guestagent_core import Context

from .deadman import arm
from .record import Folder, Outcome, Record, boot_id
from .steps import Transaction, recover

__all__ = ("main", "say_alive", "work")

_TIME_TO_GO_BACK = 5.0  # seconds after its time is up in which the worker itself may begin to go back


def work(
    folder: Folder, *, recovering: bool, only: str | None = None, enter: Callable[[str], None] | None = None
) -> Outcome | None:
    """Carries out what the folder's record says, or ends what was interrupted; returns how that ended.

    :param only: the id of the one transaction to end; another one is left alone.
    :param enter: called at the beginning of each step; tests interrupt there.
    """
    with open(folder.lock_path, "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        record = folder.record()
        if record is None or only not in (None, record.id):
            return None
        context = Context(root=Path(record.root))
        if enter is not None:
            _tell(folder, enter)
        if recovering or folder.steps():
            return recover(folder, context, boot_id(), "the agent and the worker were ended from outside")
        return Transaction(folder, record, context, lambda: _arm(folder, record, context)).run()


def _arm(folder: Folder, record: Record, context: Context) -> Callable[[], None]:
    def fire(reason: str) -> None:
        recover(folder, context, boot_id(), reason)

    # One settling time for the way back, which the worker itself goes if it can.
    return arm(record.until + _TIME_TO_GO_BACK + 30, fire)


def _tell(folder: Folder, enter: Callable[[str], None]) -> None:
    note = folder.enter

    def both(step: str, *, durable: bool = False) -> None:
        note(step, durable=durable)
        enter(step)

    folder.enter = both  # type: ignore[method-assign]


def main(arguments: Sequence[str]) -> int:
    """Runs the worker; returns 1 if the folder cannot be used."""
    folder = Folder(Path(arguments[0]))
    os.umask(0o022)
    options = list(arguments[1:])
    if options[:1] == ["--alive"]:
        say_alive(options[1])
        del options[:2]
    work(folder, recovering="--recover" in options, only=options[1] if len(options) > 1 else None)
    return 0


def say_alive(path: str) -> None:
    """Lets whoever waits for this process know that it has begun: they see its end, and that of its fork, by the end of
    this descriptor.
    """
    with suppress(OSError):  # nobody waits any more
        alive = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.write(alive, b".")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
