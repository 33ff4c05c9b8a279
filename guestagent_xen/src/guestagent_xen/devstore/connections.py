"""A client of the daemon, as the daemon knows it: its watches and its transactions."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .operations import Change
from .transactions import Transaction
from .wire import Op, message

__all__ = ("Connection", "Watch")

# A kernel leaves in the header of an event what its buffer held before.
_NO_ID, _ANY_ID = 0, 0xDEADBEEF


class Watch(NamedTuple):
    """A watch as it was asked for."""

    given: bytes
    token: bytes
    path: bytes
    """The absolute path, or the name of a special event."""

    def told(self, change: Change) -> bytes | None:
        """Returns the path that the event of a change has for this watch, None if there is no event."""
        if change.beside is not None:
            above, _, name = self.path.rpartition(b"/")
            return self.path if above == change.path and name not in change.beside else None
        if change.path == self.path:
            return change.path
        below = change.path.startswith(self.path + b"/") or self.path == b"/"
        return change.path if below and not change.exact else None


class Connection:
    """One client of the daemon.

    :param domain: whose view it has.
    :param is_bus: whether it is a guest's, through a kernel.
    :param send: takes what it is sent.
    """

    def __init__(self, domain: int, send: Callable[[bytes], None], *, is_bus: bool) -> None:
        self.domain = domain
        self.is_bus = is_bus
        self.send = send
        self.watches: list[Watch] = []
        self.transactions: dict[int, Transaction] = {}
        self.last_transaction = 0

    def find(self, watch: Watch) -> Watch | None:
        """Returns the same watch, if it has been asked for; a kernel makes one of each way to write the same path."""
        same = (known for known in self.watches if (known.path, known.token) == (watch.path, watch.token))
        return next((known for known in same if not self.is_bus or known.given == watch.given), None)

    def tell(self, watch: Watch, path: bytes) -> None:
        """Sends the event of ``path``."""
        anything = _ANY_ID if self.is_bus else _NO_ID
        self.send(message(Op.WATCH_EVENT, anything, anything, path + b"\0" + watch.token + b"\0"))
