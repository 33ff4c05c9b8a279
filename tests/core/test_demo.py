"""What a demo shows of the guest's files."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestagent_core import ChannelRunner, CommandBase, CommandRegistry, CommandResult, Context, Dispatcher, command
from guestagent_core.client import LocalClient
from guestagent_core.demo import DemoClient
from guestagent_core.local import LocalExchange
from guestagent_json import JsonParser


class Files(CommandBase):
    @command("write")
    def write(self, value: dict[str, str]) -> CommandResult:
        for path, content in value.items():
            self.context.path(path).write_bytes(content.encode("latin-1"))
        return CommandResult()

    @command("remove")
    def remove(self, value: str) -> CommandResult:
        self.context.path(value).unlink()
        return CommandResult()

    @command("close")
    def close(self, value: str) -> CommandResult:
        self.context.path(value).chmod(0o600)
        return CommandResult()


@pytest.fixture
def shown(folder: Path, tmp_path: Path) -> Iterator[tuple[DemoClient, list[str]]]:
    lines: list[str] = []
    exchange = LocalExchange(LocalExchange.Options(path=folder / "agent.sock"))
    registry = CommandRegistry([Files], Context(root=tmp_path))
    dispatcher = Dispatcher(exchange, JsonParser(ChannelRunner(registry)))
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    with LocalClient(folder / "agent.sock") as client:
        yield DemoClient(client, tmp_path, lines.append), lines
    dispatcher.stop()
    thread.join()
    exchange.close()


def test_what_a_command_changes_is_shown_as_a_diff(shown: tuple[DemoClient, list[str]]) -> None:
    client, lines = shown
    assert client.call("write", {"/motd": "hello\nworld\n"}) == ("0", "")
    assert lines[0].startswith('  -> {"name": "write"')
    assert lines[1].startswith('  <- {"message": "", "returncode": "0"}   (')
    assert lines[2:] == ["     /motd: mode 100644", "       @@ -0,0 +1,2 @@", "       +hello", "       +world"]
    lines.clear()
    client.call("write", {"/motd": "hello\nmoon\n"})
    assert lines[2:] == [
        "     /motd: changed",
        "       @@ -1,2 +1,2 @@",
        "        hello",
        "       -world",
        "       +moon",
    ]
    lines.clear()
    client.call("close", "/motd")
    assert lines[2:] == ["     /motd: mode 100600"]
    lines.clear()
    client.call("remove", "/motd")
    assert lines[2] == "     /motd: removed"


def test_binary_files_are_only_counted(shown: tuple[DemoClient, list[str]]) -> None:
    client, lines = shown
    client.call("write", {"/data": "\0\xff"})
    assert lines[2:] == ["     /data: mode 100644", "       0 -> 2 bytes"]


def test_what_changes_nothing_shows_nothing(shown: tuple[DemoClient, list[str]]) -> None:
    client, lines = shown
    client.call("nosuch")
    assert len(lines) == 2
