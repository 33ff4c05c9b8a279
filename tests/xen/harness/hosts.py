"""The host's side of the tests: the xenstore-* programs of the distribution, and nothing of this project."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ("Host", "Watch")

_MOST_ARGUMENTS = 1000  # of one program, far below what a kernel takes
_PATIENCE = 30.0  # seconds


class Host:
    """Domain 0 of one daemon.

    :param socket: where the daemon listens.
    :param timeout: seconds that each program may take.
    """

    def __init__(self, socket: Path, timeout: float = 60.0) -> None:
        self.environment = {**os.environ, "XENSTORED_PATH": str(socket)}
        self._timeout = timeout

    def write(self, nodes: Mapping[str, bytes]) -> None:
        """Writes values, all in one transaction of one xenstore-write (more than a thousand: several)."""
        words = [word for path, value in nodes.items() for word in (path.encode(), value)]
        for start in range(0, len(words), 2 * _MOST_ARGUMENTS):
            self._run("xenstore-write", *words[start : start + 2 * _MOST_ARGUMENTS])

    def read(self, path: str) -> bytes | None:
        """Returns the value at ``path``, None if there is none."""
        done = self._run("xenstore-read", path, check=False)
        return done.stdout[:-1] if done.returncode == 0 else None

    def read_all(self, paths: Iterable[str]) -> list[bytes]:
        """Returns the values at ``paths``, none of which may be missing or have several lines."""
        words = list(paths)
        values: list[bytes] = []
        for start in range(0, len(words), _MOST_ARGUMENTS):
            part = words[start : start + _MOST_ARGUMENTS]
            lines = self._run("xenstore-read", *part).stdout.split(b"\n")[:-1]
            assert len(lines) == len(part), "a value has several lines"
            values += lines
        return values

    def list(self, path: str) -> list[str]:
        """Returns the names below ``path``, none if it is not there."""
        done = self._run("xenstore-list", path, check=False)
        if done.returncode and self.read(path) is not None:
            raise OSError(done.stderr.decode().strip())
        return done.stdout.decode().split()

    def remove(self, *paths: str) -> None:
        """Removes nodes that are there, and what is below them."""
        for start in range(0, len(paths), _MOST_ARGUMENTS):
            self._run("xenstore-rm", *paths[start : start + _MOST_ARGUMENTS])

    def give(self, path: str, *permissions: str) -> None:
        """Sets who may do what: ``n7`` is domain 7's, ``r7`` may be read by it."""
        self._run("xenstore-chmod", path, *permissions)

    def watch(self, path: str) -> Watch:
        """Returns a watch that is set already; it ends with its ``with`` block."""
        return Watch(self.environment, path)

    def _run(self, *words: str | bytes, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            list(words), env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=self._timeout
        )
        if check and done.returncode:
            command = " ".join(os.fsdecode(word) for word in words[:3])
            raise OSError(f"{command}: exit status {done.returncode}: {done.stderr.decode(errors='replace').strip()}")
        return done


class Watch:
    """A xenstore-watch that runs."""

    def __init__(self, environment: Mapping[str, str], path: str) -> None:
        self._process = subprocess.Popen(
            ["xenstore-watch", path], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout
        os.set_blocking(self._output.fileno(), False)
        self._unread = b""
        if not self.changed(_PATIENCE):  # the first event says that it is set
            self.__exit__()
            raise OSError(f"xenstore-watch {path} sees nothing")

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._output.close()

    def changed(self, timeout: float) -> list[str]:
        """Waits until something changes and returns the paths that did; none if nothing has, or the daemon is gone."""
        if not select.select([self._output], [], [], timeout)[0]:
            return []
        data = self._unread + (os.read(self._output.fileno(), 1 << 20) or b"")
        whole, _, self._unread = data.rpartition(b"\n")
        return whole.decode().split()
