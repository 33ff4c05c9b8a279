"""Stores for the tests that need no daemon."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestagent_xen.devstore import DevelopmentStore


@pytest.fixture
def store_path() -> Iterator[Path]:
    """A path that is short enough for a socket, which one below tmp_path need not be."""
    with tempfile.TemporaryDirectory(prefix="ga-") as name:
        yield Path(name, "s")


@pytest.fixture
def small_store(store_path: Path) -> Iterator[DevelopmentStore]:
    """A store that is served at ``store_path``."""
    with DevelopmentStore(store_path) as store:
        yield store
