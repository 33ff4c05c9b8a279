"""What commands let the host see without being asked."""

from __future__ import annotations

import logging

import pytest

from guestagent_core import ChannelRunner, CommandBase, CommandRegistry, CommandResult, Context, ExchangeError, command


class Board:
    """A store that keeps what is written."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.full = False

    def read(self, path: str) -> bytes | None:
        return self.values.get(path)

    def list(self, path: str) -> list[str]:
        return []

    def write(self, path: str, value: bytes) -> None:
        if self.full:
            raise ExchangeError("the store is full")
        self.values[path] = value

    def remove(self, path: str) -> None:
        self.values.pop(path, None)


class Service(CommandBase):
    """Publishes what it is asked to."""

    @command("acme.publish")
    def publish(self, value: list[str]) -> CommandResult:
        """Publishes a value under a service and a key."""
        self.context.publish(*value)
        return CommandResult()


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
def context() -> Context:
    return Context()


@pytest.fixture
def runner(board: Board, context: Context) -> ChannelRunner:
    return ChannelRunner(CommandRegistry([Service], context), store=board)


def test_a_value_goes_to_the_store_of_the_channel(runner: ChannelRunner, board: Board) -> None:
    runner.run_command("acme.publish", ["backup", "state", "running"])
    runner.run_command("acme.publish", ["backup", "state", "done"])
    assert board.values == {"data/service/backup/state": b"done"}


def test_somebody_else_may_do_the_writing(runner: ChannelRunner, board: Board, context: Context) -> None:
    told: list[dict[str, str]] = []
    context.publications.publish_by(lambda: told.append(dict(context.publications.values())))
    runner.run_command("acme.publish", ["backup", "state", "running"])
    assert told == [{"backup/state": "running"}]
    assert board.values == {}
    context.publications.publish_by(None)
    runner.run_command("acme.publish", ["backup", "state", "done"])
    assert board.values == {"data/service/backup/state": b"done"}


def test_a_store_that_fails_does_not_fail_the_command(
    runner: ChannelRunner, board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    board.full = True
    assert runner.run_command("acme.publish", ["backup", "state", "done"]) == CommandResult()
    assert "backup/state is not published: the store is full" in caplog.text


def test_a_channel_that_cannot_show_it_says_so_while_debugging(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ChannelRunner(CommandRegistry([Service], context)).run_command("acme.publish", ["backup", "state", "done"])
    assert "backup/state is not published" in caplog.text
    assert [record.levelname for record in caplog.records if "published" in record.message] == ["DEBUG"]


@pytest.mark.parametrize(
    "value",
    [
        ["", "state", "x"],
        ["backup", "a/b", "x"],
        ["backup", "état", "x"],
        ["b" * 65, "state", "x"],
        ["backup", "state", "x" * 1025],
    ],
)
def test_what_no_store_takes_is_an_error(runner: ChannelRunner, board: Board, value: list[str]) -> None:
    with pytest.raises(ValueError, match=r"published|1024 bytes"):
        runner.run_command("acme.publish", value)
    assert board.values == {}


def test_there_is_a_limit(runner: ChannelRunner, board: Board) -> None:
    for number in range(256):
        runner.run_command("acme.publish", ["backup", f"key{number}", "x"])
    with pytest.raises(ValueError, match="256 values already"):
        runner.run_command("acme.publish", ["backup", "one-more", "x"])
    runner.run_command("acme.publish", ["backup", "key0", "y"])
    assert board.values["data/service/backup/key0"] == b"y"


def test_outside_a_call_there_is_nothing_to_publish_by(context: Context) -> None:
    with pytest.raises(RuntimeError, match="No command is running"):
        context.publish("backup", "state", "done")
