"""A store with a guest in it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestagent_xen.devstore import DevelopmentStore

from .old_agents import OPENED, WRITE, Agent, Wire


@pytest.fixture
def store(small_store: DevelopmentStore) -> Iterator[Path]:
    path: Path = small_store.path
    wire = Wire(path)
    small_store.add_guest(7)
    wire.ask(WRITE, "/local/domain/7/data/host", b"")
    wire.ask(WRITE, "/local/domain/7/data/guest", b"")
    yield path
    for wire in OPENED:
        wire.socket.shutdown(socket.SHUT_RDWR)  # which wakes the agents
    for thread in threading.enumerate():
        if isinstance(thread, Agent):
            thread.join()
    while OPENED:
        OPENED.pop().socket.close()
