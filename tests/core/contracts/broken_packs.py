"""Packs that each break one clause of the contract: `breaks` says which one. Not collected; see test_broken.py."""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from guestagent_core import CommandBase, CommandError, CommandResult, command
from guestagent_core.testing import CommandPackContract

SECRET = "hunter2-and-more"
_log = logging.getLogger(__name__)


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text, please")
    return value


class Held(CommandPackContract):
    breaks: ClassVar[str]
    samples: ClassVar[dict[str, Any]] = {"one": "hello"}


class TestSound(Held):
    breaks = ""
    samples: ClassVar[dict[str, Any]] = {"one": "hello", "two": SECRET}

    class pack(CommandBase):  # noqa: N801 - the attribute's name
        @command("one", args=text, examples=("hello",))
        def one(self, value: str) -> CommandResult:
            """Writes a file, and has a program run."""
            self.context.path("/etc").mkdir(exist_ok=True)
            self.context.path("/etc/one").write_bytes(value.encode(errors="replace"))
            self.context.run(["sync"])
            return CommandResult(0, self.context.path("/etc/one").read_text(errors="replace"))

        @command("two", secret=True)
        def two(self, value: Any) -> CommandResult:
            """Is given a secret."""
            self.context.run(["chpasswd"], input=repr(value).encode())
            return CommandResult()


class TestLeavesOneOut(Held):
    breaks = "test_every_command_has_a_sample"

    class pack(CommandBase):  # noqa: N801
        @command("one")
        def one(self, value: Any) -> CommandResult:
            """Does nothing."""
            return CommandResult()

        @command("two")
        def two(self, value: Any) -> CommandResult:
            """Does nothing."""
            return CommandResult()


class TestHasASampleTooMany(Held):
    breaks = "test_every_command_has_a_sample"
    samples: ClassVar[dict[str, Any]] = {"one": "", "three": ""}
    pack = TestLeavesOneOut.pack


class TestSaysNothing(Held):
    breaks = "test_every_command_is_documented"

    class pack(CommandBase):  # noqa: N801
        @command("one")
        def one(self, value: Any) -> CommandResult:
            return CommandResult()


class TestAnswersAnObject(Held):
    breaks = "test_samples_are_answered"

    class pack(CommandBase):  # noqa: N801
        @command("one")
        def one(self, value: Any) -> CommandResult:
            """Answers what no wire can carry."""
            return CommandResult(0, {1, 2})


class TestFails(Held):
    breaks = "test_samples_are_answered"

    class pack(CommandBase):  # noqa: N801
        @command("one")
        def one(self, value: Any) -> CommandResult:
            """Fails."""
            raise CommandError("never")


class TestGivesAWrongExample(Held):
    breaks = "test_examples_are_valid"

    class pack(CommandBase):  # noqa: N801
        @command("one", args=text, examples=(5,))
        def one(self, value: str) -> CommandResult:
            """Does nothing."""
            return CommandResult()


class TestTrustsTheHost(Held):
    breaks = "test_strange_values_are_answered_or_refused"

    class pack(CommandBase):  # noqa: N801
        @command("one")
        def one(self, value: Any) -> CommandResult:
            """Expects text."""
            return CommandResult(0, value.upper())


class TestLogsASecret(Held):
    breaks = "test_secrets_do_not_reach_the_log"
    samples: ClassVar[dict[str, Any]] = {"one": SECRET}

    class pack(CommandBase):  # noqa: N801
        @command("one", secret=True)
        def one(self, value: Any) -> CommandResult:
            """Is told a secret."""
            _log.debug("got %s", value)
            return CommandResult()


class TestRaisesASecret(Held):
    breaks = "test_secrets_do_not_reach_the_log"
    samples: ClassVar[dict[str, Any]] = {"one": SECRET}

    class pack(CommandBase):  # noqa: N801
        @command("one", secret=True)
        def one(self, value: Any) -> CommandResult:
            """Is told a secret."""
            raise CommandError(f"{value} is too weak")


class TestShowsASecretToEveryUser(Held):
    breaks = "test_secrets_do_not_reach_the_log"
    samples: ClassVar[dict[str, Any]] = {"one": {"user": "root", "password": SECRET}}
    secrets = (SECRET,)

    class pack(CommandBase):  # noqa: N801
        @command("one", secret=True, args=dict)
        def one(self, value: dict[str, Any]) -> CommandResult:
            """Is told a secret."""
            self.context.run(["passwd", str(value.get("password"))])
            return CommandResult()


class TestReadsTheMachine(Held):
    breaks = "test_it_stays_within_its_root"

    class pack(CommandBase):  # noqa: N801
        @command("one")
        def one(self, value: Any) -> CommandResult:
            """Reads a file of the machine."""
            return CommandResult(0, Path("/proc/uptime").read_text())


class TestWritesOutside(Held):
    breaks = "test_it_stays_within_its_root"

    class pack(CommandBase):  # noqa: N801
        @command("one")
        def one(self, value: Any) -> CommandResult:
            """Writes where it likes."""
            with tempfile.NamedTemporaryFile() as file:
                return CommandResult(0, file.name)


class TestIsLedOutside(Held):
    breaks = "test_it_stays_within_its_root"

    class pack(CommandBase):  # noqa: N801
        @command("one", args=text)
        def one(self, value: str) -> CommandResult:
            """Writes where the host likes, if it can."""
            try:
                (self.context.root / value).write_text("x")
            except (OSError, ValueError) as error:
                raise CommandError("cannot be written") from error
            return CommandResult()


class TestWritesBesideTheAgent(Held):
    breaks = "test_it_stays_within_its_root"

    class pack(CommandBase):  # noqa: N801
        @command("one")
        def one(self, value: Any) -> CommandResult:
            """Writes a file into the current folder."""
            Path("one.json").write_text("{}")
            return CommandResult()


class TestRunsAProgramByItself(Held):
    breaks = "test_it_stays_within_its_root"

    class pack(CommandBase):  # noqa: N801
        @command("one")
        def one(self, value: Any) -> CommandResult:
            """Runs a program."""
            return CommandResult(subprocess.call(["/bin/true"]))


class TestAsksAShell(Held):
    breaks = "test_it_stays_within_its_root"

    class pack(CommandBase):  # noqa: N801
        @command("one")
        def one(self, value: Any) -> CommandResult:
            """Runs a program."""
            return CommandResult(os.system("true"))


class TestIsNotInstalled(Held):
    breaks = "test_it_is_found_by_its_entry_point"
    entry_point = "nowhere"
    pack = TestSound.pack


class TestIsAnotherOne(Held):
    breaks = "test_it_is_found_by_its_entry_point"
    entry_point = "builtin"
    pack = TestSound.pack
