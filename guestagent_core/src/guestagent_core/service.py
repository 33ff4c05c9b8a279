"""The agent as a service: signals, the pid file, and what the service manager is told."""

from __future__ import annotations

import errno
import logging
import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from .agent import Agent
from .deadlines import DeadlineWatch
from .errors import ConfigError

__all__ = ("pid_file", "serve")

_log = logging.getLogger(__name__)
_STUCK = 60.0  # seconds past its deadline after which a call counts as stuck
_LONGEST_WAIT = 3600.0  # seconds; the system call takes no infinity, which a command may have for its time


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
    watched = _SIGNALS | ignored
    with _events(watched) as (next_event, cause):
        deadlines = DeadlineWatch(
            agent.running,
            lambda: cause(_LOOK),
            _STUCK,
            "restart the agent to end it" if watchdog is None else "the service manager is to restart us",
        )
        if not agent.start(on_end=lambda: cause(_END), on_begin=deadlines.began):
            _log.error("No channel is open, so the agent ends")
            agent.join()
            return 1
        on_ready()
        _notify("READY=1")
        stopping = False
        next_ping = None if watchdog is None else time.monotonic()
        while (event := next_event(_until(next_ping, deadlines.next_look))) is not _END:
            if watchdog is not None and next_ping is not None and time.monotonic() >= next_ping:
                if not agent.overdue(_STUCK):
                    _notify("WATCHDOG=1")
                next_ping = time.monotonic() + watchdog
            if deadlines.next_look is not None and time.monotonic() >= deadlines.next_look:
                deadlines.look()
            if event is None or event not in watched:  # such as a signal that a plugin handles
                continue
            if event in ignored:
                _log.debug("Signal %d is ignored", event)
            elif event == signal.SIGHUP:
                _notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
                reopen_log()
                _log.info("SIGHUP: the log was reopened")
                _notify("READY=1")
            elif stopping:
                _end_at_once(agent, event)
            else:
                _log.info("%s: the agent stops", signal.Signals(event).name)
                stopping = True
                _notify("STOPPING=1")
                agent.stop()
        # What plugins do in the end may hang, and this thread with it; another one hears the signals meanwhile.
        hearing = threading.Thread(target=_hear_out, args=(agent, next_event, stopping), name="signals", daemon=True)
        hearing.start()
        try:
            return 0 if agent.join() else 1
        finally:
            cause(_END)
            hearing.join()


def _hear_out(agent: Agent, next_event: Callable[[float | None], int | None], stopping: bool) -> None:
    """Ends the process at the second signal that is to end it, until `_END` comes."""
    while (event := next_event(None)) is not _END:
        if event in (signal.SIGTERM, signal.SIGINT):
            if stopping:
                _end_at_once(agent, event)
            stopping = True


def _end_at_once(agent: Agent, number: int) -> NoReturn:
    _log.error("%s again: the agent is ended at once", signal.Signals(number).name)
    agent.programs.end_all()
    logging.shutdown()
    os._exit(1)


@contextmanager
def pid_file(path: Path) -> Iterator[Callable[[], None]]:
    """Gives a function that puts our pid into ``path``, mode 0600; in the end removes it, unless it holds somebody
    else's by then.

    Whoever reads it may send signals from then on, and start scripts take it for the end of the start. So it is written
    when the agent is ready; whether it can be is tried before.

    :raises ConfigError: it cannot.
    """
    ours = f"{os.getpid()}\n"
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    is_written = False

    def stage() -> None:
        if path.exists() and not path.is_file():  # such as /dev/null, in whose place others would find a file
            raise OSError(errno.EINVAL, "it is there, and no file")
        staged.touch(mode=0o600)
        staged.write_text(ours)

    def write() -> None:
        nonlocal is_written
        try:
            stage()
            staged.rename(path)
            is_written = True
        except OSError as error:
            with suppress(OSError):
                staged.unlink()
            _log.warning("%s: the pid file cannot be written: %s", path, error.strerror)

    try:
        stage()
        staged.unlink()
    except OSError as error:
        with suppress(OSError):
            staged.unlink()
        raise ConfigError(f"{path}: the pid file cannot be written: {error.strerror}") from error
    try:
        yield write
    finally:
        try:
            if is_written and path.read_text() == ours:
                path.unlink()
        except OSError as error:
            _log.warning("%s: the pid file cannot be removed: %s", path, error.strerror)


# Signals

_END, _LOOK = 0, 255  # no signal has these numbers
_SIGNALS = frozenset((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))


@contextmanager
def _events(signals: Iterable[int]) -> Iterator[tuple[Callable[[float | None], int | None], Callable[[int], object]]]:
    """Gives a function that waits for the next signal, `_END`, `_LOOK` or None after a time, and one that causes the
    two that are no signals.

    Waiting for the bytes that signals leave behind gives their handlers nothing to do that could get in the way of what
    they interrupt.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    with reader, writer, selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        handlers = {number: signal.signal(number, _ignore) for number in signals}
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:  # every program would seem to end with status 0
            handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        previous = signal.set_wakeup_fd(writer.fileno())
        # Who starts us may block signals, as the original agent does for the installers of its updates: nothing but
        # SIGKILL would end us then, nor what commands start. Threads that start after this have the mask too.
        blocked = signal.pthread_sigmask(signal.SIG_SETMASK, ())

        def next_event(timeout: float | None) -> int | None:
            return reader.recv(1)[0] if selector.select(timeout) else None

        def cause(event: int) -> None:
            with suppress(BlockingIOError):  # there is more than enough to wake up for
                writer.send(bytes([event]))

        try:
            yield next_event, cause
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
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


def _until(*moments: float | None) -> float | None:
    """Returns the seconds until the first of ``moments``, or some before it; None: there is none."""
    times = [moment for moment in moments if moment is not None]
    return min(max(0.0, min(times) - time.monotonic()), _LONGEST_WAIT) if times else None


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
