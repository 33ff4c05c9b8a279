"""The command ``resetnetwork``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guestagent_core import CommandBase, CommandResult, command

if TYPE_CHECKING:
    from .model import Change

__all__ = ("NetworkCommands", "Options")

_TIMEOUT = 55.0  # seconds; hosts wait 60


@dataclass(frozen=True)
class Options:
    """The options of ``[commands.net]``."""

    backend: str = ""
    """The backend to use, such as ``netplan``; empty: whoever configures the interface now."""
    remove_without_record: bool = False
    """Whether a host that has published no interface at all orders to remove the configuration of every one."""


class NetworkCommands(CommandBase):
    """Configures the network as the host wants it."""

    Options = Options

    @command("resetnetwork", timeout=_TIMEOUT, examples=("",))
    def resetnetwork(self, value: Any) -> CommandResult:
        """Configures the network as the host has published it, or as ``value`` says.

        ``value`` may be a record of one interface or a list of them, an OpenStack ``network_data.json`` or a cloud-init
        network-config; anything else, such as ``""``, stands for what is in the channel's store. What fails is put back
        before the answer says so.
        """
        from .applying import apply_change

        apply_change(
            self._wanted(value), self.context, until=self.context.deadline, backend=self.context.options.backend or None
        )
        return CommandResult()

    @resetnetwork.resume
    def resume_resetnetwork(self, value: Any) -> CommandResult:
        """Ends what was interrupted, and makes sure that the network is as the host wants it."""
        # Which of both was reached before the interruption does not matter: what is as wanted is not done again.
        return NetworkCommands.resetnetwork(self, value)  # type: ignore[return-value]

    def _wanted(self, value: Any) -> Change:
        from .nics import local_nics
        from .readers.sources import read_store, read_value, says_something

        nics = local_nics(self.context)
        if says_something(value):
            return read_value(value, nics)
        allow_none = self.context.options.remove_without_record
        return read_store(self.context.store, nics, allow_none=allow_none)
