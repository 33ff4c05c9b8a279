"""What an agent does while nobody asks: how often any of its threads was woken, as the kernel counts it."""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path

from agents import running_agent
from local_channel import connected
from measuring import Row
from parsing import REQUEST

__all__ = ("measure", "switches")

_SECONDS = 30


def measure(rounds: int) -> list[Row]:
    """Measures once, for 30 seconds; beside one wake-up, so that the ratio is their number."""
    with tempfile.TemporaryDirectory(prefix="ga-") as folder, running_agent(Path(folder)) as agent:
        with connected(agent.socket) as connection:
            connection.sendall(REQUEST + b"\n")
            connection.recv(65536)
            time.sleep(0.5)
            before = switches(agent.process.pid)
            time.sleep(_SECONDS)
            woken = switches(agent.process.pid) - before
    return [Row(f"idle for {_SECONDS} s, wake-ups", "times", woken, 1, goal=0)]


def switches(process: int) -> int:
    """Returns how often the threads of a process have been scheduled until now."""
    statuses = [path.read_text() for path in Path(f"/proc/{process}/task").glob("*/status")]
    return sum(int(count) for status in statuses for count in re.findall(r"voluntary_ctxt_switches:\s+(\d+)", status))
