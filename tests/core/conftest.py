"""What all tests of the core share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket in it, which that of tmp_path need not be."""
    with tempfile.TemporaryDirectory(prefix="ga-") as name:
        yield Path(name)
