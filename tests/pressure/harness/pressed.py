"""``guestagent run`` with commands that a test can hold, and that take what they are told to.

It is a program: it is started by agents.py, and imported by nobody.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from guestagent_core import CommandBase, CommandResult, cli, command, discovery


class Pressing(CommandBase):
    """Commands for a test to press with."""

    @command("hold")
    def hold(self, value: str) -> CommandResult:
        """Runs until there is a file of this name."""
        Path(f"{value}.begun").touch()
        while not Path(value).exists():
            time.sleep(0.01)
        return CommandResult(0, "held")

    @command("note")
    def note(self, value: str) -> CommandResult:
        """Has an effect."""
        return CommandResult(0, value)

    @command("swallow")
    def swallow(self, value: str) -> CommandResult:
        """Takes all the memory it gets."""
        taken = []
        while True:
            taken.append(bytearray(4 * 1024 * 1024))

    @command("program")
    def program(self, value: str) -> CommandResult:
        """Runs a program."""
        return CommandResult(0, self.context.run(["echo", value]).stdout.decode().strip())


load_packs = discovery.load_packs
discovery.load_packs = lambda plugin: [*load_packs(plugin), Pressing]
sys.exit(cli.main(sys.argv[1:]))
