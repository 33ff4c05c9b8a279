"""What the network benchmark runs inside its machine: ``inside_network.py WHAT BACKEND CARDS ROUNDS``, figures as JSON.

It is fed to a Python there, so that it imports nothing of this folder.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from guestagent_commands_net.applying import apply_change
from guestagent_commands_net.netlink import read_state
from guestagent_commands_net.nics import local_nics
from guestagent_commands_net.planning import plan
from guestagent_commands_net.readers.sources import read_value
from guestagent_commands_net.transaction import staging
from guestagent_commands_net.transaction.launching import run_worker
from guestagent_commands_net.transaction.record import Folder
from guestagent_commands_net.transaction.verify import differences
from guestagent_core import Context


def record(card: int, number: int) -> dict[str, Any]:
    """Returns what a host publishes: two addresses, a route, and gateways on the first card."""
    mac = f"02:00:00:00:{card // 256 + 1:02x}:{card % 256:02x}"
    found = {
        "label": f"net{card}",
        "mac": mac,
        "ips": [{"ip": f"10.9.{card}.{number}", "netmask": "255.255.255.0", "enabled": "1"}],
        "ip6s": [{"ip": f"fd09:{card + 1:x}::{number}", "netmask": 64, "enabled": "1"}],
        "routes": [{"route": f"10.{100 + card}.0.0", "netmask": "255.255.0.0", "gateway": f"10.9.{card}.2"}],
        "dns": ["10.9.0.53"],
    }
    return found | ({"gateway": "10.9.0.1", "gateway_v6": "fd09:1::1"} if card == 0 else {})


def timed(function: Callable[[], object], rounds: int) -> float:
    """Returns the median of the seconds that a call takes."""
    figures = []
    for _ in range(rounds):
        started = time.perf_counter()
        function()
        figures.append(time.perf_counter() - started)
    return statistics.median(figures)


def share(context: Context, backend: str, cards: int, rounds: int) -> dict[str, float]:
    """Returns the seconds of our own part of a change, without the tools and without waiting."""
    values = [json.dumps([record(card, number) for card in range(cards)]) for number in (10, 20)]
    parts: dict[str, list[float]] = {}
    for turn in range(rounds + 1):
        with tempfile.TemporaryDirectory(dir="/var/lib") as name:
            folder = Folder(Path(name))
            processor = time.process_time()
            marks = [time.perf_counter()]
            change = read_value(values[turn % 2], local_nics(context))
            marks.append(time.perf_counter())
            planned = plan(change, context, folder, until=time.monotonic() + 60, backend=backend)
            assert planned.record is not None
            marks.append(time.perf_counter())
            folder.begin(planned.record)
            found = folder.record()  # as the worker reads it
            assert found is not None
            staging.stage(found.files)
            marks.append(time.perf_counter())
            staging.swap(found.files)
            marks.append(time.perf_counter())
            differences(found.expected, read_state())
            marks.append(time.perf_counter())
            processor = time.process_time() - processor
            staging.restore(found.files)
        if turn:  # the first one imports
            for part, first, second in zip(
                ("parse", "plan", "stage", "swap", "verify"), marks, marks[1:], strict=False
            ):
                parts.setdefault(part, []).append(second - first)
            parts.setdefault("processor", []).append(processor)
    return {part: statistics.median(figures) for part, figures in parts.items()}


def start(context: Context, rounds: int) -> float:
    """Returns the seconds that a worker takes which has nothing to do."""
    folder = Folder(context.state_dir)
    folder.path.mkdir(parents=True, exist_ok=True)
    return timed(lambda: run_worker(folder, context, time.monotonic() + 60), rounds)


def whole(context: Context, backend: str, cards: int, rounds: int) -> dict[str, float]:
    """Returns the seconds of changing one card of ``cards``, ours and by hand; and of changing nothing."""
    turn = 0

    def apply(number: int) -> None:
        records = [record(card, number if card == cards - 1 else 10) for card in range(cards)]
        change = read_value(records, local_nics(context))
        apply_change(change, context, until=time.monotonic() + 500, backend=backend)

    def ours() -> None:
        nonlocal turn
        turn += 1
        apply(10 + turn % 2)

    file = Path("/etc/network/interfaces")
    names = [f"eth{card}" for card in range(cards)]

    def by_hand() -> None:
        """All down, the new file, all up."""
        nonlocal turn
        turn += 1
        text = file.read_text()
        old, new = (f"10.9.{cards - 1}.{10 + number}/" for number in ((turn + 1) % 2, turn % 2))
        for name in names:
            subprocess.run(["ifdown", name], check=True, capture_output=True)
        file.write_text(text.replace(old, new))
        for name in names:
            subprocess.run(["ifup", name], check=True, capture_output=True)

    apply(10)
    ours()
    by_hand()
    figures = [(timed(ours, 1), timed(by_hand, 1)) for _ in range(rounds)]
    number = 10 + turn % 2
    apply(number)
    return {
        "ours": statistics.median(first for first, _ in figures),
        "other": statistics.median(second for _, second in figures),
        "unchanged": timed(lambda: apply(number), rounds),
    }


def main() -> None:
    """Prints the figures."""
    what, backend, cards, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    context = Context(state_dir=Path("/var/lib/guestagent"))
    found: object
    if what == "share":
        found = share(context, backend, cards, rounds)
    elif what == "start":
        found = start(context, rounds)
    else:
        found = whole(context, backend, cards, rounds)
    print(json.dumps(found))


main()
