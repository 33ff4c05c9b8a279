"""Waiting for what another thread does, where it does not say that it has done it."""

from __future__ import annotations

import threading
from collections.abc import Callable

PATIENCE = 60.0  # seconds until something counts as hanging


def until(condition: Callable[[], bool]) -> None:
    """Returns once ``condition`` holds, and fails if it does not come to that."""
    waiting = threading.Event()
    for _ in range(int(PATIENCE / 0.01)):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("It did not come to that")
