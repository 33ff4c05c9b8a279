"""The journal: what becomes of commands that a crash interrupted."""

from __future__ import annotations

from typing import Any

import pytest

from guestagent_core import CommandError

from .machine import CrashError, Machine


def interrupted(machine: Machine, name: str, **keys: Any) -> None:
    machine.pack.crashes = True
    assert isinstance(machine.ask(name, **keys).outcome, CrashError)
    machine.pack.crashes = False
    machine.start()


def test_an_interrupted_command_is_not_run_again(machine: Machine) -> None:
    interrupted(machine, "effect")
    again = machine.ask("effect").answered().outcome
    assert isinstance(again, CommandError)
    assert again.code == 500
    assert "Command 'effect' was interrupted" in str(again)
    assert len(machine.effects) == 1
    assert machine.ask("effect").answered().outcome == (0, "done")


def test_the_answer_that_a_command_was_interrupted_is_kept_too(machine: Machine) -> None:
    interrupted(machine, "effect")
    first = machine.ask("effect").outcome
    machine.start()
    assert str(machine.ask("effect").outcome) == str(first)
    assert len(machine.effects) == 1


def test_a_command_that_can_is_resumed(machine: Machine) -> None:
    interrupted(machine, "resumable", value="x")
    assert machine.ask("resumable", "x").answered().outcome == (0, "done")
    assert machine.effects == ["resumable x", "taken up x, True"]
    machine.ask("resumable", "x")
    assert machine.effects[2:] == ["resumable x"]


def test_a_resumed_command_that_is_interrupted_each_time_is_given_up(machine: Machine) -> None:
    interrupted(machine, "resumable")
    for _ in range(3):
        interrupted(machine, "resumable")
    again = machine.ask("resumable").outcome
    assert "resumed 3 times" in str(again)
    assert machine.effects == ["resumable ", *["taken up , True"] * 3]


def test_the_log_names_what_was_interrupted(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    interrupted(machine, "effect")
    interrupted(machine, "resumable", id=None)
    assert "wire: effect was interrupted" in caplog.text
    assert "wire: resumable was interrupted" in caplog.text
    caplog.clear()
    machine.start()
    assert "resumable" not in caplog.text


def test_without_an_id_nothing_is_suppressed(machine: Machine) -> None:
    machine.ask("effect", id=None)
    machine.start()
    machine.ask("effect", id=None)
    interrupted(machine, "effect", id=None)
    assert machine.ask("effect", id=None).outcome == (0, "done")
    assert len(machine.effects) == 4
