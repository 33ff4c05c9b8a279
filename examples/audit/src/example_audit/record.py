"""The audit file."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from guestagent_core import Call

__all__ = ("Record",)


class Record:
    """Adds lines to a file that only its owner can read. Used by several threads at once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._descriptor = -1

    def open(self) -> None:
        """Opens the file, and makes it and its folder if needed."""
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._file, flags, 0o600)

    def close(self) -> None:
        """Closes the file; may be called again."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def add(self, what: str, call: Call, **more: Any) -> None:
        """Adds what happened to ``call``, on the disk before this returns. The argument is left out if it is secret.

        :raises OSError: it could not be written.
        :raises ValueError: the file is not open.
        """
        shown = {} if call.spec.secret else {"value": _shown(call.value)}
        entry = {
            "time": round(time.time(), 3),
            "what": what,
            "command": call.name,
            "channel": call.channel,
            "id": call.id,
            "peer": str(call.peer),
            **shown,
            **more,
        }
        line = json.dumps(entry).encode() + b"\n"
        with self._lock:
            if self._descriptor < 0:
                raise ValueError(f"{self._file} is not open")
            os.write(self._descriptor, line)  # one write: lines of several agents do not mix
            os.fsync(self._descriptor)


def _shown(value: Any) -> Any:
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return "<not JSON>"
    return value if len(text) <= 1000 else f"<{len(text)} characters>"
