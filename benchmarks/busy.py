"""The pace of parallel commands while one exclusive command runs, beside the pace while none does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local_channel import connected
from measuring import Row, compare
from parsing import REQUEST

__all__ = ("measure",)

_REQUESTS = 1000
_AGENT = """
import sys, time
from pathlib import Path
from guestagent_core import CommandBase, CommandResult, cli, command, discovery

class Busy(CommandBase):
    @command("sleep")
    def sleep(self, value):
        while Path(value).exists():
            time.sleep(0.05)
        return CommandResult()

    @command("compute")
    def compute(self, value):
        while Path(value).exists():
            sum(range(20000))
        return CommandResult()

load_packs = discovery.load_packs
discovery.load_packs = lambda plugin: [*load_packs(plugin), Busy]
sys.exit(cli.main(sys.argv[1:]))
"""


def measure(rounds: int) -> list[Row]:
    """Measures beside a command that waits, and beside one that computes in Python."""
    with tempfile.TemporaryDirectory(prefix="ga-") as name, _agent(Path(name)) as path, connected(path) as client:
        rows = []
        for command, goal in (("sleep", 1.2), ("compute", 10.0)):

            def busy(command: str = command) -> float:
                with _running(path, command, Path(name, "running")):
                    return _pace(client)

            figures = compare(busy, lambda: _pace(client), rounds)
            rows.append(Row(f"parallel, beside an exclusive one that {command}s", "us", *figures, goal=goal))
    return rows


def _pace(client: socket.socket) -> float:
    """Returns the mean time of a request and its answer, in microseconds: beside a thread that computes most answers
    are quick and some wait long for the interpreter, so that a median would hide what it costs.
    """
    started = time.perf_counter()
    for _ in range(_REQUESTS):
        client.sendall(REQUEST + b"\n")
        client.recv(65536)
    return (time.perf_counter() - started) / _REQUESTS * 1e6


@contextmanager
def _running(path: Path, command: str, file: Path) -> Iterator[None]:
    """Has an exclusive command run meanwhile."""
    file.touch()
    with connected(path) as client:
        client.sendall(f'{{"name": "{command}", "value": "{file}"}}\n'.encode())
        time.sleep(0.1)
        try:
            yield
        finally:
            file.unlink()
            client.recv(65536)


@contextmanager
def _agent(folder: Path) -> Iterator[Path]:
    path = folder / "agent.sock"
    options = ["--root", str(folder / "root"), "--socket", str(path), "--log-level", "warning"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(os.fspath(folder / "ready.sock"))
        ready.settimeout(30)
        environment = {**os.environ, "NOTIFY_SOCKET": os.fspath(folder / "ready.sock")}
        process = subprocess.Popen([sys.executable, "-c", _AGENT, "run", *options], env=environment)
        try:
            ready.recv(4096)
            yield path
        finally:
            process.terminate()
            process.wait()
