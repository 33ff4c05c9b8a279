"""The agent as a process: signals, and the wait for the end."""

from __future__ import annotations

import logging
import os
import signal
import socket
from types import FrameType

from .agent import Agent

__all__ = ("serve",)

_log = logging.getLogger(__name__)


def serve(agent: Agent) -> int:
    """Runs ``agent`` until SIGTERM or SIGINT, or until its last channel has failed; returns the exit status.

    The first signal finishes the running command; the second kills its programs and ends at once with status 1.
    Must be called in the main thread.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    handlers = {number: signal.signal(number, _ignore) for number in (signal.SIGTERM, signal.SIGINT)}
    # Waiting for the signals' bytes leaves the handlers nothing to do that could get in the way of what they interrupt.
    previous = signal.set_wakeup_fd(writer)
    try:
        if not agent.start(on_end=lambda: os.write(writer, b"\0")):
            _log.error("No channel is open, so the agent ends")
            agent.join()
            return 1
        _notify("READY=1")
        stopping = False
        while (event := os.read(reader, 1)) != b"\0":
            if stopping:
                _log.error("The agent is ended at once")
                agent.programs.end_all()
                os._exit(1)
            _log.info("%s: the agent stops", signal.Signals(event[0]).name)
            stopping = True
            _notify("STOPPING=1")
            agent.stop()
        return 0 if agent.join() else 1
    finally:
        signal.set_wakeup_fd(previous)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Keeps the default action away; the byte on the wake-up descriptor says it all."""


def _notify(state: str) -> None:
    """Tells the service manager, by the protocol of sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.connect(address)
            manager.send(state.encode())
    except OSError as error:
        _log.warning("The service manager could not be told %s: %s", state, error)
