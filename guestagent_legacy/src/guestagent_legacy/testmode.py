"""The keyword ``testmode`` of ``commands.init``: no password is changed, whichever pack offers the command."""

from __future__ import annotations

from dataclasses import replace

from guestagent_core import CommandBase, CommandError, CommandResult, Context, command
from guestagent_core.agent import Agent
from guestagent_core.config import Config
from guestagent_core.discovery import COMMANDS, Catalogue

__all__ = ("UnchangedPassword", "keep_password", "with_testmode")

_PACKAGE = "guestagent_commands_system"  # whose command knows the mode: it checks a password, and does not set it


def with_testmode(config: Config) -> Config:
    """Returns ``config`` with the mode set for the pack that knows it, if that is on."""
    chosen, _ = Catalogue.installed().choose(COMMANDS, config.agent.commands)
    tables = {plugin.name: {"testmode": True} for plugin in chosen if plugin.package == _PACKAGE}
    return replace(
        config,
        commands={**config.commands, **{name: {**config.commands.get(name, {}), **tables[name]} for name in tables}},
    )


def keep_password(agent: Agent, context: Context) -> None:
    """Replaces the command ``password`` of a pack that does not know the mode by one that refuses."""
    if "password" in agent.registry.specs and not agent.registry.provider("password").startswith(f"{_PACKAGE}."):
        agent.registry.add(UnchangedPassword(context), replace=True)


class UnchangedPassword(CommandBase):
    """Takes the place of the command ``password`` of packs that know no test mode."""

    @command("password", secret=True)
    def password(self, value: object) -> CommandResult:
        """Refuses."""
        raise CommandError("The password is not changed: the agent is in test mode")
