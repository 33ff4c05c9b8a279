"""A pack with an exclusive and a parallel command, for what registries make of packs."""

from __future__ import annotations

from guestagent_core import CommandBase, CommandResult, command


class Net(CommandBase):
    @command("reset")
    def reset(self, value: object) -> CommandResult:
        return CommandResult(0, f"{type(self).__name__} resets {value}")

    @command("show", args=int, parallel=True)
    def show(self, number: int) -> CommandResult:
        return CommandResult(0, f"{type(self).__name__} shows {number + 1}")
