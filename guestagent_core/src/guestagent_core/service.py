"""The agent as a service: signals, the pid file, and what the service manager is told."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from .agent import Agent
from .errors import ConfigError

__all__ = ("pid_file", "serve")

_log = logging.getLogger(__name__)
_STUCK = 60.0  # seconds past its deadline after which a call counts as stuck


def serve(
    agent: Agent,
    reopen_log: Callable[[], object] = lambda: None,
    *,
    on_ready: Callable[[], object] = lambda: None,
    ignored: Iterable[int] = (),
) -> int:
    """Runs ``agent`` until it is told to stop, or until its last channel has failed; returns the exit status.

    The first SIGTERM or SIGINT finishes what is running; the second kills its programs and ends at once with status 1.
    SIGHUP calls ``reopen_log``. A service manager that listens (sd_notify(3)) is told READY, RELOADING and STOPPING,
    and is sent the watchdog's sign of life unless a call is stuck. Must be called in the main thread.

    :param on_ready: called once the channels are open.
    :param ignored: further signals that are to do nothing; the programs of commands do not inherit that.
    """
    watchdog = _watchdog_interval()
    ignored = frozenset(ignored)
    with _events(_SIGNALS | ignored) as (next_event, end):
        if not agent.start(on_end=end):
            _log.error("No channel is open, so the agent ends")
            agent.join()
            return 1
        on_ready()
        _notify("READY=1")
        stopping = False
        next_ping = time.monotonic()
        while (event := next_event(None if watchdog is None else max(0.0, next_ping - time.monotonic()))) is not _END:
            if watchdog is not None and time.monotonic() >= next_ping:
                _ping(agent)
                next_ping = time.monotonic() + watchdog
            if event is None:
                continue
            if event in ignored:
                _log.debug("Signal %d is ignored", event)
            elif event == signal.SIGHUP:
                _notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
                reopen_log()
                _log.info("SIGHUP: the log was reopened")
                _notify("READY=1")
            elif stopping:
                _log.error("%s again: the agent is ended at once", signal.Signals(event).name)
                agent.programs.end_all()
                logging.shutdown()
                os._exit(1)
            else:
                _log.info("%s: the agent stops", signal.Signals(event).name)
                stopping = True
                _notify("STOPPING=1")
                agent.stop()
        return 0 if agent.join() else 1


@contextmanager
def pid_file(path: Path) -> Iterator[None]:
    """Keeps our pid in ``path``, mode 0600; in the end removes it, unless it holds somebody else's by then.

    :raises ConfigError: it cannot be written.
    """
    ours = f"{os.getpid()}\n"
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        staged.touch(mode=0o600)
        staged.write_text(ours)
        staged.rename(path)
    except OSError as error:
        raise ConfigError(f"{path}: the pid file cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        try:
            if path.read_text() == ours:
                path.unlink()
        except OSError as error:
            _log.warning("%s: the pid file cannot be removed: %s", path, error.strerror)


# Signals

_END = 0  # no signal has this number
_SIGNALS = frozenset((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))


@contextmanager
def _events(signals: Iterable[int]) -> Iterator[tuple[Callable[[float | None], int | None], Callable[[], object]]]:
    """Gives a function that waits for the next signal, `_END` or None after a time, and one that causes `_END`.

    Waiting for the bytes that signals leave behind gives their handlers nothing to do that could get in the way of what
    they interrupt.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    with reader, writer, selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        handlers = {number: signal.signal(number, _ignore) for number in signals}
        previous = signal.set_wakeup_fd(writer.fileno())

        def next_event(timeout: float | None) -> int | None:
            return reader.recv(1)[0] if selector.select(timeout) else None

        try:
            yield next_event, lambda: writer.send(bytes([_END]))
        finally:
            signal.set_wakeup_fd(previous)
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Keeps the default action away; the byte on the wake-up descriptor says it all."""


# The service manager


def _watchdog_interval() -> float | None:
    """Returns the seconds between two signs of life, half of what the service manager waits; None: it does not."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 2_000_000 or None


def _ping(agent: Agent) -> None:
    stuck = agent.overdue(_STUCK)
    for call in stuck:
        _log.error("%s: %s (%s) does not end; the service manager is to restart us", call.channel, call.name, call.id)
    if not stuck:
        _notify("WATCHDOG=1")


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
        _log.warning("The service manager could not be told %s: %s", state.partition("=")[0], error)
