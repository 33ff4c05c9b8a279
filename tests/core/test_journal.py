"""The journal: what a request that comes again after a crash is answered with."""

from __future__ import annotations

import json
import logging
import queue
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unmeasured import unmeasured

from guestagent_core import (
    ChannelRunner,
    CommandBase,
    CommandDeniedError,
    CommandError,
    CommandNotFoundError,
    CommandRegistry,
    CommandResult,
    CommandTimeoutError,
    Context,
    InvalidArgumentError,
    command,
)
from guestagent_core.calls import Delivery, current_delivery
from guestagent_core.journal import FileJournal

PATIENCE = 60.0  # seconds


class CrashError(KeyboardInterrupt):
    """Stands for the end of the process: nothing that comes after it is done."""


class Pack(CommandBase):
    """Commands that count what they did, in a list that outlives every agent."""

    def __init__(self, effects: list[str], context: Context | None = None) -> None:
        super().__init__(context or Context())
        self.effects = effects
        self.outcome: Any = CommandResult(0, "done")
        self.crashes = False
        self.after: list[list[str]] = []

    def work(self, what: str) -> Any:
        self.effects.append(what)
        if self.crashes:
            raise CrashError
        for argv in self.after:
            self.context.after_answer(argv)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    @command("effect")
    def effect(self, value: Any) -> CommandResult:
        result: CommandResult = self.work(f"effect {value}")
        return result

    @command("secret", secret=True)
    def secret(self, value: Any) -> CommandResult:
        result: CommandResult = self.work("secret")
        return result

    @command("again", idempotent=True)
    def again(self, value: Any) -> CommandResult:
        result: CommandResult = self.work("again")
        return result

    @command("resumable")
    def resumable(self, value: Any) -> CommandResult:
        result: CommandResult = self.work(f"resumable {value}")
        return result

    @resumable.resume
    def take_up(self, value: Any) -> CommandResult:
        result: CommandResult = self.work(f"taken up {value}, {self.context.call.resumed}")
        return result


class Machine:
    """A machine whose agent crashes: each run of it has a journal in the same folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.effects: list[str] = []
        self.started: list[list[str]] = []
        self.pack = Pack(self.effects, Context(programs=self))  # type: ignore[arg-type]
        self.journals: list[FileJournal] = []
        self.start()

    def detach(self, argv: Sequence[str], *, service_manager: bool = False) -> None:
        self.started.append(list(argv))

    def start(self) -> None:
        """Starts the agent anew, as after a crash."""
        for journal in self.journals:
            crash(journal)
        self.journal = FileJournal(self.folder, self.detach)
        self.journals.append(self.journal)
        self.runner = ChannelRunner(CommandRegistry([self.pack]), "wire", journal=self.journal)
        self.journal.recover()

    def ask(self, name: str, value: Any = "", *, id: str | None = "7", data: Any = None) -> Outstanding:
        """Runs a command for a request, whose answer is then still to be put."""
        request = {"data": json.dumps([name, value]).encode() if data is None else data}
        return Outstanding(self.runner, {**request, **({} if id is None else {"id": id})}, name, value)

    def close(self) -> None:
        for journal in self.journals:
            journal.close()

    def rows(self) -> list[tuple[Any, ...]]:
        """Returns what is in the file, which the agent must not have open."""
        with closing(sqlite3.connect(self.folder / "journal.db")) as connection:
            return connection.execute("SELECT command, state, outcome, actions FROM entries").fetchall()


def crash(journal: FileJournal) -> None:
    """Leaves the file as an agent that is killed leaves it, and lets another one have it."""
    journal._ending.set()
    file = journal._file
    if file._entries is not None:
        file._entries.close()
        file._entries = None
    file.attempt = lambda work: None  # type: ignore[method-assign]


class Outstanding:
    """A request whose command has been run."""

    def __init__(self, runner: ChannelRunner, request: dict[str, Any], name: str, value: Any) -> None:
        self.delivery = Delivery(request)
        self.outcome: CommandResult | BaseException
        with delivering(self.delivery):
            try:
                self.outcome = runner.run_command(name, value)
            except BaseException as error:
                self.outcome = error

    def answered(self, delivered: bool = True) -> Outstanding:
        self.delivery.settle(delivered)
        return self


@contextmanager
def delivering(delivery: Delivery) -> Iterator[None]:
    token = current_delivery.set(delivery)
    try:
        yield
    finally:
        current_delivery.reset(token)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "state")
    yield machine
    machine.close()


# A request that comes again


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


# What is on record

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


# Interrupted


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


# Programs after the answer


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


def until(condition: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(int(PATIENCE / 0.01)):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("It did not come to that")


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


# The file


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
    import hashlib

    machine.ask("effect", "plain-value")
    machine.ask("secret", "hidden-value", id="8")
    machine.start()
    content = b"".join(path.read_bytes() for path in machine.folder.iterdir())
    digests = [hashlib.sha256(json.dumps(data).encode()).digest() for data in (["effect", "plain-value"],)]
    assert all(digest in content for digest in digests)
    assert b"-value" not in content
    assert hashlib.sha256(json.dumps(["secret", "hidden-value"]).encode()).digest() not in content
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


def test_programs_are_started_without_a_journal_too(machine: Machine) -> None:
    machine.folder.write_text("a file, not a folder")
    machine.pack.after = [["one"]]
    machine.ask("effect").answered()
    assert machine.started == [["one"]]


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


def test_an_agent_that_has_not_run_such_a_command_has_not_loaded_sqlite() -> None:
    program = "import sys, guestagent_core.agent, guestagent_core.service\nprint(*sys.modules)"
    argv = [sys.executable, "-I", "-c", program]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=unmeasured())
    assert "guestagent_core.journal" in done.stdout.split()
    assert not {"sqlite3", "hmac", "guestagent_core.entries"} & set(done.stdout.split())


# Bounds


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
    asked = [machine.ask("effect", id=str(number)) for number in range(30)]
    machine.start()
    machine.ask("effect", id="29")
    assert len(machine.effects) == 30
    assert len(asked) == 30


def test_an_entry_is_kept_for_an_hour(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

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
    import time

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
    import time

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
