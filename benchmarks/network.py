"""resetnetwork: our own share of it, and all of it beside doing the same by hand; in a machine of its own.

It needs what the tests with real tools need: root, namespaces, and ``GUESTAGENT_NET_ROOT``; see ``.ci/run``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from measuring import Row

sys.path.append(str(Path(__file__).parents[1]))

__all__ = ("measure",)

_INSIDE = Path(__file__).with_name("inside_network.py").read_text()


def measure(rounds: int) -> list[Row]:
    """Returns the rows of the table; none where there is no machine to be had."""
    from tests import conftest
    from tests.net.lab import ROOT_VARIABLE, Machine
    from tests.net.scenarios import IFUPDOWN

    if os.geteuid() != 0 or ROOT_VARIABLE not in os.environ:
        print(f"network: left out, it needs root and {ROOT_VARIABLE}")
        return []
    conftest.isolate()  # from here on this process has a network of its own

    def run(machine: Machine, what: str, cards: int, times: int, backend: str = "ifupdown") -> Any:
        arguments = ("-I", "-", what, backend, str(cards), str(times))
        done = machine.python(*arguments, input=_INSIDE, check=True, timeout=900)
        return json.loads(done.stdout)

    rows = []
    for cards, budget in ((1, 10.0), (100, 120.0)):
        with Machine(interfaces=cards, files=IFUPDOWN.files) as machine:
            for backend in ("ifupdown", "netplan", "networkmanager"):
                parts = run(machine, "share", cards, rounds, backend)
                processor = parts.pop("processor")
                title = f"our share of a change, {backend}, {cards} NIC{'s' * (cards > 1)}"
                rows.append(Row(title, "ms (budget)", sum(parts.values()) * 1e3, budget, 1.0))
                print("  " + ", ".join(f"{part} {seconds * 1e3:.1f}" for part, seconds in parts.items()), end=" ms,")
                print(f" {processor * 1e3:.1f} ms of the processor")
    for cards, dad, goal, title in (
        (1, True, 1.3, "1 NIC changed, beside ifdown + ifup"),
        (1, False, 1.3, "the same without duplicate address detection"),
        (10, True, 0.3, "1 NIC of 10 changed, beside all down, all up"),
    ):
        with Machine(interfaces=cards, files=IFUPDOWN.files) as machine:
            if not dad:
                machine.run("sh", "-c", "for i in all default eth0; do sysctl -qw net.ipv6.conf.$i.accept_dad=0; done")
            figures = run(machine, "whole", cards, min(rounds, 7))
            rows.append(Row(title, "ms", figures["ours"] * 1e3, figures["other"] * 1e3, goal))
            if cards == 1 and dad:
                rows.append(Row("unchanged, 1 NIC", "ms (budget)", figures["unchanged"] * 1e3, 8.0, 1.0))
                started = run(machine, "start", 1, min(rounds, 7))
                print(f"  the worker's start, which is in the next figures: {started * 1e3:.1f} ms")
    return rows
