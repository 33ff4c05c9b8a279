"""The host's side on the command line: what it prints, and what its exit status tells."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from guestagent_xen.host import __main__ as host

from .old_agents import FILE, INTRODUCE, WRITE, Agent, Wire, leftovers, succeed


def test_the_command_line_prints_answers(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent = Agent(store, lambda identifier, request: {"message": "a,b\x1b[31m", "returncode": "0"})
    place = ["--socket", str(store)]
    assert host.main([*place, "7", "features"]) == 0
    assert capsys.readouterr().out == "a\nb\\x1b[31m\n"
    assert host.main(["7", "other", *place, '{"a": 1}', "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"message": "a,b\x1b[31m", "returncode": "0"}
    assert agent.asked[-1] == {"name": "other", "value": {"a": 1}}
    assert host.main([*place, "7", "other", "{text"]) == 0
    assert agent.asked[-1]["value"] == "{text"


def test_the_exit_status_tells_what_failed(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Agent(store, succeed("no", "500"))
    place = ["--socket", str(store)]
    assert host.main([*place, "7", "version"]) == 1
    assert capsys.readouterr().err == "guestagent-xen-host: version: 500: no\n"
    assert host.main([*place, "7", "injectfile", "/x", str(tmp_path / "missing")]) == 2
    assert host.main([*place, "8", "version"]) == 4
    assert host.main(["--socket", str(tmp_path / "none"), "7", "version"]) == 5
    Wire(store).ask(WRITE, "/local/domain/9/name", b"silent")
    Wire(store).ask(INTRODUCE, "9", b"1\x001\0")
    assert host.main([*place, "9", "version", "--timeout", "0.05"]) == 3
    with pytest.raises(SystemExit) as caught:
        host.main(["7"])
    assert caught.value.code == 2


def test_the_environment_says_where_the_store_is(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Agent(store, succeed("1"))
    (store.parent / "socket").symlink_to(store)
    monkeypatch.setenv("XENSTORED_RUNDIR", str(store.parent))
    monkeypatch.delenv("XENSTORED_PATH", raising=False)
    assert host.main(["7", "version"]) == 0
    monkeypatch.setenv("XENSTORED_PATH", str(store.parent / "other"))
    assert host.main(["7", "version"]) == 5


def test_ctrl_c_takes_the_request_back(store: Path) -> None:
    agent = Agent(store, lambda identifier, request: os.kill(child.pid, signal.SIGINT))
    command = [sys.executable, str(FILE), "--socket", str(store), "7", "version"]
    child = subprocess.Popen(command)
    assert child.wait(30) == 130
    assert len(agent.asked) == 1
    assert leftovers(store) == []
