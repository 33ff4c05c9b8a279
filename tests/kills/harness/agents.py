"""The agent of these tests, as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

__all__ = ("STEPS", "CountingAgent")

_PROGRAM = Path(__file__).with_name("counting.py")
_END = 30.0  # seconds

STEPS = (
    "before started",
    "after started",
    "before effect",
    "after effect",
    "before finished",
    "after finished",
    "before put",
    "before settling",
    "before removal",
    "after removal",
)
"""Of a command that has no program to be started after it; ``before settling`` is right after put_response."""


class CountingAgent:
    """An agent whose commands leave marks.

    :param folder: its root, and all that it may write to; the path has to be short.
    :param way: of XenStore; without it there is only the local socket.
    """

    def __init__(self, folder: Path, way: Path | None = None) -> None:
        self.folder = folder
        self.socket = folder / "agent.sock"
        self._marks = folder / "marks"
        self._log = folder / "agent.log"
        self._configuration = folder / "agent.toml"
        self.process: subprocess.Popen[bytes] | None = None
        channel = f'[[channel]]\nexchange = "local"\n[channel.options]\npath = "{self.socket}"\n'
        if way is not None:
            options = f'[channel.options]\npath = "{way}"\n[channel.store_options]\npath = "{way}"\n'
            channel = f'[[channel]]\nexchange = "xenstore"\n{options}'
        self._configuration.write_text(channel)

    @property
    def log(self) -> str:
        """What all runs have logged."""
        return self._log.read_text(errors="replace")

    @property
    def journal(self) -> Path:
        """The file, while there is one."""
        return self.folder / "state/journal.db"

    def marks(self, what: str) -> Counter[str]:
        """Returns how often each token left a mark."""
        lines = self._marks.read_text().splitlines() if self._marks.exists() else []
        return Counter(line.partition(" ")[2] for line in lines if line.startswith(f"{what} "))

    def start(self, die_at: str = "", **environment: str) -> None:
        """Starts the agent; returns at once."""
        assert self.process is None
        variables = {**os.environ, "MARKS": str(self._marks), "DIE_AT": die_at, **environment}
        variables |= {"STATE_DIRECTORY": str(self.folder / "state"), "RUNTIME_DIRECTORY": str(self.folder)}
        command = [sys.executable, str(_PROGRAM), "run", "--config", str(self._configuration), "--root"]
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                [*command, str(self.folder)], env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """Ends the agent as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def await_death(self) -> None:
        """Waits until the agent has killed itself."""
        assert self.process is not None
        assert self.process.wait(_END) == -signal.SIGKILL, self.log
        self.process = None

    def end(self) -> None:
        """Asks the agent to end, and waits for that."""
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(_END) == 0, self.log
        self.process = None


def request(name: str, token: str) -> bytes:
    """Returns what a host sends."""
    return json.dumps({"name": name, "value": token}).encode()
