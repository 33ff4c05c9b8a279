"""What the log of a channel says of each call, and what it never says."""

from __future__ import annotations

import logging
import re
import time
import urllib.error
from email.message import Message
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guestagent_core import ChannelRunner, CommandBase, CommandError, CommandRegistry, CommandResult, channels, command
from guestagent_core.calls import Delivery

from .deliveries import delivering

SECRET = "hunter2"


def parse(value: Any) -> Any:
    if value == f"bad {SECRET}":
        raise ValueError(f"cannot take {value}")
    return value


class Pack(CommandBase):
    """Commands that answer or raise what they are given."""

    def perform(self, value: Any) -> Any:
        if isinstance(value, BaseException):
            raise value
        return value if isinstance(value, tuple) else CommandResult(0, value)

    @command("open", args=parse)
    def open(self, value: Any) -> Any:
        return self.perform(value)

    @command("secret", args=parse, secret=True)
    def secret(self, value: Any) -> Any:
        return self.perform(value)


def run(name: str, value: Any = "", **request: Any) -> None:
    """Runs a command and does without its result."""
    with delivering(Delivery(request)):
        try:
            ChannelRunner(CommandRegistry([Pack]), "wire", deny=["denied"]).run_command(name, value)
        except Exception:
            return


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


NOT_FOUND = urllib.error.HTTPError("http://example.com", 404, "Not Found", Message(), None)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("open", "fine", r"wire: open 7: 0 in \d+\.\d ms"),
        ("open", ("D0", "x"), r"wire: open 7: D0 in \d+\.\d ms"),
        ("secret", SECRET, r"wire: secret 7: 0 in \d+\.\d ms"),
        ("open", CommandError("failed", 409), r"wire: open 7: 409 in \d+\.\d ms"),
        ("open", ZeroDivisionError("x"), r"wire: open 7: 500 in \d+\.\d ms"),
        ("open", NOT_FOUND, r"wire: open 7: 500 in \d+\.\d ms"),  # that code is not ours
        ("open", f"bad {SECRET}", r"wire: open 7: 400 in \d+\.\d ms"),
        ("denied", SECRET, r"wire: 'denied' 7: 403 in \d+\.\d ms"),
        ("none", SECRET, r"wire: 'none' 7: 404 in \d+\.\d ms"),
    ],
)
def test_the_log_says_who_ran_what_and_how_it_ended(
    caplog: pytest.LogCaptureFixture, name: str, value: Any, expected: str
) -> None:
    caplog.set_level(logging.INFO, "guestagent_core")
    run(name, value, id="7")
    (line,) = lines(caplog, logging.INFO)
    assert re.fullmatch(expected, line)
    assert SECRET not in line


def test_the_log_has_the_traceback_of_a_crash_once(caplog: pytest.LogCaptureFixture) -> None:
    run("open", ZeroDivisionError("why not"), id="7")
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "Command open (7) failed")
    assert "in perform" in caplog.text
    assert "ZeroDivisionError: why not" in caplog.text


def test_the_log_says_how_long_a_call_took(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([10.0, 10.25])
    clock = SimpleNamespace(perf_counter=lambda: next(moments), monotonic=time.monotonic)
    monkeypatch.setattr(channels, "time", clock)
    caplog.set_level(logging.INFO, "guestagent_core")
    run("open", id="7")
    assert lines(caplog, logging.INFO) == ["wire: open 7: 0 in 250.0 ms"]
    assert caplog.records[0].__dict__["call"]["ms"] == 250


def test_a_call_without_an_id_has_a_number(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "guestagent_core")
    run("open")
    assert lines(caplog, logging.INFO)[0].startswith("wire: open #1: 0 in ")


def test_values_are_in_the_log_only_for_debugging(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "guestagent_core")
    run("open", "a value")
    run("open", "bad value")
    assert "value" not in caplog.text
    caplog.set_level(logging.DEBUG, "guestagent_core")
    run("open", "a value")
    assert lines(caplog, logging.DEBUG) == ["wire: open value 'a value'"]


def test_for_debugging_the_log_has_the_error_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "guestagent_core")
    run("open", f"bad {SECRET}")
    assert lines(caplog, logging.DEBUG) == [
        f"wire: open value 'bad {SECRET}'",
        f"wire: open error 'cannot take bad {SECRET}'",
    ]


def test_the_log_has_the_fields_of_a_call_for_machines_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "guestagent_core")
    run("open", ("D0", "x"), id="7\n")
    fields = dict(caplog.records[0].__dict__["call"])
    milliseconds = fields.pop("ms")
    assert isinstance(milliseconds, float)
    assert fields == {"channel": "wire", "command": "open", "id": r"7\n", "code": "D0"}


def test_a_value_that_is_nested_too_deeply_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "guestagent_core")
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    run("open", value)
    assert lines(caplog, logging.DEBUG) == ["wire: open value <nested too deeply to be shown>"]


@pytest.mark.parametrize(
    "value",
    [
        SECRET,
        {"key": [SECRET]},
        f"bad {SECRET}",
        CommandError(f"cannot use {SECRET}"),
        RuntimeError(f"cannot use {SECRET}"),
        SystemExit(SECRET),
    ],
)
def test_the_value_of_a_secret_command_is_never_in_the_log(caplog: pytest.LogCaptureFixture, value: Any) -> None:
    caplog.set_level(logging.DEBUG)
    run("secret", value)
    assert "wire: secret value <hidden>" in lines(caplog, logging.DEBUG)
    assert SECRET not in caplog.text


@pytest.mark.parametrize("name", ["secrte", "denied"])
def test_the_value_of_an_unknown_command_is_never_in_the_log(caplog: pytest.LogCaptureFixture, name: str) -> None:
    caplog.set_level(logging.DEBUG)
    run(name, SECRET)
    assert lines(caplog, logging.DEBUG) == [f"wire: {name!r} value <hidden>"]
    assert SECRET not in caplog.text


def test_long_names_values_and_errors_are_cut(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "guestagent_core.channels")
    run("n" * 10_000)
    run("open", "v" * 10_000)
    run("open", CommandError("e" * 10_000))
    assert all(len(record.getMessage()) < 1100 for record in caplog.records)
    assert len(caplog.records) == 7


TEXT = st.text(st.sampled_from("ab\n\r\x00\x1b\x85\u2028 'é"), max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=st.one_of(st.just("open"), TEXT), value=TEXT, identifier=TEXT, code=TEXT, fails=st.booleans())
def test_nothing_from_outside_can_forge_a_line(
    caplog: pytest.LogCaptureFixture, name: str, value: str, identifier: str, code: str, fails: bool
) -> None:
    caplog.clear()
    caplog.set_level(logging.DEBUG, "guestagent_core.channels")
    answer: Any = CommandError(value) if fails else (code, value)
    run(name, answer, id=identifier)
    assert 2 <= len(caplog.records) <= 3
    for record in caplog.records:
        assert record.getMessage().isprintable()
        assert record.getMessage().isascii()
