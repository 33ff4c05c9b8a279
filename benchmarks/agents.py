"""A real agent in a process of its own, for the benchmarks to ask."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

__all__ = ("Agent", "command", "running_agent")


class Agent(NamedTuple):
    """A running agent."""

    process: subprocess.Popen[bytes]
    socket: Path


def command(folder: Path) -> list[str]:
    """Returns how an agent is started that keeps to ``folder``."""
    options = ["--root", str(folder / "root"), "--socket", str(folder / "agent.sock"), "--log-level", "warning"]
    return [sys.executable, "-m", "guestagent_core", "run", *options]


@contextmanager
def running_agent(folder: Path) -> Iterator[Agent]:
    """Runs an agent; begins once it says that it is ready."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(os.fspath(folder / "ready.sock"))
        ready.settimeout(30)
        environment = {**os.environ, "NOTIFY_SOCKET": os.fspath(folder / "ready.sock")}
        process = subprocess.Popen(command(folder), env=environment)
        try:
            ready.recv(4096)
            yield Agent(process, folder / "agent.sock")
        finally:
            process.terminate()
            process.wait()
