"""Exchanges that do what an exchange must not do."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ("Constructor", "Exits", "Forgets", "Raises", "Rubbish")


class Raises:
    """Raises whenever it is asked, and when it is closed."""

    def get_request(self) -> Any:
        """Fails."""
        raise ConnectionError("get_request fails on purpose")

    def put_response(self, request: Any, response: Any) -> None:
        """Is never called."""

    def close(self) -> None:
        """Fails too."""
        raise ConnectionError("close fails on purpose")


class Exits(Raises):
    """Tries to end the process."""

    def get_request(self) -> Any:
        """Exits."""
        sys.exit("get_request exits on purpose")


class Rubbish(Raises):
    """Hands out what is no request."""

    def get_request(self) -> Any:
        """Returns a number."""
        return 42


class Forgets(Raises):
    """Hands out a request without data, and loses the answer."""

    def __init__(self) -> None:
        self._left = 1

    def get_request(self) -> Any:
        """Returns one request."""
        self._left -= 1
        return {"data": b'{"name": "version", "value": ""}'} if self._left == 0 else None

    def put_response(self, request: Any, response: Any) -> None:
        """Fails."""
        raise RuntimeError("put_response fails on purpose")


class Constructor:
    """Cannot be built."""

    def __init__(self) -> None:
        raise OSError("the constructor fails on purpose")
