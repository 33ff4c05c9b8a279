"""The agent's log: a file that only its owner reads, and lines for people or for programs."""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path

__all__ = ("JsonFormatter", "LogFile", "LogStream", "text_formatter")


class LogStream(logging.StreamHandler):  # type: ignore[type-arg]  # it has none before Python 3.11
    """Writes to standard error.

    A line that cannot be written goes to standard error in any case, and alone. Logging's own way shows a traceback,
    and with it what the exception that is just being handled says: that of a secret command may hold the secret.
    """

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Says what could not be written, and why."""
        error = sys.exc_info()[1]
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        try:
            line = self.format(record)
        except Exception:
            line = f"{record.pathname}, line {record.lineno}"
        with suppress(Exception):
            sys.stderr.write(f"The log cannot be written: {reason}: {line}\n")


class LogFile(LogStream, logging.FileHandler):
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
                with suppress(OSError):  # what a full disk did not take is lost
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
