"""The hooks plugin, held to its contract; and what is its own."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from example_audit import Audit
from example_audit.rules import Rule, reason_to_deny

from guestagent_core.config import Config
from guestagent_core.testing import HooksContract, RunningAgent, sample_call

RULES = {"file.write": {"path": Rule(under=("/srv", "/var/www/"))}, "service.restart": {"*": Rule(values=("nginx", 5))}}


class TestAudit(HooksContract):
    entry_point = "audit"
    allowed = (
        ("file.write", {"path": "/srv/one"}),
        ("file.write", {"path": "//srv//two/../one", "content": "x"}),
        ("file.write", SimpleNamespace(path="/var/www/index.html")),
        ("service.restart", "nginx"),
        ("service.restart", 5),
        ("another.command", "anything"),
    )
    denied = (
        ("file.write", {"path": "/srv"}),
        ("file.write", {"path": "/srv/../etc/passwd"}),
        ("file.write", {"path": "/srvother/one"}),
        ("file.write", {"path": "srv/one"}),
        ("file.write", {"path": ["/srv/one"]}),
        ("file.write", {"content": "no path"}),
        ("file.write", "/srv/one"),
        ("service.restart", "sshd"),
        ("service.restart", 5.0),
        ("service.restart", {"*": "nginx"}),
    )

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return tmp_path / "log" / "audit.jsonl"

    @pytest.fixture
    def hooks_plugin(self, file: Path) -> Audit:
        return Audit(Audit.Options(file, rules=RULES))

    def test_every_call_is_on_record(self, started: Any, file: Path) -> None:
        started.run_command(sample_call("one", "x"))
        with pytest.raises(Exception, match="failed for the test"):
            started.run_command(sample_call("fail", "y"))
        started.authorize(sample_call("service.restart", "sshd"))
        entries = [json.loads(line) for line in file.read_text().splitlines()]
        assert [(entry["what"], entry["command"], entry["value"]) for entry in entries] == [
            ("begins", "one", "x"),
            ("ended", "one", "x"),
            ("begins", "fail", "y"),
            ("failed", "fail", "y"),
            ("denied", "service.restart", "sshd"),
        ]
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

    def test_what_cannot_be_recorded_is_not_run(self, hooks: Any, ran: list[Any]) -> None:
        with pytest.raises(Exception, match="cannot be recorded, so it is not run"):
            hooks.run_command(sample_call("one"))
        assert not ran


def test_a_rule_without_keys_permits_nothing() -> None:
    for value in ("", "/", None, 0, {}):
        assert reason_to_deny({"*": Rule()}, sample_call("any", value)) is not None


@pytest.fixture
def agent_config() -> Config:
    return Config(hooks={"audit": {"rules": {"features": {"*": {"values": ["please"]}}}}})


def test_a_host_is_held_to_the_rules(agent: RunningAgent) -> None:
    assert agent.call("features").message == "features: the argument is none that a rule permits"
    assert agent.call("features", "please").code == "0"
    file = agent.agent.places["state_dir"] / "audit.jsonl"
    assert [json.loads(line)["what"] for line in file.read_text().splitlines()] == ["denied", "begins", "ended"]
