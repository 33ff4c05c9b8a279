"""Both ends of the local exchange: clients that ask, and who answers them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from guestagent_core.local import LocalExchange
from guestagent_core.testing import take_request

PATIENCE = 30.0  # seconds until something counts as hanging
MORE_THAN_FITS = b"x" * 5_000_000  # into the buffers of a socket

Connect = Callable[[], socket.socket]


def settle(exchange: LocalExchange) -> None:
    """Has the exchange take in what was sent so far."""
    for _ in range(10):  # one round accepts, the next ones read
        exchange.wait(0)


def echo(exchange: LocalExchange) -> None:
    request = take_request(exchange)
    exchange.put_response(request, {"data": request["data"]})


@contextmanager
def served(exchange: LocalExchange) -> Iterator[None]:
    """Has another thread answer every request with itself."""
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            exchange.wait(None)
            for request in iter(exchange.get_request, None):
                exchange.put_response(request, {"data": request["data"]})

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        exchange.wake()
        thread.join(PATIENCE)


def receive(client: socket.socket, size: int) -> bytes:
    """Returns the next ``size`` bytes, fewer if the stream ends before."""
    data = bytearray()
    while len(data) < size and (more := client.recv(min(size - len(data), 65536))):
        data += more
    return bytes(data)


def ask(exchange: LocalExchange, client: socket.socket) -> None:
    """Fails unless the client gets the answer to a request."""
    client.sendall(b'{"still": "served"}')
    echo(exchange)
    assert receive(client, 20) == b'{"still": "served"}\n'
