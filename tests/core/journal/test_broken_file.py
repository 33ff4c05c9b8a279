"""The journal: a file that is damaged, locked or full holds no command up."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.core.waiting import until

from guestagent_core.journal import FileJournal

from .machine import Machine, crash


def damage(path: Path, how: str) -> None:
    if how == "text":
        path.write_text("This is not a database. " * 500)
    elif how == "another version":
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
    else:
        content = bytearray(path.read_bytes())
        content[4096 + 100 :] = b"\xff" * (len(content) - 4096 - 100)
        path.write_bytes(content)


@pytest.mark.parametrize("how", ["text", "another version", "overwritten pages"])
def test_a_damaged_file_is_set_aside(machine: Machine, how: str, caplog: pytest.LogCaptureFixture) -> None:
    machine.ask("effect")
    crash(machine.journal)
    damage(machine.folder / "journal.db", how)
    damaged = (machine.folder / "journal.db").read_bytes()
    machine.start()
    assert machine.ask("effect").outcome == (0, "done")
    assert "is damaged" in caplog.text
    assert (machine.folder / "journal.db.damaged").read_bytes()[4096:] == damaged[4096:]
    machine.start()
    machine.ask("effect")
    assert len(machine.effects) == 2


def test_a_file_that_cannot_be_used_holds_no_command_up(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.folder.write_text("a file, not a folder")
    for _ in range(3):
        assert machine.ask("effect").answered().outcome == (0, "done")
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert f"The journal {machine.folder}/journal.db cannot be used" in errors[0].getMessage()
    assert "may be run twice" in errors[0].getMessage()
    machine.folder.unlink()
    machine.ask("effect")
    assert "can be used again" in caplog.text
    machine.start()
    machine.ask("effect")
    assert len(machine.effects) == 4


def test_a_second_agent_does_not_get_the_journal_of_a_running_one(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine.ask("effect", id="1")
    monkeypatch.setattr("guestagent_core.entries._LOCKED", 0.01)
    second = FileJournal(machine.folder, machine.detach)
    second.recover()
    assert "database is locked" in caplog.text
    assert machine.ask("effect", id="2").outcome == (0, "done")
    second.close()


def failing(machine: Machine, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the disk be full for one kind of writing."""

    def fail(*arguments: Any, **keywords: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(f"guestagent_core.entries.Entries.{method}", fail)


def test_an_answered_entry_that_cannot_be_removed_counts_for_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = machine.ask("effect")
    with monkeypatch.context() as patched:
        failing(machine, "remove", patched)
        asked.answered()
        machine.ask("effect").answered()
        assert len(machine.effects) == 2
    machine.ask("effect").answered()
    assert len(machine.effects) == 3
    machine.journal.close()
    assert not (machine.folder / "journal.db").exists()


def test_a_result_that_cannot_be_written_is_answered(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.pack.after = [["one"]]
    original = machine.pack.work

    def full(what: str) -> Any:
        failing(machine, "put", monkeypatch)
        return original(what)

    monkeypatch.setattr(machine.pack, "work", full)
    asked = machine.ask("effect")
    assert asked.outcome == (0, "done")
    asked.answered()
    assert machine.started == [["one"]]
    monkeypatch.undo()
    machine.start()
    assert machine.started == [["one"]]
    assert machine.ask("effect").outcome == (0, "done")


def test_what_an_earlier_run_left_is_started_once_the_disk_has_room_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine.pack.crashes = True
    machine.ask("effect", id=None)
    machine.pack.crashes = False
    machine.pack.after = [["one"]]
    machine.ask("effect", id=None)
    monkeypatch.setattr("guestagent_core.journal._RETURN_TIME", 0.01)
    with monkeypatch.context() as patched:
        failing(machine, "remove", patched)
        machine.start()
        until(lambda: "disk is full" in caplog.text)
        assert machine.started == []
    until(lambda: machine.started == [["one"]])
    machine.journal.close()
    assert not (machine.folder / "journal.db").exists()
