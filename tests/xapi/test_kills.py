"""Agents that are killed at any moment of a conversation with the host: nothing twice, nothing left hanging."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.xen.harness import Daemon, Guest

from guestagent_core import ExchangeError
from guestagent_xen.host.xapi import XapiHost

from .conftest import MACS, until

pytestmark = pytest.mark.real
AGENT = Path(__file__).with_name("killed_agent.py")
SEED = int(os.environ.get("GUESTAGENT_SEED") or random.randrange(2**32))


class Killed:
    """An agent that runs again whenever it has been killed."""

    def __init__(self, kind: str, guest: Guest, folder: Path) -> None:
        self._command = [sys.executable, str(AGENT), kind, str(guest.device), str(folder)]
        self.process = subprocess.Popen(self._command)

    def kill(self) -> None:
        """Kills it, and starts it again."""
        self.end()
        self.process = subprocess.Popen(self._command)

    def end(self) -> None:
        """Kills it."""
        self.process.kill()
        self.process.wait()


@contextmanager
def killing(kind: str, guest: Guest, folder: Path, times: int) -> Iterator[threading.Thread]:
    """Kills an agent ``times`` times at random moments, while the block runs; in the end one is there."""
    moments = random.Random(SEED)
    agent = Killed(kind, guest, folder)

    def kill() -> None:
        for _ in range(times):
            time.sleep(moments.uniform(0.05, 0.4))
            agent.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield killer
    finally:
        killer.join()
        agent.end()


def test_no_script_has_its_effect_twice(daemon: Daemon, guest: Guest, host: XapiHost, tmp_path: Path) -> None:
    outcomes = {}
    with killing("script", guest, tmp_path, 12) as killer:
        until(lambda: daemon.host.read(f"{guest.home}/control/feature-xs-batcmd"))
        number = 0
        while killer.is_alive() or number < 5:
            number += 1
            outcomes[str(number)] = host.script(f'acme.note "{number}"', 30)
    notes = (tmp_path / "notes").read_text().split()
    assert len(notes) == len(set(notes)), f"seed {SEED}"
    for text, outcome in outcomes.items():
        if outcome.state == "SUCCESS":
            assert (outcome.stdout, text in notes) == (text, True), f"seed {SEED}"
        else:
            assert outcome.state == "FAILURE", f"seed {SEED}"
            assert "interrupted" in outcome.stderr, f"seed {SEED}"
    assert sum(outcome.state == "SUCCESS" for outcome in outcomes.values()) > len(outcomes) / 2, f"seed {SEED}"


def test_the_last_word_of_the_host_is_applied_last(
    guest: Guest, host: XapiHost, tmp_path: Path, nics: tuple[str, str]
) -> None:
    host.plug(0, MACS[0])
    number = 0
    with killing("vif", guest, tmp_path, 12) as killer:
        while killer.is_alive():
            number += 1
            host.static(0, f"192.0.2.{number % 250 + 1}/24")
            host.static(0, f"2001:db8::{number}/64", family=6)
            time.sleep(0.02)
        until(lambda: not {"enabled", "enabled6"} & set(host.setting(0)), 30)
    notes = (tmp_path / "notes").read_text().splitlines()
    last = {line.split()[0]: line for line in notes}
    assert last == {
        "ipv4": f"ipv4 1 192.0.2.{number % 250 + 1}/24",
        "ipv6": f"ipv6 1 2001:db8::{number}/64",
    }, f"seed {SEED}"
    assert host.setting(0)["error-code"] == "0"


def test_a_host_that_gives_up_can_call_again(guest: Guest, host: XapiHost) -> None:
    with pytest.raises(ExchangeError, match="does not take scripts"):
        host.script("acme.note", 0.1)
