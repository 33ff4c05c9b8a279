"""What is said of commands that go on after their deadline."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

from guestagent_core import Call, CommandSpec
from guestagent_core.deadlines import DeadlineWatch


class Clock:
    """The time of a test, and the calls that run in it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.running: list[Call] = []
        self.wakes = 0
        self.watch = DeadlineWatch(lambda: list(self.running), self._wake, 60.0, "there is no remedy")
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def begin(self, name: str, timeout: float) -> Call:
        call = Call("7", "wire", name, "", "", CommandSpec(name, timeout=timeout), deadline=self.now + timeout)
        self.running.append(call)
        self.watch.began(call)
        return call

    def advance(self, seconds: float) -> None:
        """Lets time pass; looks when that is due, as the agent does."""
        end = self.now + seconds
        while (moment := self.watch.next_look) is not None and moment <= end:
            self.now = max(self.now, moment)
            self.watch.look()
        self.now = end

    def _wake(self) -> None:
        self.wakes += 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Clock:
    caplog.set_level(logging.ERROR)
    return Clock(monkeypatch)


def said(caplog: pytest.LogCaptureFixture) -> list[Any]:
    messages = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return messages


def test_a_command_that_does_not_end_is_reported_twice(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    clock.begin("stuck", 30)
    clock.advance(30.9)
    assert said(caplog) == []
    clock.advance(0.2)
    (late,) = said(caplog)
    assert late.startswith("wire: stuck (7) is past its deadline of 30 s and goes on")
    clock.advance(58)
    assert said(caplog) == []
    clock.advance(2)
    assert said(caplog) == ["wire: stuck (7) does not end; there is no remedy"]
    clock.advance(10_000)
    assert said(caplog) == []
    assert clock.watch.next_look is None


def test_a_command_that_ends_in_time_is_not_reported(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    call = clock.begin("quick", 30)
    clock.advance(29)
    clock.running.remove(call)
    clock.advance(1000)
    assert said(caplog) == []
    assert clock.watch.next_look is None


def test_many_commands_cause_one_look(clock: Clock) -> None:
    for _ in range(100):
        clock.running.remove(clock.begin("quick", 30))
        clock.advance(0.2)
    assert clock.wakes == 1


def test_a_shorter_deadline_comes_first(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    clock.running.remove(clock.begin("long", 600))
    clock.begin("short", 5)
    assert clock.wakes == 2
    clock.advance(7)
    assert len(said(caplog)) == 1


def test_each_late_call_is_reported_by_itself(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for timeout in (5, 10, 300):
        clock.begin(f"c{timeout}", timeout)
    clock.advance(20)
    assert [message.split()[1] for message in said(caplog)] == ["c5", "c10"]
    clock.advance(60)
    assert [message.split()[1] for message in said(caplog)] == ["c5", "c10"]
    clock.advance(240)
    assert [message.split()[1] for message in said(caplog)] == ["c300"]
