"""The agent under test as a process of its own: ``guestagent run`` with a xenstore channel."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

__all__ = ("Agent",)

_PATIENCE = 30.0  # seconds


class Agent:
    """An agent that runs from the beginning of a ``with`` block to its end.

    :param folder: its root, and all that it may write to.
    :param way: the device of a guest, or the socket of a daemon.
    :param options: more channel options.
    """

    def __init__(self, folder: Path, way: Path, **options: object) -> None:
        self._folder = folder
        self._log = folder / "agent.log"
        lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in {"path": str(way), **options}.items())
        self._configuration = folder / "agent.toml"
        self._configuration.write_text(
            "[agent]\ncommands = []\nhooks = []\n"  # whatever else is installed
            '[[channel]]\nname = "xenstore"\nexchange = "xenstore"\nparser = "json"\n'
            f'[channel.options]\n{lines}[channel.store_options]\npath = "{way}"\n'
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Agent:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.end()

    @property
    def log(self) -> str:
        """What all runs have logged."""
        return self._log.read_text()

    @property
    def pid(self) -> int:
        """The process, while there is one."""
        assert self._process is not None
        return self._process.pid

    def await_log(self, text: str) -> None:
        """Returns when the agent has logged ``text``."""
        deadline = time.monotonic() + _PATIENCE
        while text not in self.log:
            assert time.monotonic() < deadline, f"The agent has not logged {text!r}: {self.log[-2000:]}"
            time.sleep(0.01)

    def start(self) -> None:
        """Starts the agent; returns at once."""
        assert self._process is None
        command = [sys.executable, "-m", "guestagent_core", "run", "--root", os.fspath(self._folder)]
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [*command, "--config", os.fspath(self._configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """Ends the agent at once, as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def end(self) -> None:
        """Asks the agent to end, and returns when it has.

        :raises AssertionError: it does not, or says that it failed.
        """
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"The agent does not end: {self.log[-2000:]}") from None
        assert status == 0, f"The agent ended with status {status}: {self.log[-2000:]}"
