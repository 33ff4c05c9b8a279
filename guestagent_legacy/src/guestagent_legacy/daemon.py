"""The life of the daemon: the log, the fork, the pid file, the signals."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from guestagent_core import ConfigError, __version__
from guestagent_core.logs import LogFile, LogStream, text_formatter
from guestagent_core.service import pid_file, serve

from .session import LegacyAgent

__all__ = ("Fork", "open_log", "open_standard_streams", "run_agent")

_log = logging.getLogger(__name__)

# Those that end what they hit, that stop nothing a daemon does, or that others rely on.
_NOT_SWALLOWED = {
    "SIGKILL", "SIGSTOP", "SIGTERM", "SIGINT", "SIGHUP", "SIGCHLD", "SIGCONT", "SIGPIPE", "SIGWINCH", "SIGURG",
    "SIGXFSZ", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS",
}  # fmt: skip


def open_standard_streams() -> None:
    """Has /dev/null in the place of standard streams that a start script has closed: the log, or the pipe between
    parent and daemon, would get their numbers, and old files write to them.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # each gets the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - it stays open


def open_log(file: Path | None, level: int) -> LogFile | None:
    """Sends the log to ``file``, with mode 0600, or to standard error; returns the file's handler.

    :raises OSError: the file cannot be opened.
    """
    opened = None if file is None else LogFile(file)
    handler = opened or LogStream()
    handler.setFormatter(text_formatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    return opened


class Fork:
    """A child that becomes the daemon, and a parent that ends when the child is ready, with its failure otherwise."""

    def __init__(self) -> None:
        reader, writer = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child:
            os.close(writer)
            self._end_parent(child, reader)
        os.close(reader)
        self._writer = writer
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(null, descriptor)
        if null > 2:
            os.close(null)

    def ready(self) -> None:
        """Lets the parent end with success."""
        os.write(self._writer, b"\0")
        os.close(self._writer)

    @staticmethod
    def _end_parent(child: int, reader: int) -> NoReturn:
        if os.read(reader, 1):
            os._exit(0)
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1)


def run_agent(agent: LegacyAgent, file: Path | None, fork: Fork | None, log: LogFile | None) -> int:
    """Runs ``agent`` until it is told to stop; returns the exit status.

    :param file: the pid file; that it cannot be written is a warning.
    :param log: what SIGHUP reopens.
    """
    with ExitStack() as stack:

        def on_ready() -> None:
            if file is not None:
                try:
                    stack.enter_context(pid_file(file))()
                except ConfigError as error:
                    _log.warning("%s", error)
            _log.info("Agent %s started", __version__)
            if fork is not None:
                fork.ready()

        reopen = log.reopen if log is not None else lambda: None
        return serve(agent, reopen, on_ready=on_ready, ignored=_swallowed())


def _swallowed() -> set[int]:
    kept = {number for name in _NOT_SWALLOWED if (number := getattr(signal, name, None)) is not None}
    return {int(number) for number in signal.valid_signals()} - kept
