"""Hooks plugins that do what a hooks plugin must not do."""

from __future__ import annotations

import sys
from typing import Any

from guestagent_core.hookspecs import hookimpl

__all__ = ("ExitingPolicy", "Listener", "Policy", "Startup", "Wrapper")


class Startup:
    """Fails when it is started."""

    @hookimpl
    def startup(self, agent: Any) -> None:
        """Fails."""
        raise RuntimeError("startup fails on purpose")


class Policy:
    """Fails when it is asked."""

    @hookimpl
    def authorize(self, call: Any) -> str | None:
        """Fails."""
        raise RuntimeError("authorize fails on purpose")


class ExitingPolicy:
    """Tries to end the process when it is asked."""

    @hookimpl
    def authorize(self, call: Any) -> str | None:
        """Exits."""
        sys.exit("authorize exits on purpose")


class Wrapper:
    """Returns rubbish in the command's place."""

    @hookimpl
    def run_command(self, call: Any) -> Any:
        """Returns a number."""
        return 42


class Listener:
    """Fails whenever it is told something."""

    @hookimpl
    def plugin_failed(self, error: Any) -> None:
        """Fails."""
        raise RuntimeError("plugin_failed fails on purpose")

    @hookimpl
    def shutdown(self, agent: Any) -> None:
        """Exits."""
        sys.exit("shutdown exits on purpose")
