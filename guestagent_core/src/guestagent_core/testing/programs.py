"""Programs that are recorded instead of being run."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guestagent_core.errors import CommandTimeoutError
from guestagent_core.programs import Programs

if TYPE_CHECKING:
    from subprocess import CompletedProcess

__all__ = ("ProgramRun", "RecordedPrograms")


@dataclass(frozen=True)
class ProgramRun:
    """One program that a command wanted to have run."""

    argv: tuple[str, ...]
    input: bytes = b""
    timeout: float | None = None
    env: Mapping[str, str] | None = None
    cwd: str = "/"
    detached: bool = False
    """Whether it was to outlive the agent."""


@dataclass(frozen=True)
class _Reply:
    stdout: bytes
    stderr: bytes
    returncode: int
    raises: BaseException | None


class RecordedPrograms(Programs):
    """Runs nothing: keeps what was to be run, and answers what the test has said.

    A program of which the test has said nothing succeeds without output.
    """

    def __init__(self) -> None:
        super().__init__()
        self._replies: list[tuple[tuple[str, ...], _Reply]] = []
        self._recording = threading.Lock()
        #: What was to be run, in order.
        self.runs: list[ProgramRun] = []

    @property
    def argvs(self) -> list[tuple[str, ...]]:
        """What was to be run, in order: programs with their arguments."""
        return [run.argv for run in self.runs]

    def reply(self, *argv: str, stdout: bytes = b"", stderr: bytes = b"", returncode: int = 0) -> None:
        """Has programs whose command line begins with ``argv`` end like this; what was said last comes first."""
        self._replies.insert(0, (argv, _Reply(stdout, stderr, returncode, None)))

    def hang(self, *argv: str) -> None:
        """Has programs whose command line begins with ``argv`` not end within their time."""
        error = CommandTimeoutError(f"{argv[0]} did not end within its time and was killed")
        self._replies.insert(0, (argv, _Reply(b"", b"", 0, error)))

    def lack(self, program: str) -> None:
        """Has no such program."""
        self._replies.insert(0, ((program,), _Reply(b"", b"", 0, FileNotFoundError(2, "No such file", program))))

    def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes = b"",
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] = "/",
    ) -> CompletedProcess[bytes]:
        """Records the program and returns what the test has said of it."""
        import subprocess

        reply = self._record(ProgramRun(tuple(argv), input, timeout, env, os.fspath(cwd)))
        return subprocess.CompletedProcess(list(argv), reply.returncode, reply.stdout, reply.stderr)

    def detach(self, argv: Sequence[str], *, service_manager: bool) -> None:
        """Records the program."""
        self._record(ProgramRun(tuple(argv), detached=True))

    def _record(self, run: ProgramRun) -> _Reply:
        with self._recording:
            self.runs.append(run)
        for begins, reply in self._replies:
            if run.argv[: len(begins)] == begins:
                if reply.raises is not None:
                    raise reply.raises
                return reply
        return _Reply(b"", b"", 0, None)
