"""Deadlines from outside: programs are killed, and what cannot be interrupted ends with the agent."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from tests.kills.harness import Account, CountingAgent, LocalHost
from tests.xen.harness import DAEMONS

from guestagent_core.client import LocalClient

PATIENCE = 60.0  # seconds


def _runs(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_command_past_its_deadline_is_answered_504_when_its_programs_are_killed(folder: Path) -> None:
    agent = CountingAgent(folder)
    agent.start()
    try:
        with contextlib.closing(LocalHost(agent.socket, Account())) as host:
            host.ask([("version", "")])  # returns when the agent listens
        with LocalClient(agent.socket, timeout=PATIENCE) as client:
            answer = client.request(b'{"name": "late", "value": "t"}')
        assert b'"504"' in answer
        assert b"and was killed" in answer
        children = [int(number) for number in agent.marks("child")]
        assert len(children) == 2
        for child in children:  # killed, and at most not reaped yet by whoever it was left to
            deadline = time.monotonic() + PATIENCE
            while _runs(child):
                assert time.monotonic() < deadline, f"{child} still runs"
                time.sleep(0.01)
        agent.end()
    finally:
        agent.kill()


class Manager:
    """What systemd does about a watchdog: it ends a service that gives no sign of life, and starts it again."""

    def __init__(self, folder: Path) -> None:
        self.address = folder / "notify.sock"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(os.fspath(self.address))
        self.variables = {"NOTIFY_SOCKET": os.fspath(self.address), "WATCHDOG_USEC": "1000000"}

    def watch(self, agent: CountingAgent) -> None:
        """Waits until the agent is silent for a second, and kills it as systemd does."""
        assert agent.process is not None
        began = time.monotonic()
        self._socket.settimeout(PATIENCE)
        while self._socket.recv(100) != b"READY=1":
            pass
        self._socket.settimeout(1.0)
        try:
            while time.monotonic() < began + PATIENCE:
                self._socket.recv(100)
        except TimeoutError:
            agent.process.send_signal(signal.SIGABRT)
            agent.process.wait()
            agent.process = None

    def close(self) -> None:
        self._socket.close()


@pytest.mark.real
@pytest.mark.parametrize("place", DAEMONS[:1], indirect=True)
def test_the_watchdog_ends_a_stuck_command_and_the_journal_answers_it(place: Any, folder: Path) -> None:
    manager = Manager(folder)
    try:
        place.host.ask_as("one", "stuck", "t")
        place.agent.start(**manager.variables)
        while not place.agent.marks("effect")["t"]:
            time.sleep(0.01)
        place.host.ask_as("two", "version", "")
        deadline = time.monotonic() + PATIENCE
        while "" not in place.account.answers:
            place.host.collect()
            assert time.monotonic() < deadline, place.agent.log
            time.sleep(0.005)
        assert place.agent.process.poll() is None  # it was answered beside the stuck one
        manager.watch(place.agent)
        assert "xenstore: stuck (one) does not end; the service manager is to restart us" in place.agent.log
        place.agent.start(**manager.variables)
        while "t" not in place.account.answers:
            place.host.collect()
            assert time.monotonic() < deadline, place.agent.log
            time.sleep(0.005)
        ((code, message),) = place.account.answers["t"]
        assert code == "500"
        assert message.startswith("Command 'stuck' was interrupted")
        assert place.agent.marks("effect")["t"] == 1
        place.agent.end()
    finally:
        manager.close()
