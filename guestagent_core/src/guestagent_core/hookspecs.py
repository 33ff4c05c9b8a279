"""The hooks: where a plugin of the group ``guestagent.hooks`` can listen, forbid and wrap.

A hooks plugin is a class, an object or a module whose functions of these names are marked with :data:`hookimpl`. A
function takes those of the parameters below that it needs, by name, and gives none of them a default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pluggy import HookimplMarker, HookspecMarker

if TYPE_CHECKING:
    from .agent import Agent
    from .calls import Call
    from .commands import CommandResult
    from .errors import PluginError

__all__ = ("authorize", "hookimpl", "plugin_failed", "run_command", "shutdown", "startup")

_hookspec = HookspecMarker("guestagent")

hookimpl = HookimplMarker("guestagent")
"""Marks a function of a hooks plugin; ``@hookimpl(wrapper=True)`` wraps all others (one ``yield``)."""


@_hookspec
def startup(agent: Agent) -> None:
    """The plugins are loaded and no channel is open yet. A plugin may start threads that end in :func:`shutdown`.

    A plugin that raises here counts as failed: only ``features`` and ``version`` can be run then.
    """


@_hookspec
def shutdown(agent: Agent) -> None:
    """All channels are closed. Called for every plugin that was started, whatever the others do."""


@_hookspec
def plugin_failed(error: PluginError) -> None:
    """A plugin could not be loaded, built or started; the agent goes on without it."""


@_hookspec(firstresult=True)
def authorize(call: Call) -> str | None:
    """Returns the reason to deny ``call``, None to leave it to the others; the first reason counts.

    The call has passed the checks of its channel, and its argument is valid. A plugin that raises here denies the call.
    """


@_hookspec(firstresult=True)
def run_command(call: Call) -> CommandResult:
    """Runs ``call``; the agent's own implementation comes last. Wrap it for an audit or a timing."""
    raise NotImplementedError
