"""Programs run for commands: their environment, time and output are bounded, and nothing of them leaks."""

from __future__ import annotations

import errno
import itertools
import logging
import math
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from guestagent_core import programs
from guestagent_core.errors import CommandError, CommandTimeoutError
from guestagent_core.programs import OUTPUT_LIMIT, Programs

from .waiting import until

PATIENCE = 60.0  # seconds; how long anything may take before it counts as hanging


def _old_kernel(pid: int, flags: int = 0) -> int:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


@pytest.fixture(autouse=True, params=["pidfd", "no pidfd", "old kernel"])
def way_of_waiting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here holds for each way to learn that a program has ended."""
    if request.param == "no pidfd":
        monkeypatch.delattr("os.pidfd_open", raising=False)
    elif request.param == "old kernel":
        monkeypatch.setattr("os.pidfd_open", _old_kernel, raising=False)
    elif not hasattr(os, "pidfd_open"):
        pytest.skip("this Python has no os.pidfd_open")


class Lifeline:
    """A named pipe that programs hold open: what they write can be read, and its end is theirs."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = str(path)
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def line(self) -> str:
        """What has been written up to the next line break, or to the end."""
        line = b""
        while (byte := self._read(1)) not in (b"\n", b""):
            line += byte
        return line.decode()

    def wait_for_end(self) -> None:
        """Returns once every process that held the pipe is gone."""
        while self._read(1):
            pass

    def was_held(self) -> bool:
        return bool(select.select([self._reader], [], [], 0)[0])

    def close(self) -> None:
        os.close(self._reader)

    def _read(self, size: int) -> bytes:
        assert select.select([self._reader], [], [], PATIENCE)[0], "nothing came in time"
        return os.read(self._reader, size)


@pytest.fixture
def lifeline(tmp_path: Path) -> Iterator[Callable[[], Lifeline]]:
    made: list[Lifeline] = []

    def make() -> Lifeline:
        made.append(Lifeline(tmp_path / f"lifeline{len(made)}"))
        return made[-1]

    yield make
    for one in made:
        one.close()


def shell(script: str, *arguments: object) -> list[str]:
    return ["sh", "-c", script, "sh", *map(str, arguments)]


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"  # who adopts orphans may be slow to reap them


def test_a_program_runs_in_a_session_of_its_own() -> None:
    script = "import os; print(os.getpid(), os.getpgrp(), os.getsid(0))"
    pid, group, session = Programs().run([sys.executable, "-c", script], timeout=PATIENCE).stdout.split()
    assert pid == group == session
    assert int(session) != os.getsid(0)


def test_the_environment_is_fixed_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_AGENT", "1")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    done = Programs().run(["env"], timeout=PATIENCE)
    assert sorted(done.stdout.decode().splitlines()) == ["LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]


def test_the_environment_can_be_added_to() -> None:
    done = Programs().run(["env"], env={"LC_ALL": "C.UTF-8", "EXTRA": "1"}, timeout=PATIENCE)
    assert {"LC_ALL=C.UTF-8", "EXTRA=1"} < set(done.stdout.decode().splitlines())


def test_a_program_is_found_by_the_fixed_path_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "only-on-the-callers-path"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(FileNotFoundError, match="only-on-the-callers-path"):
        Programs().run([program.name])
    assert Programs().run([str(program)], timeout=PATIENCE).returncode == 0


def test_the_working_folder_is_the_root_unless_it_is_given(tmp_path: Path) -> None:
    assert Programs().run(["pwd"], timeout=PATIENCE).stdout == b"/\n"
    assert Programs().run(["pwd"], cwd=tmp_path, timeout=PATIENCE).stdout == f"{tmp_path}\n".encode()


@pytest.mark.parametrize("status", [0, 1, 127])
def test_the_exit_status_and_both_outputs_are_returned(status: int) -> None:
    argv = shell('echo out; echo err >&2; exit "$1"', status)
    done = Programs().run(argv, timeout=PATIENCE)
    assert (done.args, done.returncode, done.stdout, done.stderr) == (argv, status, b"out\n", b"err\n")
    assert Programs().run(shell("kill -TERM $$"), timeout=PATIENCE).returncode == -signal.SIGTERM


def test_the_first_part_of_much_output_is_kept_and_the_rest_drained() -> None:
    size = OUTPUT_LIMIT * 5
    script = 'printf start; head -c "$1" /dev/zero; printf start >&2; head -c "$1" /dev/zero >&2; exit 3'
    done = Programs().run(shell(script, size), timeout=PATIENCE)
    assert done.returncode == 3
    for output in (done.stdout, done.stderr):
        assert len(output) == OUTPUT_LIMIT
        assert output.startswith(b"start\0")


def test_input_is_fed_whole_beside_the_output_that_it_makes() -> None:
    given = b"0123456789abcde\n" * 65536
    done = Programs().run(shell("tee /dev/stderr | wc -c"), input=given, timeout=PATIENCE)
    assert done.stdout.split() == [str(len(given)).encode()]
    assert done.stderr == given[:OUTPUT_LIMIT]
    assert Programs().run(["cat"], timeout=PATIENCE).stdout == b""


@pytest.mark.parametrize("script", ["exit 0", "exec <&-; echo on", "head -c 1 >/dev/null; echo on"])
def test_input_that_the_program_does_not_want_is_no_error(script: str) -> None:
    done = Programs().run(shell(script), input=b"x" * 10_000_000, timeout=PATIENCE)
    assert done.returncode == 0
    assert done.stderr == b""


def test_the_whole_group_is_killed_at_the_deadline(lifeline: Callable[[], Lifeline]) -> None:
    script = 'exec 9>"$1"; trap "" TERM HUP; (sleep 600 & echo $! >&9; wait) & wait; sleep 600'
    # Doubled until the programs had the time to start, which they may need on a machine under load.
    for timeout in (0.5, 2.0, 8.0, 30.0):
        life = lifeline()
        with pytest.raises(CommandTimeoutError, match=rf"^sh did not end within {timeout} s and was killed$"):
            Programs().run(shell(script, life.path), timeout=timeout)
        if life.was_held() and (grandchild := life.line()):
            break
    life.wait_for_end()
    until(lambda: not is_running(int(grandchild)))


def test_a_program_is_not_started_without_time(tmp_path: Path) -> None:
    for timeout in (0.0, -1.0):
        with pytest.raises(CommandTimeoutError, match="No time was left to run touch"):
            Programs().run(["touch", str(tmp_path / "trace")], timeout=timeout)
    assert not (tmp_path / "trace").exists()


def test_the_time_may_be_unlimited() -> None:
    for timeout in (None, math.inf, 1e12):
        assert Programs().run(["true"], timeout=timeout).returncode == 0


def test_a_daemon_that_holds_the_output_is_neither_waited_for_nor_killed(
    tmp_path: Path, lifeline: Callable[[], Lifeline]
) -> None:
    life = lifeline()
    go = str(tmp_path / "go")
    os.mkfifo(go)
    order = os.open(go, os.O_RDWR | os.O_NONBLOCK)
    try:
        # It inherits both pipes, and says something only when told to, which is after run() has returned.
        script = 'exec 9>"$1"; (read word <"$2"; echo "$word" >&9) & echo begun'
        done = Programs().run(shell(script, life.path, go), timeout=PATIENCE)
        assert (done.returncode, done.stdout) == (0, b"begun\n")
        os.write(order, b"alive\n")
        assert life.line() == "alive"
        life.wait_for_end()
    finally:
        os.close(order)


def test_a_daemon_that_always_has_more_to_say_is_not_listened_to_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = itertools.count(1)

    def endless(stream: IO[bytes], output: bytearray) -> int:
        assert next(reads) < 1_000_000
        output += b"y\n" * 1024
        return 2048

    monkeypatch.setattr(programs, "_drain", endless)
    assert len(Programs().run(["true"], timeout=PATIENCE).stdout) >= OUTPUT_LIMIT


def test_what_the_program_closes_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the system a pipe that ended is always ready: whoever goes on asking never sleeps."""
    used: list[int] = []
    read, write = os.read, os.write

    def counting_read(descriptor: int, size: int) -> bytes:
        used.append(descriptor)
        return read(descriptor, size)

    def counting_write(descriptor: int, data: bytes) -> int:
        used.append(descriptor)
        return write(descriptor, data)

    with monkeypatch.context() as patched:
        patched.setattr(os, "read", counting_read)
        patched.setattr(os, "write", counting_write)
        Programs().run(shell("exec <&- >&- 2>&-; sleep 0.3"), input=b"x" * 10_000_000, timeout=PATIENCE)
    assert 3 <= len(used) < 30


def test_the_log_names_the_program_and_neither_arguments_nor_input(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    Programs().run(shell("cat; exit 3", "hunter2"), input=b"hunter2", timeout=PATIENCE)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "guestagent_core.programs"]
    assert line.startswith("sh: exit status 3 after ")
    assert "hunter2" not in caplog.text


def test_end_all_kills_what_runs_and_refuses_what_comes(lifeline: Callable[[], Lifeline], tmp_path: Path) -> None:
    running = Programs()
    lives = [lifeline() for _ in range(3)]
    statuses: list[int] = []

    def run(life: Lifeline) -> None:
        script = 'exec 9>"$1"; sleep 600 & echo $! >&9; wait'
        statuses.append(running.run(shell(script, life.path), timeout=PATIENCE).returncode)

    threads = [threading.Thread(target=run, args=(life,)) for life in lives]
    for thread in threads:
        thread.start()
    children = [int(life.line()) for life in lives]
    running.end_all()
    for thread in threads:
        thread.join(PATIENCE)
    for life in lives:
        life.wait_for_end()
    assert statuses == [-signal.SIGKILL] * 3
    until(lambda: not any(map(is_running, children)))
    for start in (running.run, lambda argv: running.detach(argv, service_manager=False)):
        with pytest.raises(CommandError, match="was not started: the agent is being ended"):
            start(["touch", str(tmp_path / "trace")])
    assert not (tmp_path / "trace").exists()
    running.end_all()


def test_neither_descriptors_nor_threads_leak() -> None:
    def count() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    runner = Programs()
    runner.run(["true"], timeout=PATIENCE)  # what the first run imports stays
    before = count()
    runner.run(["true"], timeout=PATIENCE)
    runner.run(["cat"], input=b"x" * 200_000, timeout=PATIENCE)
    runner.run(["true"], input=b"x" * 200_000, timeout=PATIENCE)
    with pytest.raises(CommandTimeoutError):
        runner.run(["cat", "/dev/zero"], input=b"x" * 200_000, timeout=0.1)
    with pytest.raises(FileNotFoundError):
        runner.run(["no-such-program"], input=b"x")
    assert count() == before
