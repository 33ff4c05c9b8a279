"""The registry: how a command is run, and what becomes of what it raises."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest

from guestagent_core import (
    Call,
    CommandBase,
    CommandError,
    CommandNotFoundError,
    CommandRegistry,
    CommandResult,
    CommandRunner,
    CommandSpec,
    Context,
    InvalidArgumentError,
    command,
)
from guestagent_core.calls import Delivery

from .deliveries import delivering
from .packs import Net

PATIENCE = 60.0  # seconds; how long anything may take before it counts as hanging


class Faulty(CommandBase):
    """Commands that do not answer as they should; the secret ones are given what must not be seen."""

    @command("answer", args=lambda value: value)
    def answer(self, value: Any) -> Any:
        return value

    @command("raise")
    def raise_it(self, value: Any) -> Any:
        raise value

    @command("raise.secret", secret=True)
    def raise_secretly(self, value: Any) -> Any:
        raise LookupError(f"cannot find {value}")


def test_a_registry_is_a_runner_by_itself() -> None:
    registry = CommandRegistry([Net])
    assert isinstance(registry, CommandRunner)
    assert registry.run_command("reset", "eth0") == CommandResult(0, "Net resets eth0")
    assert registry.run_command("show", "41") == CommandResult(0, "Net shows 42")
    assert registry.run_command("reset") == CommandResult(0, "Net resets ")


def test_a_command_that_nobody_offers_is_not_found() -> None:
    for name in ("frobnicate", "", "RESET", "__init__"):
        with pytest.raises(CommandNotFoundError, match=f"No such agent command '{name}'"):
            CommandRegistry([Net]).run_command(name)


def test_a_call_of_a_command_that_nobody_offers_is_not_found() -> None:
    with pytest.raises(CommandNotFoundError):
        CommandRegistry([Net]).run(Call("1", "wire", "frobnicate", "", "", CommandSpec("frobnicate")))


def test_an_invalid_argument_does_not_reach_the_command() -> None:
    with pytest.raises(InvalidArgumentError, match="invalid literal for int"):
        CommandRegistry([Net]).run_command("show", "many")


def test_a_plain_tuple_is_a_result() -> None:
    result = CommandRegistry([Faulty]).run_command("answer", ("D0", "done"))
    assert isinstance(result, CommandResult)
    assert result == ("D0", "done")


@pytest.mark.parametrize("rubbish", [None, "text", (1, 2, 3), (None, "")])
def test_rubbish_is_an_error_and_no_result(rubbish: object) -> None:
    with pytest.raises(CommandError, match="'answer' answered something other than"):
        CommandRegistry([Faulty]).run_command("answer", rubbish)


def test_a_command_cannot_exit_the_agent() -> None:
    with pytest.raises(CommandError, match="Command 'raise' tried to exit the agent"):
        CommandRegistry([Faulty]).run_command("raise", SystemExit(1))


def test_an_interrupt_passes_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        CommandRegistry([Faulty]).run_command("raise", KeyboardInterrupt())


def test_a_crash_is_passed_on_and_its_traceback_logged(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ZeroDivisionError):
        CommandRegistry([Faulty]).run_command("raise", ZeroDivisionError("why not"))
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "Command raise () failed" in caplog.text
    assert "in raise_it" in caplog.text
    assert "ZeroDivisionError: why not" in caplog.text


def test_an_error_on_purpose_is_no_crash(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(CommandError, match="on purpose"):
        CommandRegistry([Faulty]).run_command("raise", CommandError("on purpose"))
    assert caplog.records == []


def test_the_log_of_a_secret_commands_crash_has_neither_value_nor_text(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(LookupError):
        CommandRegistry([Faulty]).run_command("raise.secret", "hunter2")
    assert "Command raise.secret () failed with LookupError" in caplog.text
    assert "in raise_secretly" in caplog.text
    assert "hunter2" not in caplog.text
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("name", ["raise", "raise.secret"])
def test_an_id_with_line_breaks_cannot_forge_a_line_of_the_log(caplog: pytest.LogCaptureFixture, name: str) -> None:
    with delivering(Delivery({"id": "7\nERROR forged"})), pytest.raises(LookupError):
        CommandRegistry([Faulty]).run_command(name, LookupError())
    assert r"(7\nERROR forged)" in caplog.text
    assert "\nERROR forged" not in caplog.text


def test_exclusive_commands_wait_for_the_lock_and_parallel_ones_do_not() -> None:
    registry = CommandRegistry([Net])
    place = registry.exclusive.enqueue()
    done: list[str] = []
    thread = threading.Thread(target=lambda: done.append(registry.run_command("reset").message))
    thread.start()
    assert registry.run_command("show", 1).code == 0
    thread.join(0.1)  # in which it would be done, did it not wait
    assert done == []
    place.release()
    thread.join(PATIENCE)
    assert done == ["Net resets "]


@pytest.mark.parametrize("name", ["raise", "raise.secret", "answer"])
def test_a_failure_gives_the_lock_back(name: str) -> None:
    registry = CommandRegistry([Faulty])
    for _ in range(2):
        with pytest.raises((CommandError, LookupError)):
            registry.run_command(name, CommandError("failed"))


def test_the_running_call_is_described() -> None:
    seen: list[Any] = []

    class Looking(CommandBase):
        @command("look", args=str.upper, timeout=5)
        def look(self, value: str) -> CommandResult:
            seen.extend([self.context.call, self.context.commands])
            return CommandResult()

    registry = CommandRegistry([Looking])
    before = time.monotonic()
    with delivering(Delivery({"id": 17, "peer": "uid 0"})):
        registry.run_command("look", "quiet")
    call, commands = seen
    assert (call.id, call.channel, call.name, call.value, call.argument) == ("17", "", "look", "quiet", "QUIET")
    assert (call.peer, call.spec) == ("uid 0", registry.specs["look"])
    assert before + 5 <= call.deadline <= time.monotonic() + 5
    assert set(commands) == {"look"}
    assert "quiet" not in repr(call).lower()


def test_a_command_that_runs_another_one_keeps_its_own_call() -> None:
    seen: list[str] = []

    class Nested(CommandBase):
        @command("outer")
        def outer(self, value: object) -> CommandResult:
            registry.run_command("inner")
            seen.append(self.context.call.name)
            return CommandResult()

        @command("inner", parallel=True)
        def inner(self, value: object) -> CommandResult:
            seen.append(self.context.call.name)
            return CommandResult()

    registry = CommandRegistry([Nested])
    registry.run_command("outer")
    assert seen == ["inner", "outer"]


def test_a_pack_may_take_names_over() -> None:
    class First(CommandBase):
        @command("one")
        def one(self, value: object) -> tuple[int, str]:
            return 0, "first"

        @command("two")
        def two(self, value: object) -> tuple[int, str]:
            return 0, "first"

    class Second(CommandBase):
        @command("one")
        def one(self, value: object) -> tuple[int, str]:
            return 0, "second"

    registry = CommandRegistry([First])
    registry.add(Second(Context()), replace=True)
    assert registry.run_command("one") == (0, "second")
    assert registry.run_command("two") == (0, "first")
