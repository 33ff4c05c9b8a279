"""Starting the worker, so that it outlives the agent, and waiting for it."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_core import CommandError, CommandTimeoutError

if TYPE_CHECKING:
    from guestagent_core import Context

    from .record import Folder

__all__ = ("Launcher", "launch", "run_worker", "worker_command")

_ALIVE = "alive-"
_START = 20.0  # seconds for a Python to start on a busy machine

Launcher = Callable[["Context", Sequence[str]], None]


def run_worker(
    folder: Folder, context: Context, until: float, *, recover: str | None = None, launcher: Launcher | None = None
) -> None:
    """Starts a worker for what is in ``folder``, and waits until it and its dead-man switch have ended.

    :param until: the moment of :func:`time.monotonic` at which to give up waiting.
    :param recover: the id of a transaction that was interrupted, which is to be ended.
    :raises CommandError: it cannot be started.
    :raises CommandTimeoutError: it goes on still.
    """
    folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in folder.path.glob(f"{_ALIVE}*"):  # by an agent that was killed
        left.unlink()
    # Each worker has one of its own: another one that starts late must not be taken for it.
    alive = folder.path / f"{_ALIVE}{os.urandom(8).hex()}"
    os.mkfifo(alive, 0o600)
    descriptor = os.open(alive, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        (launcher or launch)(context, worker_command(folder.path.parent, recover=recover, alive=alive))
        if not _read(descriptor, min(until, time.monotonic() + _START)):
            raise CommandError("The process that changes the network did not start")
        while (said := _read(descriptor, until)) != b"":
            if said is None:
                raise CommandTimeoutError("The change of the network was not finished in time; it goes on")
    finally:
        os.close(descriptor)
        alive.unlink(missing_ok=True)


def worker_command(state_dir: Path, *, recover: str | None = None, alive: Path | None = None) -> list[str]:
    """Returns the command line of a worker; see :mod:`guestagent_commands_net.transaction.worker`."""
    argv = [sys.executable, "-I", "-m", "guestagent_commands_net.transaction.worker", str(state_dir)]
    argv += ["--alive", str(alive)] if alive is not None else []
    return argv if recover is None else [*argv, "--recover", recover]


def launch(context: Context, argv: Sequence[str]) -> None:
    """Starts ``argv`` outside of everything that ends with the agent.

    :raises CommandError: it cannot be started.
    """
    if context.root == Path("/") and Path("/run/systemd/system").is_dir():
        # The dead-man switch is a fork of the worker, and must survive it: KillMode.
        unit = ["systemd-run", "--quiet", "--collect", "--no-block", "--property=KillMode=process"]
        context.run([*unit, "--description=Changes the network for guestagent", "--", *argv], timeout=10)
    else:
        context.detach(argv)


def _read(descriptor: int, until: float) -> bytes | None:
    """Returns what the worker says, nothing at its end, None if neither comes in time."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    remaining = until - time.monotonic()
    if remaining <= 0 or not poll.poll(remaining * 1000):
        return None
    try:
        return os.read(descriptor, 64)
    except BlockingIOError:
        return None
