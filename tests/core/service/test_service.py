"""The agent as a service: signals, the log, the pid file, and what the service manager is told."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestagent_core.client import LocalClient
from guestagent_core.errors import ExchangeError

PATIENCE = 60.0  # seconds

# A pack with a command that runs a program until a file appears, and one that cannot be interrupted.
PACK = """
import sys, time
from pathlib import Path
from guestagent_core import CommandBase, command
from guestagent_core import cli, discovery

class Slow(CommandBase):
    @command("program", timeout=600)
    def program(self, value):
        self.context.run(["sh", "-c", 'touch "$1/begun"; until [ -e "$1/end" ]; do sleep 0.05; done', "sh", value])
        return 0, "ended"

    @command("stuck", timeout=0.001)
    def stuck(self, value):
        Path(value, "begun").touch()
        while not Path(value, "end").exists():
            time.sleep(0.05)
        return 0, "ended"

discovery.load_packs = lambda plugin, original=discovery.load_packs: [*original(plugin), Slow]
sys.exit(cli.main(sys.argv[1:]))
"""


class Service:
    """`guestagent run` under a service manager that listens."""

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        self.folder = folder
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(os.fspath(folder / "notify.sock"))
        self.manager.settimeout(PATIENCE)
        program = folder / "agent.py"
        program.write_text(PACK)
        command = [sys.executable, str(program), "run", "--root", str(folder), "--socket", str(folder / "agent.sock")]
        variables = {**os.environ, "NOTIFY_SOCKET": os.fspath(folder / "notify.sock"), **environment}
        self.process = subprocess.Popen([*command, *options], env=variables, stderr=subprocess.PIPE, text=True)

    def told(self) -> str:
        """Returns the next thing that the manager is told."""
        return self.manager.recv(4096).decode()

    def ask(self, name: str) -> bytes:
        with LocalClient(self.folder / "agent.sock", timeout=PATIENCE) as client:
            return client.request(json.dumps({"name": name, "value": str(self.folder)}).encode())

    def ask_in_background(self, name: str) -> tuple[threading.Thread, list[bytes]]:
        """Asks, and returns once the command has begun."""
        answers: list[bytes] = []

        def ask() -> None:
            try:
                answers.append(self.ask(name))
            except ExchangeError as error:
                answers.append(str(error).encode())

        thread = threading.Thread(target=ask)
        thread.start()
        while not (self.folder / "begun").exists():
            thread.join(0.01)
            assert thread.is_alive(), answers
        return thread, answers

    def end(self) -> str:
        """Waits for the end, and returns the rest of the log."""
        _, log = self.process.communicate(timeout=PATIENCE)
        return log

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.end()
        self.manager.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ga-") as folder:
        yield Path(folder)


@pytest.fixture
def service(folder: Path) -> Iterator[Service]:
    service = Service(folder)
    yield service
    service.close()


def test_the_manager_is_told_of_the_start_and_the_end(service: Service) -> None:
    assert service.told() == "READY=1"
    assert b'"0"' in service.ask("version")
    service.process.terminate()
    assert service.told() == "STOPPING=1"
    service.end()
    assert service.process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_finishes_what_runs(service: Service, number: signal.Signals) -> None:
    service.told()
    thread, answers = service.ask_in_background("program")
    service.process.send_signal(number)
    assert service.told() == "STOPPING=1"
    assert service.process.poll() is None
    (service.folder / "end").touch()
    thread.join(PATIENCE)
    assert answers == [b'{"message": "ended", "returncode": "0"}']
    service.end()
    assert service.process.returncode == 0


def test_the_second_signal_kills_what_runs(service: Service) -> None:
    service.told()
    thread, answers = service.ask_in_background("program")
    service.process.terminate()
    service.told()
    service.process.terminate()
    log = service.end()
    thread.join(PATIENCE)
    assert service.process.returncode == 1
    assert "SIGTERM again: the agent is ended at once" in log
    assert b"hung up" in answers[0]
    # communicate() has seen the end of standard error, which the program would have held open.


def test_sighup_reopens_the_log(folder: Path) -> None:
    log = folder / "agent.log"
    service = Service(folder, "--log-file", str(log))
    try:
        assert service.told() == "READY=1"
        service.ask("version")
        assert log.stat().st_mode & 0o777 == 0o600
        log.rename(folder / "agent.log.1")
        service.process.send_signal(signal.SIGHUP)
        reloading, stamp = service.told().split("\n")
        assert reloading == "RELOADING=1"
        assert stamp.startswith("MONOTONIC_USEC=")
        assert service.told() == "READY=1"
        service.ask("features")
        service.process.terminate()
        assert service.end() == ""
        assert "features #2: 0 in" in log.read_text()
        assert "version #1: 0 in" in (folder / "agent.log.1").read_text()
        assert log.stat().st_mode & 0o777 == 0o600
    finally:
        service.close()


def test_a_log_that_others_could_read_is_closed_to_them(folder: Path) -> None:
    log = folder / "agent.log"
    log.touch(mode=0o644)
    service = Service(folder, "--log-file", str(log))
    service.told()
    assert log.stat().st_mode & 0o777 == 0o600
    service.close()


def test_a_json_log_has_the_fields_of_a_call(folder: Path) -> None:
    service = Service(folder, "--log-format", "json")
    service.told()
    service.ask("version")
    service.ask("no\nsuch")
    service.process.terminate()
    lines = [json.loads(line) for line in service.end().splitlines()]
    service.close()
    (version,) = [line for line in lines if line.get("command") == "version"]
    assert (version["channel"], version["id"], version["code"], version["level"]) == ("local", "#1", "0", "info")
    assert version["ms"] > 0
    assert any("'no\\nsuch'" in line["message"] for line in lines)


def test_the_pid_file_holds_our_pid_until_the_end(folder: Path) -> None:
    pid = folder / "agent.pid"
    service = Service(folder, "--pid-file", str(pid))
    service.told()
    assert pid.read_text() == f"{service.process.pid}\n"
    assert pid.stat().st_mode & 0o777 == 0o600
    service.process.terminate()
    service.end()
    assert not pid.exists()
    service.close()


def test_a_pid_file_of_another_process_stays(folder: Path) -> None:
    pid = folder / "agent.pid"
    service = Service(folder, "--pid-file", str(pid))
    service.told()
    pid.write_text("1\n")
    service.process.terminate()
    service.end()
    assert pid.read_text() == "1\n"
    service.close()


@pytest.mark.parametrize("option", ["--pid-file", "--log-file"])
def test_a_file_that_cannot_be_written_is_named(folder: Path, option: str) -> None:
    service = Service(folder, option, str(folder / "missing" / "file"))
    log = service.end()
    assert service.process.returncode == 1
    assert log.startswith(f"guestagent: {folder}/missing/file: the ")
    assert len(log.splitlines()) == 1
    service.close()


def test_the_watchdog_is_fed(folder: Path) -> None:
    service = Service(folder, WATCHDOG_USEC="100000")
    assert service.told() == "READY=1"
    assert [service.told(), service.told()] == ["WATCHDOG=1", "WATCHDOG=1"]
    service.close()


def test_the_watchdog_is_fed_while_signals_come(folder: Path) -> None:
    service = Service(folder, "--log-file", str(folder / "agent.log"), WATCHDOG_USEC="400000")
    assert service.told() == "READY=1"
    told: list[str] = []
    while told.count("WATCHDOG=1") < 3:
        service.process.send_signal(signal.SIGHUP)
        told += iter(service.told, "READY=1")
    service.close()


def test_the_watchdog_of_another_process_is_not_ours(folder: Path) -> None:
    service = Service(folder, WATCHDOG_USEC="100000", WATCHDOG_PID="1")
    assert service.told() == "READY=1"
    service.manager.settimeout(0.5)
    with pytest.raises(TimeoutError):
        service.told()
    service.close()


def test_the_watchdog_starves_while_a_call_is_stuck(folder: Path) -> None:
    program = PACK.replace("sys.exit(", "from guestagent_core import service\nservice._STUCK = 0.2\nsys.exit(")
    assert program != PACK
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(globals(), "PACK", program)
        service = Service(folder, WATCHDOG_USEC="100000")
    service.told()
    thread, answers = service.ask_in_background("stuck")
    service.manager.settimeout(1.5)
    with pytest.raises(TimeoutError):
        set(iter(service.told, "anything else"))
    assert b'"0"' in service.ask("version")
    (folder / "end").touch()
    thread.join(PATIENCE)
    service.manager.settimeout(PATIENCE)
    assert service.told() == "WATCHDOG=1"
    assert b"ended" in answers[0]
    service.process.terminate()
    log = service.end()
    assert "local: stuck (#1) is past its deadline of 0 s and goes on" in log
    assert log.count("local: stuck (#1) does not end; the service manager is to restart us") == 1
    service.close()


def test_a_command_that_does_not_end_is_reported_without_a_service_manager(service: Service) -> None:
    service.told()
    thread, answers = service.ask_in_background("stuck")
    time.sleep(1.5)  # a second after the deadline it is reported
    assert b'"0"' in service.ask("version")
    (service.folder / "end").touch()
    thread.join(PATIENCE)
    assert b"ended" in answers[0]
    service.process.terminate()
    assert service.end().count("local: stuck (#1) is past its deadline") == 1
