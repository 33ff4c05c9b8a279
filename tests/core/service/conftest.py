"""Agents under a service manager."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from .managed import Service, Start


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Returns a function that starts an agent with more options and variables."""
    with ExitStack() as started:

        def start(*options: str, **more: str) -> Service:
            return started.enter_context(closing(Service(folder, *options, **more)))

        yield start


@pytest.fixture
def service(start: Start) -> Service:
    """An agent that is starting."""
    return start()
