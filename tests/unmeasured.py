"""Processes that coverage leaves alone: it imports modules of its own, and writes where the process may not."""

from __future__ import annotations

import os


def unmeasured() -> dict[str, str]:
    """Returns this process's environment without that by which coverage would measure a child."""
    return {name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_CONFIG"}
