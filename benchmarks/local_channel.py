"""The local channel of a real agent, beside a bare blocking loop that decodes and encodes the same JSON."""

from __future__ import annotations

import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agents import running_agent
from measuring import Row, compare
from parsing import REQUEST, least

__all__ = ("IN_FLIGHT", "connected", "many_in_flight", "measure", "one_in_flight")

_REQUESTS = 2000
IN_FLIGHT = 64


def measure(rounds: int) -> list[Row]:
    """Measures one request in flight, and 64."""
    with tempfile.TemporaryDirectory(prefix="ga-") as folder, running_agent(Path(folder)) as agent:
        with bare_loop(Path(folder, "bare.sock")) as bare, connected(agent.socket) as ours, connected(bare) as other:
            latency = compare(lambda: one_in_flight(ours), lambda: one_in_flight(other), rounds)
            throughput = compare(lambda: many_in_flight(ours), lambda: many_in_flight(other), rounds)
    return [
        Row("local channel, one in flight, p50", "us", *latency, goal=1.7),
        Row(f"local channel, {IN_FLIGHT} in flight", "requests/s", *throughput, goal=0.5, more_is_better=True),
    ]


def one_in_flight(connection: socket.socket, request: bytes = REQUEST) -> float:
    """Returns the median time of a request and its answer, in microseconds."""
    figures = []
    for _ in range(_REQUESTS):
        started = time.perf_counter()
        connection.sendall(request + b"\n")
        while not connection.recv(65536).endswith(b"\n"):
            pass
        figures.append(time.perf_counter() - started)
    return statistics.median(figures) * 1e6


def many_in_flight(connection: socket.socket, request: bytes = REQUEST) -> float:
    """Returns the requests answered in a second while 64 are always on their way."""
    total = _REQUESTS * 5
    sent = IN_FLIGHT
    answered = 0
    started = time.perf_counter()
    connection.sendall((request + b"\n") * sent)
    while answered < total:
        new = connection.recv(65536).count(b"\n")
        answered += new
        more = min(new, total - sent)
        if more:
            connection.sendall((request + b"\n") * more)
            sent += more
    return total / (time.perf_counter() - started)


@contextmanager
def connected(path: Path) -> Iterator[socket.socket]:
    """Gives a connection to ``path``."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.fspath(path))
        yield connection


@contextmanager
def bare_loop(path: Path) -> Iterator[Path]:
    """Runs the bare loop in a process of its own."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.fspath(path))
    listener.listen()
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(listener,))
    process.start()
    listener.close()
    try:
        yield path
    finally:
        process.terminate()
        process.join()


def _serve(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    rest = b""
    while data := connection.recv(65536):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            connection.sendall(bytes(least({"data": line})["data"]) + b"\n")
