"""The agent's log: a file that only its owner reads, and lines for people or for programs."""

from __future__ import annotations

import json
import logging
import os
import stat
from io import TextIOWrapper
from pathlib import Path

__all__ = ("JsonFormatter", "LogFile", "text_formatter")


class LogFile(logging.FileHandler):
    """Appends to a file that is created with mode 0600, or given it; a device or a queue is left as it is.

    :raises OSError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")

    def reopen(self) -> None:
        """Goes on in a new file if the old one was renamed; keeps the old one if that is not to be had."""
        self.acquire()
        try:
            old, self.stream = self.stream, self._open()
            if old is not None:
                old.close()
        except OSError as error:
            logging.getLogger(__name__).error("The log goes on in the old file: %s", error)
        finally:
            self.release()

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):  # nobody else could use /dev/null any more
            os.fchmod(descriptor, 0o600)
        return open(descriptor, "a", encoding=self.encoding, errors=self.errors)


def text_formatter() -> logging.Formatter:
    """Returns the format for people: time, level, message."""
    return logging.Formatter("%(asctime)s [%(levelname)s] %(message)s")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (seconds since 1970), level, logger, message; of a call its fields; a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        entry = {
            "time": round(record.created, 6),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "call", {}),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)
