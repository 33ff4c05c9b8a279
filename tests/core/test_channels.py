"""The runner of a channel: what it may run, and in which order that is checked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from guestagent_core import (
    Call,
    ChannelRunner,
    CommandBase,
    CommandDeniedError,
    CommandError,
    CommandNotFoundError,
    CommandRegistry,
    CommandResult,
    CommandRunner,
    Context,
    InvalidArgumentError,
    Request,
    command,
)
from guestagent_core.calls import CallAbandonedError, Delivery
from guestagent_core.locks import FifoLock, Place

from .deliveries import delivering

PATIENCE = 60.0  # seconds; how long anything may take before it counts as hanging


class Pack(CommandBase):
    """Commands that note in ``events`` that they run."""

    def __init__(self, events: list[Any]) -> None:
        super().__init__(Context())
        self.events = events

    def note(self) -> CommandResult:
        self.events.append("command")
        return CommandResult(0, f"ran {self.context.call.name}")

    @command("exclusive", args=int, timeout=50)
    def exclusive(self, value: int) -> CommandResult:
        return self.note()

    @command("again", args=int, idempotent=True)
    def again(self, value: int) -> CommandResult:
        return self.note()

    @command("parallel", args=int, parallel=True)
    def parallel(self, value: int) -> CommandResult:
        return self.note()

    @command("version", parallel=True)
    def version(self, value: object) -> CommandResult:
        return self.note()


class Recorder:
    """A hooks plugin, a journal and a dispatcher that note what they are asked, and whether the lock is held then."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.registry = CommandRegistry([Pack(self.events)])
        self.lockdown = None
        self.denial: str | None = None
        self.calls: list[Call] = []
        self.requests: list[Request] = []

    def authorize(self, call: Call) -> str | None:
        self._note("authorize", call)
        return self.denial

    def run_command(self, call: Call) -> CommandResult:
        self._note("hook", call)
        return self.registry.run(call)

    def run(
        self,
        call: Call,
        request: Request,
        command: Callable[[], CommandResult],
        resume: Callable[[], CommandResult] | None = None,
    ) -> CommandResult:
        self._note("journal", call)
        self.requests.append(request)
        return command()

    def runner(self, **options: Any) -> ChannelRunner:
        return ChannelRunner(self.registry, "wire", hooks=self, journal=self, **options)

    def _note(self, what: str, call: Call) -> None:
        self.events.append(f"{what}, locked" if is_held(self.registry.exclusive) else what)
        self.calls.append(call)


def is_held(lock: FifoLock) -> bool:
    """Whether somebody else holds ``lock``: only a place that does not hold it can be cancelled."""
    place = lock.enqueue()
    place.cancel()
    place.release()
    return place.cancelled


class HandedOver(Delivery):
    """A delivery whose loop is handed over: what a dispatcher would do then."""

    def __init__(self, request: Request, on_hand_over: Callable[[Place], object]) -> None:
        super().__init__(request)
        self.hand_over = on_hand_over  # type: ignore[method-assign, assignment]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


# The order of the checks


def test_an_exclusive_command_passes_everything_in_order(recorder: Recorder) -> None:
    with delivering(HandedOver({"id": "7"}, lambda place: recorder.events.append("hand over"))) as delivery:
        result = recorder.runner().run_command("exclusive", "5")
    assert result == (0, "ran exclusive")
    assert recorder.events == ["authorize", "hand over", "journal, locked", "hook, locked", "command"]
    assert recorder.requests == [delivery.request]
    assert delivery.call is None
    assert not is_held(recorder.registry.exclusive)


def test_a_parallel_command_takes_neither_lock_nor_journal_and_is_not_handed_over(recorder: Recorder) -> None:
    with delivering(HandedOver({}, lambda place: recorder.events.append("hand over"))):
        recorder.runner().run_command("parallel", "5")
    assert recorder.events == ["authorize", "hook", "command"]


def test_an_idempotent_command_is_not_journalled(recorder: Recorder) -> None:
    recorder.runner().run_command("again", "5")
    assert recorder.events == ["authorize", "hook, locked", "command"]


def test_a_name_that_is_not_allowed_is_denied_before_anything_else_is_asked(recorder: Recorder) -> None:
    runner = recorder.runner(allow=["parallel"])
    for name in ("exclusive", "no such command"):  # whether it exists is nobody's business
        with pytest.raises(CommandDeniedError, match=rf"^Command '{name}' is not allowed on channel 'wire'$"):
            runner.run_command(name, "rubbish")
    assert recorder.events == []


def test_a_command_must_exist_before_its_argument_counts(recorder: Recorder) -> None:
    with pytest.raises(CommandNotFoundError, match="No such agent command 'none'"):
        recorder.runner().run_command("none", "rubbish")
    assert recorder.events == []


def test_the_argument_must_be_valid_before_a_policy_is_asked(recorder: Recorder) -> None:
    recorder.denial = "never"
    with pytest.raises(InvalidArgumentError):
        recorder.runner().run_command("exclusive", "rubbish")
    assert recorder.events == []


@pytest.mark.parametrize("name", ["exclusive", "parallel"])
def test_a_policy_denies_before_anything_is_waited_for(recorder: Recorder, name: str) -> None:
    recorder.denial = "not on Sundays"
    holder = recorder.registry.exclusive.enqueue()  # whoever waited would hang
    with pytest.raises(CommandDeniedError, match=r"^not on Sundays$"):
        recorder.runner().run_command(name, "5")
    assert recorder.events == ["authorize, locked"]
    holder.release()


def test_a_call_that_is_cancelled_while_it_waits_is_not_run(recorder: Recorder) -> None:
    holder = recorder.registry.exclusive.enqueue()
    with delivering(HandedOver({}, Place.cancel)), pytest.raises(CallAbandonedError):
        recorder.runner().run_command("exclusive", "5")
    assert recorder.events == ["authorize, locked"]
    holder.release()
    assert not is_held(recorder.registry.exclusive)


@pytest.mark.parametrize("error", [CommandError("failed"), ZeroDivisionError(), KeyboardInterrupt()])
def test_the_lock_is_given_back_after_a_failure(recorder: Recorder, error: BaseException) -> None:
    def fail(place: Place) -> None:
        raise error

    with delivering(HandedOver({}, fail)), pytest.raises(type(error)):
        recorder.runner().run_command("exclusive", "5")
    assert not is_held(recorder.registry.exclusive)


def test_hooks_and_journal_may_be_missing(recorder: Recorder) -> None:
    runner = ChannelRunner(recorder.registry)
    assert isinstance(runner, CommandRunner)
    assert runner.run_command("exclusive", "5") == (0, "ran exclusive")
    assert runner.run_command("parallel", "5") == (0, "ran parallel")


def test_a_wrapper_answers_in_the_commands_place(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "run_command", lambda call: CommandResult(1, "from the hook"))
    assert recorder.runner().run_command("exclusive", "5") == (1, "from the hook")
    monkeypatch.setattr(recorder, "run", lambda call, *others: CommandResult(2, "on record"))
    assert recorder.runner().run_command("exclusive", "5") == (2, "on record")
    assert "command" not in recorder.events


# The call


def test_hooks_and_journal_see_the_call(recorder: Recorder) -> None:
    with delivering(Delivery({"id": 17, "peer": "uid 0"})):
        recorder.runner().run_command("exclusive", "5")
    for call in recorder.calls:
        assert (call.id, call.channel, call.name, call.value, call.argument) == ("17", "wire", "exclusive", "5", 5)
        assert (call.peer, call.spec) == ("uid 0", recorder.registry.specs["exclusive"])


def test_calls_without_an_id_are_numbered(recorder: Recorder) -> None:
    runner = recorder.runner()
    for _ in range(2):
        runner.run_command("version")
    assert list(dict.fromkeys(call.id for call in recorder.calls)) == ["#1", "#2"]


def test_the_deadline_counts_from_the_moment_the_lock_is_held(recorder: Recorder) -> None:
    holder = recorder.registry.exclusive.enqueue()
    waits = threading.Event()

    def run() -> None:
        with delivering(HandedOver({}, lambda place: waits.set())):
            recorder.runner().run_command("exclusive", "5")

    thread = threading.Thread(target=run)
    thread.start()
    assert waits.wait(PATIENCE)
    released = time.monotonic()
    holder.release()
    thread.join(PATIENCE)
    authorized, journalled, run_by_hook = recorder.calls
    assert authorized.deadline is None
    assert journalled.deadline is not None
    assert released + 50 <= journalled.deadline <= time.monotonic() + 50
    assert run_by_hook is journalled


def test_the_calls_that_run_are_known(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[Call] = []
    runner = recorder.runner(on_begin=began.append)
    running: list[list[Call]] = []

    def run_command(call: Call) -> CommandResult:
        running.append(runner.running())
        return CommandResult()

    monkeypatch.setattr(recorder, "run_command", run_command)
    for name in ("exclusive", "parallel"):
        runner.run_command(name, "5")
    exclusive, parallel = [call for call in recorder.calls if call.deadline is not None]
    assert running == [[exclusive], [parallel]]
    assert runner.running() == []
    assert began == [exclusive]


def test_the_deadline_of_a_parallel_command_is_known_at_once(recorder: Recorder) -> None:
    before = time.monotonic()
    recorder.runner().run_command("parallel", "5")
    deadlines = {call.deadline for call in recorder.calls}
    assert len(deadlines) == 1
    assert before + 30 <= (deadlines.pop() or 0) <= time.monotonic() + 30
