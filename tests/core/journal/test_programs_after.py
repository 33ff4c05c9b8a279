"""The journal: programs that are started once the answer is out, in whatever run of the agent."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.core.waiting import until

from guestagent_core import CommandError

from .machine import Machine


def test_a_program_is_started_after_the_answer(machine: Machine) -> None:
    machine.pack.after = [["one", "1"], ["two"]]
    asked = machine.ask("effect")
    assert machine.started == []
    asked.answered()
    assert machine.started == [["one", "1"], ["two"]]
    machine.start()
    assert machine.started == [["one", "1"], ["two"]]


def test_a_program_is_started_if_the_answer_is_lost(machine: Machine) -> None:
    machine.pack.after = [["one"]]
    machine.ask("effect").answered(False)
    assert machine.started == [["one"]]
    machine.ask("effect").answered()
    assert machine.started == [["one"]]


def test_a_program_of_a_request_that_comes_again_waits_for_its_answer(machine: Machine) -> None:
    machine.pack.after = [["one"], ["two"]]
    machine.ask("effect")
    machine.start()
    assert machine.started == []
    again = machine.ask("effect")
    assert machine.started == []
    again.answered()
    assert machine.started == [["one"], ["two"]]
    assert len(machine.effects) == 1


def test_a_program_of_a_request_that_does_not_come_again_is_started_after_a_while(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.pack.after = [["one"], ["two"]]
    machine.ask("effect")
    monkeypatch.setattr("guestagent_core.journal._RETURN_TIME", 0.01)
    machine.start()
    until(lambda: machine.started == [["one"], ["two"]])
    assert machine.ask("effect").answered().outcome == (0, "done")
    assert machine.started == [["one"], ["two"]]


def test_a_program_without_a_request_that_can_come_again_is_started_at_once(machine: Machine) -> None:
    machine.pack.after = [["one"], ["two"]]
    machine.ask("effect", id=None)
    machine.start()
    until(lambda: machine.started == [["one"], ["two"]])
    machine.start()
    assert len(machine.started) == 2


def test_an_agent_killed_between_the_answer_and_the_program_starts_it_at_its_next_start(machine: Machine) -> None:
    machine.pack.after = [["one"], ["two"]]
    asked = machine.ask("effect")
    asked.delivery.actions.clear()
    asked.answered()
    machine.start()
    until(lambda: machine.started == [["one"], ["two"]])
    machine.journal.close()
    assert not (machine.folder / "journal.db").exists()


def test_an_agent_killed_between_two_programs_starts_the_second_only(machine: Machine) -> None:
    machine.pack.after = [["one"], ["two"]]
    asked = machine.ask("effect")
    del asked.delivery.actions[1:]
    asked.answered()
    machine.start()
    until(lambda: machine.started == [["one"], ["two"]])


def test_a_program_that_cannot_be_started_is_not_tried_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(argv: Sequence[str], *, service_manager: bool = False) -> None:
        machine.started.append(list(argv))
        raise CommandError("it is not there")

    monkeypatch.setattr(machine, "detach", refuse)
    machine.pack.after = [["one"], ["two"]]
    machine.ask("effect").answered()
    assert machine.started == [["one"], ["two"]]
    assert "it is not there" in caplog.text
    machine.start()
    assert len(machine.started) == 2


def test_programs_are_started_without_a_journal_too(machine: Machine) -> None:
    machine.folder.write_text("a file, not a folder")
    machine.pack.after = [["one"]]
    machine.ask("effect").answered()
    assert machine.started == [["one"]]
