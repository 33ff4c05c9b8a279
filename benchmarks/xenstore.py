"""The XenStore exchange on Debian's C xenstored, beside a hand-written agent and beside pyxs' Client and Monitor.

The daemon is that of the tests' harness: the folder ``GUESTAGENT_XEN_UTILS`` holds xen-utils, unpacked.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from idling import switches
from measuring import NotMeasuredError, Row, compare
from xenstore_peers import Host, PyxsHost, run, serve_by_hand, serve_by_pyxs

from guestagent_core import ChannelRunner, CommandRegistry, Context, Dispatcher
from guestagent_core.builtin import Builtin
from guestagent_json import JsonParser
from guestagent_xen.devstore import DevelopmentStore
from guestagent_xen.exchange import XenStoreExchange

__all__ = ("measure",)

_REQUESTS = 300
_IN_FLIGHT = 32
_IDLE = 30  # seconds
_FEW, _MANY = 10, 1000  # requests that wait already


def measure(rounds: int) -> list[Row]:
    """Measures round trips, operations, idling, and many requests that wait already.

    :raises NotMeasuredError: the daemon is not to be had.
    """
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from tests.xen.harness import Agent, Daemon, ProgramsMissingError, find_programs

    try:
        programs = find_programs()
    except ProgramsMissingError as error:
        raise NotMeasuredError(str(error)) from error
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ga-")))
        (folder / "agent").mkdir()
        daemon = stack.enter_context(Daemon("xenstored", folder, programs))
        paths = {"request_path": "/bench/ours/host", "response_path": "/bench/ours/guest"}
        agent = stack.enter_context(Agent(folder / "agent", daemon.socket, **paths))
        ours = Host(daemon.socket, b"/bench/ours")
        rows = []
        with _peers(daemon.socket) as (by_hand, by_pyxs):
            rows += _round_trips(ours, by_hand, by_pyxs, rounds)
        rows += _operations(rounds, Agent, folder)
        rows += _pending(daemon.socket, rounds)
        ours.one_in_flight(1)
        rows += _idle(agent.pid, daemon.pid)
    return rows


@contextmanager
def _peers(path: Path) -> Iterator[tuple[Host, PyxsHost]]:
    processes = [run(serve_by_hand, path, b"/bench/hand"), run(serve_by_pyxs, path, b"/bench/pyxs")]
    try:
        time.sleep(0.5)  # they say nothing when they are ready
        with closing(PyxsHost(path, b"/bench/pyxs")) as by_pyxs:
            yield Host(path, b"/bench/hand"), by_pyxs
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _round_trips(ours: Host, by_hand: Host, by_pyxs: PyxsHost, rounds: int) -> list[Row]:
    def median(host: Host | PyxsHost) -> float:
        return statistics.median(host.one_in_flight(_REQUESTS)) * 1e6

    floor = compare(lambda: median(ours), lambda: median(by_hand), rounds)
    pyxs = compare(lambda: median(ours), lambda: median(by_pyxs), rounds)
    many = compare(
        lambda: ours.many_in_flight(_REQUESTS * 3, _IN_FLIGHT),
        lambda: by_hand.many_in_flight(_REQUESTS * 3, _IN_FLIGHT),
        rounds,
    )
    return [
        Row("xenstore, one in flight, p50", "us", *floor, goal=1.3),
        Row("xenstore, the same beside pyxs, p50", "us", *pyxs, goal=0.6),
        Row(f"xenstore, {_IN_FLIGHT} in flight", "requests/s", *many, goal=0.7, more_is_better=True),
    ]


def _operations(rounds: int, agent_class: type, folder: Path) -> list[Row]:
    """Counts what an agent asks for, one request at a time; the development store counts."""
    counts = []
    for ours in (True, False):
        with ExitStack() as stack:
            store = stack.enter_context(DevelopmentStore(folder / "counted"))
            way = store.add_guest(7)
            base = b"/local/domain/7/data"
            if ours:
                (folder / "counting").mkdir()
                stack.enter_context(agent_class(folder / "counting", way))
            else:
                process = run(serve_by_hand, way, b"/local/domain/7/data")
                stack.callback(process.join)
                stack.callback(process.terminate)
            host = Host(store.path, base)
            host.one_in_flight(10)
            time.sleep(0.2)
            store.operations.clear()
            host.one_in_flight(100)
            time.sleep(0.2)
            counts.append(sum(domain == 7 for domain, _ in store.operations) / 100)
    return [Row("xenstore, store operations of a request", "operations", counts[0], counts[1], goal=1.0)]


def _pending(path: Path, rounds: int) -> list[Row]:
    """Measures how long each of many requests takes that are there before the exchange is, beside few."""
    host = Host(path, b"/bench/pending")

    def each(count: int) -> float:
        host.clear()
        host.put(count)
        started = time.perf_counter()
        options = XenStoreExchange.Options(
            path=path, request_path="/bench/pending/host", response_path="/bench/pending/guest"
        )
        exchange = XenStoreExchange(options)
        dispatcher = Dispatcher(exchange, JsonParser(ChannelRunner(CommandRegistry([Builtin], Context()))))
        answered = 0
        while answered < count:
            answered += dispatcher.run_once(10.0)
        seconds = time.perf_counter() - started
        exchange.close()
        return seconds / count * 1e6

    # As many requests for both, so that the medians are as good.
    many, few = compare(
        lambda: each(_MANY), lambda: statistics.median(each(_FEW) for _ in range(_MANY // _FEW // 5)), min(rounds, 7)
    )
    return [Row(f"xenstore, {_MANY} pending beside {_FEW}, each", "us", many, few, goal=1.5)]


def _idle(agent: int, daemon: int) -> list[Row]:
    time.sleep(0.5)
    before = switches(agent), switches(daemon)
    time.sleep(_IDLE)
    woken, asked = switches(agent) - before[0], switches(daemon) - before[1]
    return [
        Row(f"xenstore, idle for {_IDLE} s, wake-ups", "times", woken, 1, goal=0),
        Row(f"xenstore, idle for {_IDLE} s, those of the daemon", "times", asked, 1, goal=0),
    ]
