"""`guestagent run` under a service manager that listens, with commands that take as long as they are told."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from tests.core.running import PATIENCE, RunningAgent

from guestagent_core.client import LocalClient
from guestagent_core.errors import ExchangeError

# A pack with a command that runs a program until a file appears, one whose program ends itself by SIGTERM,
# and one that cannot be interrupted.
PACK = """
import sys, time
from pathlib import Path
from guestagent_core import CommandBase, command
from guestagent_core import cli, discovery

class Slow(CommandBase):
    @command("program", timeout=600)
    def program(self, value):
        self.context.run(["sh", "-c", 'touch "$1/begun"; until [ -e "$1/end" ]; do sleep 0.05; done', "sh", value])
        return 0, "ended"

    @command("unlimited", timeout=float("inf"))
    def unlimited(self, value):
        return self.program(value)

    @command("fails")
    def fails(self, value):
        self.context.run(["sh", "-c", "kill $$"])
        return 0, "ended"

    @command("stuck", timeout=0.001)
    def stuck(self, value):
        Path(value, "begun").touch()
        while not Path(value, "end").exists():
            time.sleep(0.05)
        return 0, "ended"

discovery.load_packs = lambda plugin, original=discovery.load_packs: [*original(plugin), Slow]
sys.exit(cli.main(sys.argv[1:]))
"""

Start = Callable[..., "Service"]


class Service(RunningAgent):
    """An agent under a service manager that listens; ``pack`` is the program that brings the commands."""

    def __init__(self, folder: Path, *options: str, pack: str = PACK, **variables: str) -> None:
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(os.fspath(folder / "notify.sock"))
        self.manager.settimeout(PATIENCE)
        program = folder / "agent.py"
        program.write_text(pack)
        variables = {"NOTIFY_SOCKET": os.fspath(folder / "notify.sock"), **variables}
        super().__init__(folder, *options, program=(str(program),), **variables)

    def told(self) -> str:
        """Returns the next thing that the manager is told."""
        return self.manager.recv(4096).decode()

    def ask(self, name: str) -> bytes:
        with LocalClient(self.socket, timeout=PATIENCE) as client:
            return client.request(json.dumps({"name": name, "value": str(self.folder)}).encode())

    def ask_in_background(self, name: str) -> tuple[threading.Thread, list[bytes]]:
        """Asks, and returns once the command has begun."""
        answers: list[bytes] = []

        def ask() -> None:
            try:
                answers.append(self.ask(name))
            except ExchangeError as error:
                answers.append(str(error).encode())

        thread = threading.Thread(target=ask)
        thread.start()
        while not (self.folder / "begun").exists():
            thread.join(0.01)
            assert thread.is_alive(), answers
        return thread, answers

    def close(self) -> None:
        super().close()
        self.manager.close()
