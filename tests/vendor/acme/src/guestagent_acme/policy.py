"""A policy: notes must be polite."""

from __future__ import annotations

from guestagent_core import Call
from guestagent_core.hookspecs import hookimpl

__all__ = ("Policy",)


class Policy:
    """Denies notes that hold one of some words."""

    def __init__(self, words: str = "damn") -> None:
        self._words = words.split()

    @hookimpl
    def authorize(self, call: Call) -> str | None:
        """Looks at the argument."""
        if call.name == "acme.note" and any(word in str(call.argument) for word in self._words):
            return "notes must be polite"
        return None
