"""What the tests under pressure share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.pressure.harness import PressedAgent


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="ga-") as folder:
        yield Path(folder)


@pytest.fixture
def agent(folder: Path) -> Iterator[PressedAgent]:
    """An agent that nothing presses yet."""
    with PressedAgent(folder) as agent:
        yield agent
