"""The keyword ``testmode`` of ``commands.init``: no password of today's packs is changed."""

from __future__ import annotations

from guestagent_core import CommandBase, CommandError, CommandResult, command

__all__ = ("UnchangedPassword",)


class UnchangedPassword(CommandBase):
    """Takes the place of the command ``password`` of today's packs, which know no test mode."""

    @command("password", secret=True)
    def password(self, value: object) -> CommandResult:
        """Refuses."""
        raise CommandError("The password is not changed: the agent is in test mode")
