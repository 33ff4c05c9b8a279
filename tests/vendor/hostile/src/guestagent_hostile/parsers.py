"""A parser that does what a parser must not do."""

from __future__ import annotations

from typing import Any

__all__ = ("Rubbish",)


class Rubbish:
    """Answers with what is no response."""

    def __init__(self, runner: Any) -> None:
        self.runner = runner

    def parse_request(self, request: Any) -> Any:
        """Returns text."""
        return "not a mapping"

    def encode_error(self, code: int, message: str) -> Any:
        """Returns an answer."""
        return {"data": f"{code} {message}"}
