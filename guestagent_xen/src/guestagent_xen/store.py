"""The ``xenstore`` store: what the host published for the guest, such as ``vm-data/networking``."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pyxs._internal import Op

from .connecting import connect
from .listing import list_children
from .session import Operation, Session, SessionLostError, StoreError

__all__ = ("XenStoreStore",)

ResultT = TypeVar("ResultT")


class XenStoreStore:
    """Reads and writes nodes; a relative path is the domain's own. It connects at its first use."""

    @dataclass(frozen=True)
    class Options:
        """What ``[channel.store_options]`` takes."""

        path: Path | None = None
        """A xenbus device or a socket, as for the exchange."""
        timeout: float = 5.0
        """Seconds that the daemon has to answer."""

        def __post_init__(self) -> None:
            if self.timeout <= 0:
                raise ValueError("timeout must be more than 0 seconds")

    def __init__(self, options: Options) -> None:
        self._options = options
        self._session: Session | None = None
        self._lock = threading.Lock()  # a session is used by one thread at a time

    def read(self, path: str) -> bytes | None:
        """Returns the value at ``path``, None if there is none.

        :raises ExchangeError: the store cannot be reached, or does not let us read it.
        """
        value = self._call(Operation(Op.READ, _path(path) + b"\0"))
        return None if _is_missing(value) else _taken(value)

    def list(self, path: str) -> list[str]:
        """Returns the names directly below ``path`` in the daemon's order, none if it does not exist.

        :raises ExchangeError: the store cannot be reached, does not let us list it, or cannot list as many.
        """
        with self._lock:
            try:
                names = self._in_session(lambda session: list_children(session, _path(path)))
            except StoreError as error:
                if not _is_missing(error):
                    raise
                return []
        return [name.decode(errors="replace") for name in names]

    def write(self, path: str, value: bytes) -> None:
        """Sets the value at ``path``; its parents are made.

        :raises ExchangeError: the store cannot be reached, or refuses.
        """
        answer = self._call(Operation(Op.WRITE, _path(path) + b"\0" + value))
        _taken(answer)

    def remove(self, path: str) -> None:
        """Removes ``path`` and everything below it; does nothing if it does not exist.

        :raises ExchangeError: the store cannot be reached, or refuses.
        """
        answer = self._call(Operation(Op.RM, _path(path) + b"\0"))
        if not _is_missing(answer):
            _taken(answer)

    def close(self) -> None:
        """Hangs up; the next use connects again."""
        with self._lock:
            self._hang_up()

    def _call(self, operation: Operation) -> bytes | StoreError:
        with self._lock:
            (answer,) = self._in_session(lambda session: session.call_all(operation))
        return answer

    def _in_session(self, work: Callable[[Session], ResultT]) -> ResultT:
        """Does ``work``; once more in a new session if the old one turns out to be lost."""
        try:
            if self._session is not None:
                return work(self._session)
        except SessionLostError:
            self._hang_up()
        self._session = connect(self._options.path, self._options.timeout)
        try:
            return work(self._session)
        except SessionLostError:
            self._hang_up()
            raise

    def _hang_up(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


def _path(path: str) -> bytes:
    return path.rstrip("/").encode() or b"/"


def _is_missing(answer: bytes | StoreError) -> bool:
    return isinstance(answer, StoreError) and answer.name == "ENOENT"


def _taken(answer: bytes | StoreError) -> bytes:
    if isinstance(answer, StoreError):
        raise answer
    return answer
