"""What a XAPI host sees of a guest: how soon, and what it costs when nothing happens.

It runs in a network of its own (``unshare --net``, as root), with the daemon of the tests' harness. xe-daemon is not
run: its figures are those of its source, see :data:`XE_DAEMON`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import NotMeasuredError, Row, percentile

__all__ = ("measure",)

XE_DAEMON = {"operations": 60 + 30 * 2, "wake-ups": 60.0}
"""Of xe-guest-utilities in an idle hour: each minute it reads ``unique-domain-id``, and every second minute it writes
the free memory and ``data/updated``; it looks at addresses once a minute (xe-daemon.go, guestmetric_linux.go)."""

_ADDRESSES = 200
_IDLE = 20  # seconds, with a memory interval of one, so that there are as many readings as in 20 minutes
_VISIBLE = 250.0  # milliseconds, the goal


def measure(rounds: int) -> list[Row]:
    """Measures in a child process that has a network of its own.

    :raises NotMeasuredError: it needs root, iproute2 or the daemon.
    """
    del rounds  # percentiles of many changes are measured once
    child = [sys.executable, __file__]
    done = subprocess.run(["unshare", "--net", *child], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasuredError(f"it needs root, iproute2 and the daemon: {done.stderr.strip()[-300:]}")
    figures = json.loads(done.stdout)
    latencies, operations, wakes = figures["latencies"], figures["operations"], figures["wakes"]
    per_hour = 60 / _IDLE
    return [
        Row("address to key, p50, beside the goal", "ms", percentile(latencies, 0.5), _VISIBLE, 1.0),
        Row("address to key, p99, beside the goal", "ms", percentile(latencies, 0.99), _VISIBLE, 1.0),
        Row("address to key, p50, beside xe-daemon's mean", "ms", percentile(latencies, 0.5), 30_000.0, 0.01),
        Row("store operations an idle hour", "times", operations * per_hour, XE_DAEMON["operations"], 1.0),
        Row("wake-ups an idle hour", "times", wakes * per_hour, XE_DAEMON["wake-ups"], 1.1),
    ]


def _measure_here() -> dict[str, object]:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from tests.xen.harness import Daemon, Guest, find_programs

    from guestagent_core import Context
    from guestagent_xapi.publisher import Publisher, PublisherOptions
    from guestagent_xen.host.xapi import XapiHost
    from guestagent_xen.watching import Changes, Watcher

    mac = "0a:00:00:00:00:01"
    for words in (f"link add x0 address {mac} type veth peer name x1", "link set x0 up", "link set x1 up"):
        subprocess.run(["ip", *words.split()], check=True)
    counted = {"operations": 0, "wakes": 0}
    real_call, real_wait = Watcher.call_all, Watcher.wait

    def call_all(self: Watcher, *operations: object) -> object:
        counted["operations"] += len(operations)
        return real_call(self, *operations)  # type: ignore[arg-type]

    def wait(self: Watcher, *arguments: object, **keywords: object) -> Changes:
        counted["wakes"] += 1
        return real_wait(self, *arguments, **keywords)  # type: ignore[arg-type]

    with tempfile.TemporaryDirectory(prefix="ga-") as folder:
        root = Path(folder, "root")
        (root / "proc").mkdir(parents=True)
        with Daemon("xenstored", Path(folder), find_programs()) as daemon, Guest(daemon, 7) as guest:
            host = XapiHost(7, socket=str(daemon.socket))
            host.make()
            host.plug(0, mac)
            publisher = Publisher(PublisherOptions(path=guest.device, memory_interval=1.0), Context(root).path, dict)
            publisher.start()
            while not host.view().pv_drivers_version:
                time.sleep(0.01)
            latencies = [_seen(host, f"192.0.2.{number % 250 + 1}") for number in range(_ADDRESSES)]
            Watcher.call_all, Watcher.wait = call_all, wait  # type: ignore[method-assign, assignment]
            try:
                deadline = time.monotonic() + _IDLE
                while (left := deadline - time.monotonic()) > 0:
                    free = 1000 + int(left * 10)  # which is never twice the same
                    (root / "proc/meminfo").write_text(f"MemTotal: 2000000 kB\nMemAvailable: {free} kB\n")
                    time.sleep(0.2)
            finally:
                Watcher.call_all, Watcher.wait = real_call, real_wait  # type: ignore[method-assign]
            publisher.stop()
            host.close()
    return {"latencies": latencies, **counted}


def _seen(host: object, address: str) -> float:
    """Returns the milliseconds from an address to its key, and takes it away again."""
    from guestagent_xen.host.xapi import XapiHost

    assert isinstance(host, XapiHost)
    subprocess.run(["ip", "address", "add", f"{address}/24", "dev", "x0"], check=True)
    started = time.perf_counter()
    while address not in host.view().networks.values():
        time.sleep(0.001)
    milliseconds = (time.perf_counter() - started) * 1000
    subprocess.run(["ip", "address", "del", f"{address}/24", "dev", "x0"], check=True)
    while address in host.view().networks.values():
        time.sleep(0.001)
    return milliseconds


if __name__ == "__main__":
    print(json.dumps(_measure_here()))
