"""The journal: its file, who may read it, what is in it and when it goes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

from tests.unmeasured import unmeasured

from guestagent_core import CommandResult

from .machine import Machine


def test_nobody_else_can_read_the_file(machine: Machine) -> None:
    machine.ask("secret")
    assert {path.name: path.stat().st_mode & 0o777 for path in machine.folder.iterdir()} == {
        "journal.db": 0o600,
        "journal.db-wal": 0o600,
        "journal.key": 0o600,
    }
    assert machine.folder.stat().st_mode & 0o777 == 0o700


def test_a_file_that_others_could_read_is_closed_to_them(machine: Machine) -> None:
    machine.folder.mkdir()
    (machine.folder / "journal.db").touch(mode=0o644)
    machine.ask("effect")
    assert (machine.folder / "journal.db").stat().st_mode & 0o777 == 0o600


def test_no_value_and_no_plain_digest_of_a_secret_is_in_the_file(machine: Machine) -> None:
    machine.ask("effect", "plain-value")
    machine.ask("secret", "hidden-value", id="8")
    machine.start()
    content = b"".join(path.read_bytes() for path in machine.folder.iterdir())
    plain, hidden = (["effect", "plain-value"], ["secret", "hidden-value"])
    assert hashlib.sha256(json.dumps(plain).encode()).digest() in content
    assert hashlib.sha256(json.dumps(hidden).encode()).digest() not in content
    assert b"-value" not in content
    machine.ask("secret", "hidden-value", id="8")
    assert len(machine.effects) == 2


def test_the_result_of_a_secret_command_leaves_no_trace_once_it_is_answered(machine: Machine) -> None:
    machine.pack.outcome = CommandResult(0, "result-that-is-secret")
    asked = machine.ask("secret")
    machine.ask("effect", id="8")
    asked.answered()
    machine.pack.outcome = CommandResult(0, "something else")
    content = b"".join(path.read_bytes() for path in machine.folder.iterdir())
    assert content.count(b"result-that-is-secret") == 1  # of the request that is open


def test_an_agent_that_leaves_nothing_open_leaves_no_file(machine: Machine) -> None:
    machine.ask("effect").answered()
    assert (machine.folder / "journal.db").exists()
    machine.journal.close()
    assert list(machine.folder.iterdir()) == []


def test_what_is_open_stays_after_an_orderly_end(machine: Machine) -> None:
    machine.ask("effect")
    machine.journal.close()
    assert [row[:2] for row in machine.rows()] == [("effect", "finished")]


def test_the_key_of_the_installation_stays_the_same(machine: Machine) -> None:
    machine.ask("secret").answered()
    key = (machine.folder / "journal.key").read_bytes()
    assert len(key) == 32
    machine.start()
    machine.ask("secret").answered()
    assert (machine.folder / "journal.key").read_bytes() == key


def test_a_key_that_is_cut_off_is_made_anew(machine: Machine) -> None:
    machine.folder.mkdir()
    (machine.folder / "journal.key").write_bytes(b"short")
    assert machine.ask("secret").outcome == (0, "done")
    assert len((machine.folder / "journal.key").read_bytes()) == 32


def test_an_agent_that_has_not_run_such_a_command_has_not_loaded_sqlite() -> None:
    program = "import sys, guestagent_core.agent, guestagent_core.service\nprint(*sys.modules)"
    argv = [sys.executable, "-I", "-c", program]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=unmeasured())
    assert "guestagent_core.journal" in done.stdout.split()
    assert not {"sqlite3", "hmac", "guestagent_core.entries"} & set(done.stdout.split())
