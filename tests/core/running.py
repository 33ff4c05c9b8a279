"""`guestagent run` as a process of its own, in a scratch folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

PATIENCE = 60.0  # seconds until something counts as hanging
COMMAND_LINE = ("-m", "guestagent_core")  # what Python is to run


class RunningAgent:
    """An agent that is starting, with its root and its socket in ``folder``; ``log`` is what it has logged so far.

    ``program`` is what Python runs in the place of the command line, and ``variables`` belong into its environment.
    """

    def __init__(self, folder: Path, *options: str, program: tuple[str, ...] = COMMAND_LINE, **variables: str) -> None:
        self.folder = folder
        self.socket = folder / "agent.sock"
        self.root = folder / "root"
        self.root.mkdir(exist_ok=True)
        command = [sys.executable, *program, "run", "--root", str(self.root), "--socket", str(self.socket), *options]
        environment = {**os.environ, **variables}
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        self.log = ""
        self._ended = False
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                with self._more:
                    self.log += line
                    self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    def wait_until_ready(self) -> None:
        """Waits until commands may be run."""
        self.wait_for_line("commands may be run")

    def wait_for_line(self, text: str) -> None:
        """Waits until ``text`` is in the log."""
        with self._more:
            self._more.wait_for(lambda: text in self.log or self._ended, PATIENCE)
        assert text in self.log

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal, and returns the exit status."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Waits for the end, of it and of whatever else would write to its log; returns the exit status."""
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert not self._reader.is_alive(), "a program that it has started holds its standard error open"
        return self.process.returncode

    def close(self) -> None:
        """Kills it, if it has not ended."""
        self.end(signal.SIGKILL)
