"""A vendor's distribution: a pack of two classes, an exchange, a policy and a subcommand."""

from __future__ import annotations

from dataclasses import dataclass

from guestagent_core import CommandBase, CommandResult, command

__all__ = ("Disks", "Notes")


def _text(value: object) -> str:
    """Returns a note; it has to be text that can be written into a file."""
    if not isinstance(value, str):
        raise TypeError("A note has to be text")
    value.encode()
    return value


class Disks(CommandBase):
    """Commands about disks."""

    @command("acme.uptime", parallel=True)
    def uptime(self, value: object) -> CommandResult:
        """Answers the seconds since the start."""
        return CommandResult(0, self.context.path("/proc/uptime").read_text().split()[0])


class Notes(CommandBase):
    """Commands that keep notes in the guest."""

    @dataclass(frozen=True)
    class Options:
        """What ``[commands.acme]`` takes."""

        folder: str = "/var/lib/acme"

    @command("acme.note", args=_text)
    def note(self, value: str) -> CommandResult:
        """Adds a note."""
        file = self.context.path(f"{self.context.options.folder}/notes")
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as notes:
            notes.write(value + "\n")
        return CommandResult(0, str(len(file.read_text().splitlines())))
