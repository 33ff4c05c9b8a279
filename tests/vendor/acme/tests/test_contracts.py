"""The vendor's plugins, held to the contracts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from guestagent_acme import Disks, Notes
from guestagent_acme.policy import Policy
from guestagent_acme.spool import SpoolExchange

from guestagent_core.testing import CommandPackContract, ExchangeContract, HooksContract, RunningAgent, wait_until


class TestDisks(CommandPackContract):
    entry_point = "acme"
    pack = Disks
    samples = {"acme.uptime": ""}
    files = {"/proc/uptime": "12.50 3.00\n"}


class TestNotes(CommandPackContract):
    entry_point = "acme"
    pack = Notes
    samples = {"acme.note": "remember the milk"}


class File:
    def __init__(self, answer: Path) -> None:
        self._answer = answer

    def answer(self, timeout: float) -> bytes:
        wait_until(self._answer.exists, timeout)
        return self._answer.read_bytes()


class TestSpool(ExchangeContract):
    entry_point = "spool"

    @pytest.fixture
    def exchange(self, tmp_path: Path) -> SpoolExchange:
        return SpoolExchange(str(tmp_path))

    @pytest.fixture
    def ask(self, tmp_path: Path) -> Callable[[bytes], File]:
        numbers = iter(range(100))

        def ask(data: bytes) -> File:
            name = f"{next(numbers):02}"
            (tmp_path / "in" / f"{name}.new").write_bytes(data)
            (tmp_path / "in" / f"{name}.new").rename(tmp_path / "in" / name)
            return File(tmp_path / "out" / name)

        return ask


class TestPolicy(HooksContract):
    entry_point = "acme-policy"
    allowed = [("acme.note", "please"), ("version", "")]
    denied = [("acme.note", "damn it")]

    @pytest.fixture
    def hooks_plugin(self) -> Policy:
        return Policy()


def test_a_host_is_served(agent: RunningAgent) -> None:
    assert agent.call("acme.note", "one") == ("0", "1")
    assert agent.call("acme.note", "damn") == ("403", "notes must be polite")
    assert (agent.root / "var/lib/acme/notes").read_text() == "one\n"
    assert "acme.uptime" in agent.call("features").message


def test_an_answer_is_json(agent: RunningAgent) -> None:
    answer: Any = json.loads(agent.request(b'{"name": "version"}'))
    assert answer["returncode"] == "0"
