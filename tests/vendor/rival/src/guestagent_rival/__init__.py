"""Another vendor's distribution, which offers a name that is taken."""

from guestagent_core import CommandBase, CommandResult, command

__all__ = ("Rival",)


class Rival(CommandBase):
    """A pack that must never run beside acme's."""

    @command("rival")
    def rival(self, value: object) -> CommandResult:
        """Answers nothing."""
        return CommandResult()
