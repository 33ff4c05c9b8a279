"""Too much of everything: memory stays bounded, others are served, and it goes on afterwards without a restart."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest
from tests.pressure.harness import PressedAgent, request

PATIENCE = 60.0  # seconds
MANY = 10_000  # connections
LIMITED = """
import os, resource, sys
resource.setrlimit(getattr(resource, sys.argv[1]), (int(sys.argv[2]), resource.RLIM_INFINITY))
os.execv(sys.argv[3], sys.argv[3:])
"""


def limited(what: str, limit: int) -> list[str]:
    """Returns the beginning of a command line that runs the rest with a limit."""
    return [sys.executable, "-c", LIMITED.replace("resource.RLIM_INFINITY", str(limit)), what, str(limit)]


def received(connection: socket.socket, lines: int) -> bytes:
    """Reads until so many answers are there."""
    data = b""
    while data.count(b"\n") < lines:
        more = connection.recv(65536)
        assert more, "the agent hung up"
        data += more
    return data


# Clients


@pytest.mark.parametrize("name", ["version", "note"])
def test_a_flood_from_a_client_that_never_reads_is_held_back(agent: PressedAgent, name: str) -> None:
    agent.ask("note", "first")
    before = agent.memory
    with closing(agent.connected()) as flooding:
        flooding.setblocking(False)
        sent = 0
        until = time.monotonic() + 3
        while time.monotonic() < until:
            try:
                sent += flooding.send((request(name, "x" * 1000) + b"\n") * 100)
            except BlockingIOError:
                time.sleep(0.001)
            if sent > 100_000_000:
                break
        assert sent < 50_000_000, "nothing held it back"
        for _ in range(20):
            assert agent.ask("version")[0] == "0"
        assert agent.memory - before < 20
    agent.recovers()
    assert agent.ask("note", "last") == ("0", "last")


def test_a_flood_of_exclusive_commands_is_answered_and_memory_stays_bounded(agent: PressedAgent) -> None:
    agent.ask("note", "first")
    before = agent.memory
    clients, each = 20, 200
    with ExitStack() as stack:
        connections = [stack.enter_context(closing(agent.connected())) for _ in range(clients)]
        senders = [
            threading.Thread(target=connection.sendall, args=((request("note", "x") + b"\n") * each,))
            for connection in connections
        ]
        for sender in senders:
            sender.start()
        for connection in connections:
            assert received(connection, each).count(b'"0"') == each
        for sender in senders:
            sender.join(PATIENCE)
    assert agent.memory - before < 30
    assert len(list(Path(f"/proc/{agent.pid}/task").iterdir())) < 15, "the threads of the flood stay"


def test_ten_thousand_connections_are_served(folder: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < MANY + 200:
        pytest.skip(f"only {hard} descriptors are to be had")
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (MANY + 200, hard))
    try:
        with PressedAgent(folder) as agent, ExitStack() as stack:
            before = agent.memory
            connections = [stack.enter_context(closing(agent.connected())) for _ in range(MANY)]
            for connection in connections:
                connection.sendall(request("version") + b"\n")
            for connection in connections:
                assert b'"0"' in received(connection, 1)
            assert agent.memory - before < 100
            assert agent.ask("version")[0] == "0"
            assert agent.ask("note", "still")[1] == "still"
            stack.close()
            agent.recovers()
            agent.end()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# The system


def test_without_descriptors_it_serves_whom_it_has_and_goes_on_when_there_are_more(folder: Path) -> None:
    with PressedAgent(folder, limited("RLIMIT_NOFILE", 64)) as agent, ExitStack() as stack:
        connections = [stack.enter_context(closing(agent.connected())) for _ in range(100)]
        served = connections[0]
        for _ in range(20):
            served.sendall(request("version") + b"\n")
            assert b'"0"' in received(served, 1)
        served.sendall(request("note", "no journal") + b"\n")
        assert b'"no journal"' in received(served, 1)
        served.sendall(request("program", "hello") + b"\n")
        assert b'"500"' in received(served, 1)
        assert "Too many open files" in agent.log
        assert agent.log.count("No client can connect") < 20  # it does not spin
        stack.close()
        agent.recovers()
        assert agent.ask("program", "hello") == ("0", "hello")
        agent.ask("note", "again")
        assert "can be used again" in agent.log
        agent.end()


def test_a_command_that_takes_all_memory_fails_alone(folder: Path) -> None:
    with PressedAgent(folder, limited("RLIMIT_AS", 512 * 1024 * 1024)) as agent:
        for _ in range(3):
            code, _ = agent.ask("swallow")
            assert code == "500"
            assert agent.ask("version", channel="two")[0] == "0"
            assert agent.ask("note", "after") == ("0", "after")
        assert "MemoryError" in agent.log
        agent.end()


def test_without_memory_for_threads_commands_are_answered(folder: Path) -> None:
    end = folder / "end"
    with PressedAgent(folder, limited("RLIMIT_AS", 400 * 1024 * 1024)) as agent, ExitStack() as stack:
        connections = [stack.enter_context(closing(agent.connected())) for _ in range(71)]
        connections[0].sendall(request("hold", str(end)) + b"\n")
        for connection in connections[1:]:  # each waits in a thread, whose stacks are more than there is
            connection.sendall(request("note", "x") + b"\n")
        deadline = time.monotonic() + PATIENCE
        while "no thread for a command" not in agent.log:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert agent.ask("version", channel="two")[0] == "0"
        end.touch()
        for connection in connections:
            assert b'"0"' in received(connection, 1)
        assert agent.ask("version")[0] == "0"
        agent.end()


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[PressedAgent]:
    """An agent whose state folder is a file system of its own, which nobody else sees."""
    state = folder / "state"
    state.mkdir(mode=0o700)
    script = 'mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec "$@"'
    with PressedAgent(folder, ["unshare", "-m", "sh", "-c", script, "sh", options, str(state)]) as agent:
        yield agent


def needs_namespaces() -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("mounting needs root and unshare")
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        pytest.skip("this system gives no mount namespace")


@pytest.mark.real
def test_a_full_disk_is_told_of_once_and_holds_no_command_up(folder: Path) -> None:
    needs_namespaces()
    with mounted(folder, "size=256k,mode=0700") as agent:
        state = Path(f"/proc/{agent.pid}/root{folder}/state")
        with open(state / "filler", "wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(4096))
        for number in range(5):
            assert agent.ask("note", str(number)) == ("0", str(number))
        assert agent.log.count("cannot be used; until it can, a command may be run twice") == 1
        (state / "filler").unlink()
        agent.ask("note", "again")
        assert agent.log.count("can be used again") == 1
        agent.end()


@pytest.mark.real
def test_a_disk_that_fills_up_later_is_told_of_too(folder: Path) -> None:
    needs_namespaces()
    with mounted(folder, "size=256k,mode=0700") as agent:
        state = Path(f"/proc/{agent.pid}/root{folder}/state")
        assert agent.ask("note", "first")[0] == "0"
        with open(state / "filler", "wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(4096))
        for number in range(300):  # the log of the database goes on where it has room
            assert agent.ask("note", str(number)) == ("0", str(number))
        (state / "filler").unlink()
        agent.ask("note", "again")
        assert agent.log.count("cannot be used") == agent.log.count("can be used again") <= 2
        agent.end()


@pytest.mark.real
def test_a_state_folder_that_is_read_only_holds_no_command_up(folder: Path) -> None:
    needs_namespaces()
    with mounted(folder, "ro") as agent:
        for number in range(5):
            assert agent.ask("note", str(number)) == ("0", str(number))
        assert agent.log.count("cannot be used") == 1
        assert "Read-only file system" in agent.log
        agent.end()


@pytest.mark.real
def test_a_clock_that_jumps_changes_nothing(folder: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed")
    library = folder / "clock.so"
    source = Path(__file__).with_name("harness") / "clock.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    seen = subprocess.run(
        [sys.executable, "-c", "import time; a = time.time(); b = time.time(); print(abs(b - a) > 1e7)"],
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
    )
    assert seen.stdout == "True\n", "the clock does not jump"
    with PressedAgent(folder, LD_PRELOAD=str(library), WATCHDOG_USEC="10000000") as agent:
        until = time.monotonic() + 3
        slowest = 0.0
        while time.monotonic() < until:
            for name in ("version", "note", "program"):
                began = time.monotonic()
                assert agent.ask(name, "x")[0] == "0"
                slowest = max(slowest, time.monotonic() - began)
        assert slowest < 5
        agent.end()
        assert "past its deadline" not in agent.log
