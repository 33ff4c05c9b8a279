"""The thread of an old exchange and its parser: the old daemon had one for each such pair, and plugins may rely on it.

What was opened in one of their calls, such as a connection of :mod:`sqlite3`, can be of use in that thread alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any

__all__ = ("OldThread", "current_thread")


class OldThread:
    """One thread, which the first call starts: not earlier, so that it is one of the daemon and not of its parent."""

    def __init__(self) -> None:
        from concurrent.futures import ThreadPoolExecutor  # costs start-up, and few agents have an old exchange

        self._number: int | None = None
        self._pool = ThreadPoolExecutor(1, "legacy", initializer=self._began)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls ``function`` in the thread, with the context of the caller, and waits for it."""
        if threading.get_ident() == self._number:
            return function(*arguments)
        return self._pool.submit(copy_context().run, function, *arguments).result()

    def _began(self) -> None:
        self._number = threading.get_ident()


current_thread: ContextVar[OldThread | None] = ContextVar("guestagent_legacy_thread", default=None)
"""The thread in which old commands are called for the request that is worked on."""
