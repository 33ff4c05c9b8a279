"""Programs run for commands: in a session of their own, with a fixed environment, bounded in time and output."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from .errors import CommandError, CommandTimeoutError

if TYPE_CHECKING:
    from subprocess import CompletedProcess, Popen

__all__ = ("OUTPUT_LIMIT", "Programs")

OUTPUT_LIMIT = 64 * 1024
"""How many bytes of a program's standard output, and of its standard error, are kept."""

_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_CHUNK = 64 * 1024
_LONGEST_WAIT = 3600.0  # seconds; the system call takes no infinity
_log = logging.getLogger(__name__)


class Programs:
    """Runs programs, and knows which of them are running, so that all can be ended at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: set[int] = set()
        self._ended = False

    def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes = b"",
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] = "/",
    ) -> CompletedProcess[bytes]:
        """Runs ``argv`` to its end; see :meth:`guestagent_core.context.Context.run`."""
        import subprocess

        started = time.monotonic()
        if timeout is not None and timeout <= 0:
            raise CommandTimeoutError(f"No time was left to run {argv[0]}")
        # Holding the lock over the start means that end_all() misses no program.
        with self._lock:
            if self._ended:
                raise CommandError(f"{argv[0]} was not started: the agent is being ended")
            process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE if input else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env={**_ENVIRONMENT, **(env or {})},
                cwd=cwd,
            )
            self._groups.add(process.pid)
        ended = False
        try:
            deadline = None if timeout is None else started + timeout
            stdout, stderr = _communicate(process, input, deadline)
            ended = True
        except TimeoutError:
            raise CommandTimeoutError(f"{argv[0]} did not end within {timeout:.1f} s and was killed") from None
        finally:
            # Until it is waited for, nobody else can have its number, so that every kill hits the right group.
            with self._lock:
                self._groups.discard(process.pid)
                if not ended:
                    _kill_group(process.pid)
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    _close(stream)
        _log.debug("%s: exit status %d after %.3f s", argv[0], process.returncode, time.monotonic() - started)
        return subprocess.CompletedProcess(list(argv), process.returncode, stdout, stderr)

    def detach(self, argv: Sequence[str], *, service_manager: bool) -> None:
        """Starts ``argv`` so that it outlives this process; see :meth:`guestagent_core.context.Context.detach`."""
        if service_manager and Path("/run/systemd/system").is_dir():
            # The service manager ends everything in the agent's own control group together with the agent.
            # It takes $NAME for a variable of its own, but for the program's name.
            escaped = [argv[0], *(word.replace("$", "$$") for word in argv[1:])]
            starter = ["systemd-run", "--quiet", "--collect", "--no-block", "--", *escaped]
        else:
            found = 'command -v "$1" >/dev/null || { echo "not found" >&2; exit 127; }'
            starter = ["sh", "-c", found + '; "$@" </dev/null >/dev/null 2>&1 &', "sh", *argv]
        done = self.run(starter, timeout=10)
        if done.returncode != 0:
            reason = done.stderr.decode(errors="replace").strip()
            raise CommandError(f"{argv[0]} could not be started: {reason}")

    def end_all(self) -> None:
        """Kills every running program with all its children; none can be started after that."""
        with self._lock:
            self._ended = True
            for group in self._groups:
                _kill_group(group)


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _close(stream: IO[bytes]) -> None:
    with suppress(BrokenPipeError):  # the program ended without reading all its input
        stream.close()


def _communicate(process: Popen[bytes], input: bytes, deadline: float | None) -> tuple[bytes, bytes]:
    """Feeds and drains ``process`` until it ends, and leaves it unreaped; raises TimeoutError at ``deadline``.

    It waits for the program, not for the end of its output: a daemon that the program leaves behind may hold the pipes
    open for ever.
    """
    assert process.stdout is not None
    assert process.stderr is not None
    kept: dict[IO[bytes], bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector, _exit_descriptor(process) as exit_descriptor:
        selector.register(exit_descriptor, selectors.EVENT_READ)
        for stream in kept:
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
        unsent = memoryview(input)
        ended = False
        while not ended:
            timeout = None if deadline is None else min(deadline - time.monotonic(), _LONGEST_WAIT)
            if timeout is not None and timeout <= 0:
                raise TimeoutError
            for key, _ in selector.select(timeout):
                if key.fileobj == exit_descriptor:
                    ended = True
                elif key.fileobj is process.stdin:
                    unsent = unsent[_feed(process.stdin, unsent) :]
                    if not unsent:
                        selector.unregister(process.stdin)
                        _close(process.stdin)
                else:
                    stream = process.stdout if key.fileobj is process.stdout else process.stderr
                    if _drain(stream, kept[stream]) == 0:
                        selector.unregister(stream)
    for stream, output in kept.items():
        # No further than what is kept: a daemon that writes on and on would never let this end.
        while len(output) < OUTPUT_LIMIT and _drain(stream, output):
            pass
    return bytes(kept[process.stdout]), bytes(kept[process.stderr])


@contextmanager
def _exit_descriptor(process: Popen[bytes]) -> Iterator[int]:
    """A descriptor that becomes readable when ``process`` has ended."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # not Linux, or older than Linux 5.3
        pass
    else:
        try:
            yield descriptor
        finally:
            os.close(descriptor)
        return
    # There a thread waits, and leaves the program unreaped.
    descriptor, writer = os.pipe()

    def wait() -> None:
        with suppress(ChildProcessError):  # reaped by a program that embeds the agent
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        os.close(writer)

    waiter = threading.Thread(target=wait, name=f"wait-{process.pid}")
    waiter.start()
    try:
        yield descriptor
    except BaseException:
        _kill_group(process.pid)  # else the thread would wait on
        raise
    finally:
        waiter.join()
        os.close(descriptor)


def _feed(stream: IO[bytes], data: memoryview) -> int:
    try:
        return os.write(stream.fileno(), data[:_CHUNK])
    except BlockingIOError:
        return 0
    except BrokenPipeError:  # the program does not want the rest
        return len(data)


def _drain(stream: IO[bytes], output: bytearray) -> int | None:
    """Reads once; returns how many bytes there were, 0 at the end of the stream, None if there is nothing at
    present.
    """
    try:
        chunk = os.read(stream.fileno(), _CHUNK)
    except BlockingIOError:
        return None
    output += chunk[: OUTPUT_LIMIT - len(output)]
    return len(chunk)
