"""Commands that do what a command must not do."""

import os
import sys
import threading
from typing import Any

from guestagent_core import CommandBase, CommandResult, command

__all__ = ("Hostile",)


class NobodysError(BaseException):
    """Passes through every ``except Exception``."""


class Hostile(CommandBase):
    """One fault a command."""

    @command("hostile.raises")
    def raises(self, value: object) -> CommandResult:
        """Fails in a way of its own."""
        raise RuntimeError("raises on purpose")

    @command("hostile.exits")
    def exits(self, value: object) -> CommandResult:
        """Tries to end the process."""
        sys.exit(f"exits with {value}")

    @command("hostile.interrupts")
    def interrupts(self, value: object) -> CommandResult:
        """Does as if somebody had pressed Ctrl-C."""
        raise KeyboardInterrupt

    @command("hostile.escapes", parallel=True)
    def escapes(self, value: object) -> CommandResult:
        """Raises what is no Exception."""
        raise NobodysError

    @command("hostile.rubbish")
    def rubbish(self, value: object) -> Any:
        """Returns what is no result."""
        return {"returncode": 0}

    @command("hostile.unspeakable")
    def unspeakable(self, value: object) -> CommandResult:
        """Returns what JSON cannot hold."""
        return CommandResult(0, object())

    @command("hostile.descriptors")
    def descriptors(self, value: object) -> CommandResult:
        """Leaves descriptors open."""
        return CommandResult(0, [os.dup(2) for _ in range(int(str(value) or "1"))][-1])

    @command("hostile.threads")
    def threads(self, value: object) -> CommandResult:
        """Leaves threads running."""
        for _ in range(int(str(value) or "1")):
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        return CommandResult()

    @command("hostile.swallows")
    def swallows(self, value: object) -> CommandResult:
        """Takes all the memory it gets."""
        taken = []
        while True:
            taken.append(bytes(1024 * 1024))
