"""A real peer: Debian's qemu-guest-agent on a Unix socket, asked guest-sync; and what we take of memory."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agents import running_agent
from local_channel import IN_FLIGHT, connected, many_in_flight, one_in_flight
from measuring import Row, compare

__all__ = ("measure",)

_SYNC = b'{"execute": "guest-sync", "arguments": {"id": 7}}'
_RSS_BUDGET, _ANONYMOUS_BUDGET = 30.0, 18.0  # MiB


def measure(rounds: int) -> list[Row]:
    """Measures both agents in turn; our memory after that, beside its budget."""
    if shutil.which("qemu-ga") is None:
        print("qemu-ga is not installed (Debian: qemu-guest-agent): no figures beside it")
        return []
    with (
        tempfile.TemporaryDirectory(prefix="ga-") as folder,
        running_agent(Path(folder)) as agent,
        qemu_agent(Path(folder, "qemu.sock")) as peer,
    ):
        with connected(agent.socket) as ours, connected(peer) as other:
            latency = compare(lambda: one_in_flight(ours), lambda: one_in_flight(other, _SYNC), rounds)
            throughput = compare(lambda: many_in_flight(ours), lambda: many_in_flight(other, _SYNC), rounds)
        rss, anonymous = memory(agent.process.pid)
    return [
        Row("beside qemu-ga: one in flight, p50", "us", *latency, goal=1.2),
        Row(f"beside qemu-ga: {IN_FLIGHT} in flight", "requests/s", *throughput, goal=1.0, more_is_better=True),
        Row("resident memory, beside its budget", "MiB", rss, _RSS_BUDGET, goal=1.0),
        Row("of that anonymous, beside its budget", "MiB", anonymous, _ANONYMOUS_BUDGET, goal=1.0),
    ]


@contextmanager
def qemu_agent(path: Path) -> Iterator[Path]:
    """Runs qemu-ga in the foreground, with its state beside the socket."""
    command = ["qemu-ga", "-m", "unix-listen", "-p", str(path), "-t", str(path.parent), "-f", f"{path}.pid"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        while not path.exists():
            time.sleep(0.01)
        yield path
    finally:
        process.terminate()
        process.wait()


def memory(process: int) -> tuple[float, float]:
    """Returns the resident memory of a process, and how much of it is anonymous, in MiB."""
    status = Path(f"/proc/{process}/status").read_text()
    rss, anonymous = (int(re.findall(rf"{name}:\s+(\d+)", status)[0]) / 1024 for name in ("VmRSS", "RssAnon"))
    return rss, anonymous
