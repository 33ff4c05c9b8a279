"""The journal: how much it keeps, for how long, and by how many threads it is entered."""

from __future__ import annotations

import queue
import threading
import time

import pytest
from tests.core.waiting import PATIENCE

from .machine import Machine, Outstanding


def test_the_number_of_entries_is_bounded(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guestagent_core.journal_file._MOST_KEPT", 20)
    monkeypatch.setattr("guestagent_core.journal_file._COUNT_EVERY", 1)
    for number in range(100):
        machine.ask("effect", id=str(number)).answered(False)
        assert machine.journal._file._entries is not None
        assert machine.journal._file._entries.count() <= 20
    machine.ask("effect", id="99")
    assert len(machine.effects) == 100
    machine.ask("effect", id="0")
    assert len(machine.effects) == 101


def test_no_open_request_is_forgotten_to_keep_the_bound(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guestagent_core.journal_file._MOST_KEPT", 10)
    monkeypatch.setattr("guestagent_core.journal_file._COUNT_EVERY", 1)
    asked = [machine.ask("effect", id=str(number)) for number in range(30)]
    assert machine.journal._file._entries is not None
    assert machine.journal._file._entries.count() == len(asked) == 30
    machine.start()
    machine.ask("effect", id="29")
    assert len(machine.effects) == 30


def test_an_entry_is_kept_for_an_hour(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    machine.ask("effect").answered(False)
    clock += 3500
    machine.ask("effect").answered(False)
    assert len(machine.effects) == 1
    clock += 200
    machine.ask("effect").answered(False)
    assert len(machine.effects) == 2


def test_what_an_earlier_run_left_is_kept_for_an_hour_of_this_run(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.ask("effect")
    clock = 5.0  # the machine was booted meanwhile, and its clock began anew
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    machine.start()
    clock += 3500
    machine.ask("effect").answered(False)
    assert len(machine.effects) == 1
    machine.start()
    clock += 3700
    machine.ask("effect")
    assert len(machine.effects) == 2


def test_a_clock_that_jumps_changes_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.ask("effect")
    machine.start()
    monkeypatch.setattr(time, "time", lambda: 1e11)
    monkeypatch.setattr(time, "time_ns", lambda: int(1e20))
    machine.ask("effect").answered(False)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    machine.start()
    machine.ask("effect")
    assert len(machine.effects) == 1


def test_requests_are_settled_while_others_run(machine: Machine) -> None:
    """The journal is entered by the thread of a command and by those that put answers."""
    answered: queue.SimpleQueue[Outstanding | None] = queue.SimpleQueue()

    def settle() -> None:
        while (asked := answered.get()) is not None:
            asked.answered()

    threads = [threading.Thread(target=settle) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(300):
        answered.put(machine.ask("effect", id=str(number % 7)))
    for _ in threads:
        answered.put(None)
    for thread in threads:
        thread.join(PATIENCE)
    assert len(machine.effects) == 300
    machine.journal.close()
    assert not (machine.folder / "journal.db").exists()
