"""The agent of these tests."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from guestagent_core.client import LocalClient
from guestagent_core.errors import ExchangeError

__all__ = ("PressedAgent", "request")

_PROGRAM = Path(__file__).with_name("pressed.py")
_PATIENCE = 60.0  # seconds


class PressedAgent:
    """An agent with two local channels, ``one`` and ``two``, from the beginning of a ``with`` block to its end.

    :param before: a command line that the agent's is appended to, such as one that sets limits.
    """

    def __init__(self, folder: Path, before: Sequence[str] = (), **environment: str) -> None:
        self.folder = folder
        self._before = before
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PressedAgent:
        config = self.folder / "agent.toml"
        config.write_text(
            "".join(
                f'[[channel]]\nexchange = "local"\nname = "{name}"\n[channel.options]\npath = "{self.folder}/{name}"\n'
                for name in ("one", "two")
            )
        )
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(os.fspath(self.folder / "ready"))
            ready.settimeout(_PATIENCE)
            folders = {"STATE_DIRECTORY": str(self.folder / "state"), "NOTIFY_SOCKET": str(self.folder / "ready")}
            command = [*self._before, sys.executable, str(_PROGRAM), "run", "--config", str(config), "--root"]
            with open(self.folder / "log", "wb") as log:
                self._process = subprocess.Popen(
                    [*command, str(self.folder)],
                    env={**os.environ, **folders, **self._environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            try:
                assert ready.recv(100) == b"READY=1"
            except BaseException:
                self._end()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def pid(self) -> int:
        """The agent's process."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def memory(self) -> float:
        """What it has in memory, in MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
        return int(kilobytes) / 1024

    def connected(self, channel: str = "one") -> socket.socket:
        """Returns a connection."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(
            os.fspath(self.folder / channel)
        )  # with a time-out it would not wait for a place in the queue
        connection.settimeout(_PATIENCE)
        return connection

    def ask(self, name: str, value: str = "", channel: str = "one", timeout: float = _PATIENCE) -> tuple[str, str]:
        """Returns code and message of an answer."""
        with LocalClient(self.folder / channel, timeout=timeout) as client:
            answer = json.loads(client.request(request(name, value)))
        return answer["returncode"], answer["message"]

    def recovers(self) -> None:
        """Waits until a new client has its answer."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                assert self.ask("version", timeout=5)[0] == "0"
                return
            except (ExchangeError, OSError):
                assert time.monotonic() < deadline, self.log
                time.sleep(0.1)

    def end(self) -> None:
        """Asks it to end; returns when it has, as it should."""
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(_PATIENCE) == 0, self.log

    def _end(self) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def request(name: str, value: str = "") -> bytes:
    """Returns what a client sends."""
    return json.dumps({"name": name, "value": value}).encode()
