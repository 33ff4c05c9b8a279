"""The commands of both programs."""

from __future__ import annotations

from guestagent_core import CommandBase, CommandResult, command

__all__ = ("Counter",)


class Counter(CommandBase):
    """Counts."""

    value = 0

    @command("counter.add", args=int)
    def add(self, amount: int) -> CommandResult:
        """Adds to the counter, and answers what it is then."""
        self.value += amount
        return CommandResult(0, self.value)
