"""From nothing to the first answer, beside a Python that only imports what the agent needs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from agents import running_agent
from local_channel import connected
from measuring import Row, compare
from parsing import REQUEST

__all__ = ("measure",)

_TOML = "tomllib" if sys.version_info >= (3, 11) else "tomli"
_NEEDED = f"stevedore, pluggy, argparse, logging, {_TOML}, json, socket, threading, subprocess, dataclasses"


def measure(rounds: int) -> list[Row]:
    """Measures whole processes, the interpreter's own start included in both."""
    ours, other = compare(first_answer, imports, rounds)
    return [Row("start to first answer", "ms", ours, other, goal=1.5)]


def first_answer() -> float:
    """Returns the milliseconds from starting an agent to its first answer."""
    with tempfile.TemporaryDirectory(prefix="ga-") as folder:
        started = time.perf_counter()
        with running_agent(Path(folder)) as agent, connected(agent.socket) as connection:
            connection.sendall(REQUEST + b"\n")
            assert connection.recv(65536)
            return (time.perf_counter() - started) * 1000


def imports() -> float:
    """Returns the milliseconds from starting Python to having imported."""
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", f"import {_NEEDED}\nprint(flush=True)"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        return (time.perf_counter() - started) * 1000
