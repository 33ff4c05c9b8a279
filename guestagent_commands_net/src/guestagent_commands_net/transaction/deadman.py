"""The dead-man switch: a process that takes a transaction back when its worker dies, or does not come to an end."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress

__all__ = ("arm",)

_DISARMED = b"."
_LONGEST_WAIT = 3600.0  # seconds; the system call takes no infinity


def arm(until: float, fire: Callable[[str], object]) -> Callable[[], None]:
    """Forks the process that watches this one; returns what disarms it.

    It is a fork, and neither a thread nor a new interpreter: it survives this process, has everything in memory that it
    needs, and is there within a millisecond.

    :param until: the moment of :func:`time.monotonic` at which this process must have come to its end.
    :param fire: called there with the reason, in the other process, once this process is gone for certain.
    """
    reading, writing = os.pipe()
    worker = os.getpid()
    watcher = os.fork()
    if watcher == 0:
        status = 1
        try:
            os.setsid()
            os.close(writing)
            status = _watch(reading, worker, until, fire)
        finally:
            os._exit(status)
    os.close(reading)

    def disarm() -> None:
        with suppress(BrokenPipeError):
            os.write(writing, _DISARMED)
        os.close(writing)
        os.waitpid(watcher, 0)

    return disarm


def _watch(reading: int, worker: int, until: float, fire: Callable[[str], object]) -> int:
    """Waits for the word that all is well, for the end of the worker, or for the end of its time.

    The worker alone has the other end of the pipe, so that its end, however it comes, is the end of the pipe.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # who ends the worker must not end what takes its work back
    readable: list[int] = []
    while not readable and (remaining := until - time.monotonic()) > 0:
        readable, _, _ = select.select([reading], [], [], min(remaining, _LONGEST_WAIT))
    reason = "the worker was ended from outside"
    if not readable:
        reason = "the worker did not come to an end in time"
        if os.getppid() == worker:
            os.kill(worker, signal.SIGKILL)
    if os.read(reading, 1) != _DISARMED:
        fire(reason)
    return 0
