"""A machine whose agent crashes, and commands that count what they did."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.core.deliveries import delivering

from guestagent_core import ChannelRunner, CommandBase, CommandRegistry, CommandResult, Context, command
from guestagent_core.calls import Delivery
from guestagent_core.journal import FileJournal


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
