"""The commands that every agent has: ``features`` and ``version``."""

from __future__ import annotations

from .commands import CommandBase, CommandResult, command
from .version import VERSION

__all__ = ("Builtin",)


class Builtin(CommandBase):
    """Tells the host what it may ask for."""

    @command("features", parallel=True, examples=("",))
    def features(self, value: object) -> CommandResult:
        """Answers the names of the commands that this channel may run, joined by commas."""
        return CommandResult(0, ",".join(sorted(self.context.commands)))

    @command("version", parallel=True, examples=("agent",))
    def version(self, value: object) -> CommandResult:
        """Answers the agent's version: dotted numbers, which hosts compare."""
        return CommandResult(0, VERSION)
