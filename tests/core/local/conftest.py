"""A local exchange, and clients of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from guestagent_core.local import LocalExchange

from .asking import PATIENCE, Connect


@pytest.fixture
def path(folder: Path) -> Path:
    """Where the exchange listens."""
    return folder / "s"


@pytest.fixture
def exchange(path: Path) -> Iterator[LocalExchange]:
    with closing(LocalExchange(LocalExchange.Options(path=path, limit=1000))) as opened:
        yield opened


@pytest.fixture
def connect(path: Path) -> Iterator[Connect]:
    """Returns a function that connects a client."""
    with ExitStack() as opened:

        def one_more() -> socket.socket:
            client = opened.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(PATIENCE)
            client.connect(os.fspath(path))
            return client

        yield one_more
