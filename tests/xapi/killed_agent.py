"""An agent that is there to be killed: one channel, and commands that note in a file what they did.

``python killed_agent.py vif|script DEVICE FOLDER``
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from guestagent_commands_net import families
from guestagent_core import ChannelRunner, CommandBase, CommandRegistry, CommandResult, Dispatcher, command
from guestagent_core.journal import FileJournal
from guestagent_xapi.script_exchange import ScriptExchange
from guestagent_xapi.script_parser import ScriptParser
from guestagent_xapi.vif_exchange import VifExchange
from guestagent_xapi.vif_parser import VifParser


class Notes(CommandBase):
    """Each effect is a line."""

    folder: Path

    @command("acme.note")
    def note(self, value: str) -> CommandResult:
        """Notes ``value``, and takes its time."""
        self._note(value)
        return CommandResult(0, value)

    @command("xapi.vif", idempotent=True)
    def configure(self, value: dict[str, Any]) -> CommandResult:
        """Notes the address."""
        self._note(f"{value['family']} {value['enabled']} {value['address']}")
        return CommandResult()

    def _note(self, text: str) -> None:
        with open(self.folder / "notes", "ab", buffering=0) as notes:
            os.write(notes.fileno(), f"{text}\n".encode())
        time.sleep(0.01)


def main(kind: str, device: Path, folder: Path) -> None:
    """Runs until it is killed."""
    Notes.folder = folder
    journal = FileJournal(folder, lambda argv: None)
    journal.recover()
    runner = ChannelRunner(CommandRegistry([Notes]), f"xapi-{kind}", journal=journal)
    families.owner = lambda context: "the tests"
    if kind == "vif":
        Dispatcher(VifExchange(VifExchange.Options(device, folder)), VifParser(runner)).run()
    else:
        Dispatcher(ScriptExchange(ScriptExchange.Options(device)), ScriptParser(runner)).run()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
