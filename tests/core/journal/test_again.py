"""The journal: what a request that comes again is answered with."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.core.deliveries import delivering

from guestagent_core import (
    ChannelRunner,
    CommandDeniedError,
    CommandError,
    CommandNotFoundError,
    CommandRegistry,
    CommandResult,
    CommandTimeoutError,
    InvalidArgumentError,
)
from guestagent_core.calls import Delivery

from .machine import Machine


def test_an_answered_request_never_suppresses_a_new_one_of_the_same_id(machine: Machine) -> None:
    for _ in range(3):
        assert machine.ask("effect").answered().outcome == (0, "done")
    machine.start()
    machine.ask("effect").answered()
    assert machine.effects == ["effect "] * 4


def test_what_finished_and_was_not_answered_is_not_run_again(machine: Machine) -> None:
    machine.ask("effect")
    machine.start()
    machine.pack.outcome = CommandResult(0, "another")
    assert machine.ask("effect").answered().outcome == (0, "done")
    assert machine.effects == ["effect "]
    assert machine.ask("effect").answered().outcome == (0, "another")


def test_an_answer_that_was_lost_is_given_again(machine: Machine) -> None:
    machine.ask("effect").answered(False)
    assert machine.ask("effect").answered().outcome == (0, "done")
    assert machine.effects == ["effect "]


@pytest.mark.parametrize(
    "other",
    [{"id": "8"}, {"data": b"other data"}, {"value": "other value"}],
    ids=["another id", "other data", "another value"],
)
def test_another_request_is_run(machine: Machine, other: dict[str, Any]) -> None:
    machine.ask("effect")
    machine.start()
    machine.ask("effect", **other)
    assert len(machine.effects) == 2


def test_the_same_request_on_another_channel_is_another_one(machine: Machine) -> None:
    machine.ask("effect")
    machine.start()
    machine.runner = ChannelRunner(CommandRegistry([machine.pack]), "other", journal=machine.journal)
    machine.ask("effect")
    assert len(machine.effects) == 2


def test_two_open_requests_of_one_id_are_two_requests(machine: Machine) -> None:
    first, second = machine.ask("effect"), machine.ask("effect")
    assert len(machine.effects) == 2
    first.answered()
    second.answered()


def test_text_is_the_same_data_as_its_bytes(machine: Machine) -> None:
    machine.ask("effect", data="\u00e4")
    machine.start()
    machine.ask("effect", data="\u00e4".encode())
    assert len(machine.effects) == 1


def test_the_calls_of_one_request_are_told_apart(machine: Machine) -> None:
    def both() -> list[CommandResult]:
        with delivering(Delivery({"id": "7", "data": b"two"})):
            return [machine.runner.run_command("effect", value) for value in (1, 2)]

    machine.pack.outcome = CommandResult(0, "first run")
    both()
    machine.start()
    machine.pack.outcome = CommandResult(0, "second run")
    assert both() == [(0, "first run")] * 2
    assert machine.effects == ["effect 1", "effect 2"]


def test_an_idempotent_command_leaves_no_file(machine: Machine) -> None:
    machine.ask("again").answered()
    assert not machine.folder.exists()


@pytest.mark.parametrize("id", ["", "\udcff", "\0", "7" * 10_000])
def test_any_id_will_do(machine: Machine, id: str) -> None:
    machine.ask("effect", id=id)
    machine.start()
    machine.ask("effect", id=id)
    assert len(machine.effects) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(code=st.integers() | st.text(), message=JSON)
def test_a_result_is_given_again_as_it_was(machine: Machine, code: int | str, message: Any) -> None:
    machine.pack.outcome = CommandResult(code, message)
    machine.ask("effect").answered(False)
    machine.start()
    effects = len(machine.effects)
    again = machine.ask("effect").answered().outcome
    assert again == (code, message)
    assert isinstance(again, CommandResult)
    assert type(again.code) is type(code)
    assert len(machine.effects) == effects


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (CommandError("no", 499), CommandError, 499),
        (CommandNotFoundError("x"), CommandNotFoundError, 404),
        (InvalidArgumentError("no"), InvalidArgumentError, 400),
        (CommandDeniedError("no"), CommandDeniedError, 403),
        (CommandTimeoutError("too long"), CommandTimeoutError, 504),
        (OSError(2, "No such file", "/x"), CommandError, 500),
        (KeyError("x"), CommandError, 500),
        (ValueError(), CommandError, 500),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_a_failure_is_given_again_with_its_code_and_text(
    machine: Machine, error: Exception, kind: type[CommandError], code: int
) -> None:
    machine.pack.outcome = error
    machine.ask("effect")
    machine.start()
    again = machine.ask("effect").outcome
    assert type(again) is kind
    assert (again.code, str(again)) == (code, str(error))
    assert len(machine.effects) == 1


@pytest.mark.parametrize(
    ("message", "text"),
    [(object(), "answered what JSON cannot hold"), ("x" * 65536, "too long to be kept")],
    ids=["no JSON", "too long"],
)
def test_what_cannot_be_kept_is_not_run_again_either(machine: Machine, message: Any, text: str) -> None:
    machine.pack.outcome = CommandResult(0, message)
    assert machine.ask("effect").outcome == (0, message)
    machine.start()
    again = machine.ask("effect").outcome
    assert isinstance(again, CommandError)
    assert text in str(again)
    assert "'effect'" in str(again)
    assert len(machine.effects) == 1
