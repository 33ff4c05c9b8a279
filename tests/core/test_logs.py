"""The log: what it cannot take is said, and nothing else."""

from __future__ import annotations

import errno
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest

from guestagent_core.logs import LogFile, LogStream


class FullDisk:
    """A stream to it."""

    def write(self, text: str) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def flush(self) -> None:
        pass


def end(log: logging.Handler) -> None:
    with suppress(OSError):  # as logging.shutdown() does
        log.close()


def log_while_handling(log: logging.Handler) -> None:
    """Does what a channel does when a secret command fails."""
    try:
        raise ValueError("secret")
    except ValueError:
        log.handle(logging.makeLogRecord({"msg": "password: %s", "args": (500,)}))


def test_a_line_that_a_full_disk_does_not_take_is_said_without_the_error_that_is_handled(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = LogFile(Path("/dev/full"))
    log_while_handling(log)
    end(log)
    assert capsys.readouterr().err == "The log cannot be written: No space left on device: password: 500\n"


def test_the_same_holds_where_there_is_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    log_while_handling(LogStream(FullDisk()))
    assert capsys.readouterr().err == "The log cannot be written: No space left on device: password: 500\n"


def test_a_line_that_is_wrong_is_said_by_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = LogFile(tmp_path / "log")
    log.handle(logging.makeLogRecord({"msg": "%d", "args": ("secret",), "pathname": "pack.py", "lineno": 7}))
    end(log)
    assert capsys.readouterr().err == "The log cannot be written: TypeError: pack.py, line 7\n"


def test_a_log_goes_on_in_a_new_file_after_the_old_one_was_full_and_says_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    log = LogFile(path)
    log.handle(logging.makeLogRecord({"msg": "lost"}))
    path.unlink()
    log.reopen()
    log.handle(logging.makeLogRecord({"msg": "kept"}))
    end(log)
    assert path.read_text() == "kept\n"
    assert caplog.text == ""
