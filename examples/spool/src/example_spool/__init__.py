"""An exchange whose requests are files: a shared folder is all that host and guest need.

The host moves a finished file into ``in``; the answer appears in ``out`` under the same name, and the request is gone.
A request that is not answered when the agent ends is handed out again at its next start.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from guestagent_core import ExchangeError, Request, Response, ResponseTooLargeError, Waker

from .inotify import watch_folder

__all__ = ("SpoolExchange",)


class SpoolExchange:
    """Takes files that do not begin with a dot, the oldest first."""

    @dataclass(frozen=True)
    class Options:
        """What ``[channel.options]`` takes."""

        folder: Path = Path("{state_dir}/spool")
        """Where ``in`` and ``out`` are; they are made."""
        limit: int = 1024 * 1024
        """The largest request, and the largest answer, in bytes."""

    def __init__(self, options: Options) -> None:
        self._in, self._out = options.folder / "in", options.folder / "out"
        for folder in (self._in, self._out):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._limit = options.limit
        self._open: set[str] = set()  # names that were handed out and are not answered
        self._watch = watch_folder(self._in)
        self._waker = Waker()
        self._closed = False

    def wait(self, timeout: float | None) -> bool:
        """Waits until a file comes; returns whether there is one that was not handed out."""
        if not self._waiting():
            readable, _, _ = select.select([self._watch, self._waker.fileno()], [], [], timeout)
            self._waker.clear()
            if self._watch in readable:
                os.read(self._watch, 64 * 1024)
        return bool(self._waiting())

    def wake(self) -> None:
        """Ends a ``wait``; may be called from any thread."""
        self._waker.wake()

    def get_request(self) -> Request | None:
        """Returns the oldest request that was not handed out."""
        for file in self._waiting():
            try:
                with file.open("rb") as opened:
                    data = opened.read(self._limit + 1)
            except FileNotFoundError:  # the host has taken it back
                continue
            self._open.add(file.name)
            if len(data) > self._limit:
                return {"error": f"The request is larger than {self._limit} bytes", "id": file.name}
            return {"data": data, "id": file.name}
        return None

    def put_response(self, request: Request, response: Response) -> None:
        """Puts the answer, then takes the request away: a crash in between answers it again."""
        name, data = request["id"], response["data"]
        answer = data.encode() if isinstance(data, str) else data
        if len(answer) > self._limit:
            raise ResponseTooLargeError(self._limit)
        if not (self._in / name).exists():
            self._open.discard(name)
            raise ExchangeError(f"The host has taken the request {name!r} back")
        staged = self._out / f".{name}"
        with staged.open("wb") as file:
            file.write(answer)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(self._out / name)
        self.discard(request)

    def discard(self, request: Request) -> None:
        """Takes the request away."""
        (self._in / request["id"]).unlink(missing_ok=True)
        self._open.discard(request["id"])

    def close(self) -> None:
        """Ends the exchange; may be called again."""
        if not self._closed:
            self._closed = True
            os.close(self._watch)
            self._waker.close()

    def _waiting(self) -> list[Path]:
        found = []
        for file in self._in.iterdir():
            if not file.name.startswith(".") and file.name not in self._open:
                with suppress(FileNotFoundError):
                    found.append((file.stat().st_mtime_ns, file.name, file))
        return [file for _, _, file in sorted(found)]
