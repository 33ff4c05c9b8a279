"""Ending a wait for descriptors from another thread."""

from __future__ import annotations

from contextlib import suppress

__all__ = ("Waker",)


class Waker:
    """A descriptor that can be read from once somebody calls :meth:`wake`: what a ``wait`` has beside its own ones.

    A ``wake`` that comes before the wait is not lost, and several before it count as one.
    """

    def __init__(self) -> None:
        import socket

        # Not a pipe: its number, once closed, may be that of somebody else's file, which wake() would write to.
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """Returns the descriptor to wait for; it is -1 once this is closed."""
        return self._reader.fileno()

    def wake(self) -> None:
        """Makes the descriptor readable; does nothing once this is closed. May be called from any thread."""
        with suppress(OSError):  # woken often already, or closed
            self._writer.send(b"\0")

    def clear(self) -> bool:
        """Takes in what was called so far; returns whether anybody had called ``wake``."""
        try:
            return bool(self._reader.recv(4096))
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Closes the descriptor; may be called again."""
        self._reader.close()
        self._writer.close()
