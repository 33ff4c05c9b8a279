"""Programs that an interrupted transaction left running, which must not go on while it is taken back."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

__all__ = ("MARK", "end_leftovers")

MARK = "GUESTAGENT_NET_TRANSACTION"
"""The variable in the environment of every program that a transaction runs; its value is the transaction's id."""


def end_leftovers(id: str) -> None:
    """Kills every program that carries the mark of the transaction ``id``, with its process group."""
    mark = f"{MARK}={id}".encode()
    for name in os.listdir("/proc"):
        if not name.isdecimal() or int(name) == os.getpid():
            continue
        # A process may end at any moment.
        with suppress(OSError):
            with open(f"/proc/{name}/environ", "rb") as file:
                if mark in file.read().split(b"\0"):
                    os.killpg(os.getpgid(int(name)), signal.SIGKILL)
