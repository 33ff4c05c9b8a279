"""Each hook behind one typed method; the only place that calls pluggy.

A listener cannot break the agent: what it raises is logged. A policy cannot fail open: what it raises denies.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

from pluggy import PluginManager, PluginValidationError

from . import hookspecs
from .calls import Call, log_crash
from .commands import CommandResult, checked_result
from .errors import CommandError, PluginError, PluginLoadError

if TYPE_CHECKING:
    from .agent import Agent

__all__ = ("GROUP", "Hooks")

GROUP = "guestagent.hooks"

_log = logging.getLogger(__name__)
_FAULTS = (Exception, SystemExit)


class Hooks:
    """The hooks plugins of one agent.

    :param run: runs a call, in the end.
    """

    def __init__(self, run: Callable[[Call], CommandResult]) -> None:
        self._manager = PluginManager("guestagent")
        self._manager.add_hookspecs(hookspecs)
        self._manager.register(_Innermost(run), "guestagent_core")
        self._run = run
        self._is_policed = self._is_wrapped = False
        self._packages: dict[str, str] = {}
        self._started: set[str] = set()
        #: Why only ``features`` and ``version`` may run, None while every policy is in place.
        self.lockdown: str | None = None

    def register(self, plugin: object, name: str, package: str) -> None:
        """Adds a hooks plugin.

        :raises PluginLoadError: it is not written as a hooks plugin has to be.
        """
        try:
            self._manager.register(plugin, name)
            self._manager.check_pending()
        except (PluginValidationError, ValueError) as error:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            raise PluginLoadError(GROUP, name, f"{package}: {' '.join(str(error).split())}") from error
        self._packages[name] = package
        # What nobody listens to is not called: most agents have neither policies nor wrappers.
        self._is_policed = bool(self._manager.hook.authorize.get_hookimpls())
        self._is_wrapped = len(self._manager.hook.run_command.get_hookimpls()) > 1

    def lock_down(self, error: PluginError) -> None:
        """Denies every command but ``features`` and ``version``, because a hooks plugin failed."""
        self.lockdown = f"Refused, because a policy may be missing: {error}"

    def startup(self, agent: Agent) -> list[PluginError]:
        """Starts each plugin; returns what failed, after having locked down."""
        failures: list[PluginError] = []
        for name, package in self._packages.items():
            try:
                self.call_one(name, "startup", agent=agent)
                self._started.add(name)
            except _FAULTS as error:
                _log.exception("The hooks plugin %r of package %s failed to start", name, package)
                reason = f"{package} cannot be started: {type(error).__name__}: {error}"
                failures.append(PluginLoadError(GROUP, name, reason))
                self.lock_down(failures[-1])
        return failures

    def shutdown(self, agent: Agent) -> None:
        """Ends each plugin that was started."""
        for name in self._packages:
            if name in self._started:
                self._notify_one(name, "shutdown", agent=agent)
        self._started.clear()

    def plugin_failed(self, error: PluginError) -> None:
        """Tells each plugin of a failure."""
        for name in self._packages:
            self._notify_one(name, "plugin_failed", error=error)

    def authorize(self, call: Call) -> str | None:
        """Returns the first reason to deny ``call``, None if there is none."""
        if not self._is_policed:
            return None
        try:
            reason = self._manager.hook.authorize(call=call)
        except _FAULTS as error:
            _log.error("A policy failed, so %s is denied (%s)", call.name, self._culprit("authorize", error))
            log_crash(call, error)
            return f"Refused, because a policy failed on command {call.name!r}; the agent's log says why"
        return None if reason is None else str(reason) or "Refused by a policy"

    def run_command(self, call: Call) -> CommandResult:
        """Runs ``call`` inside every wrapper.

        :raises CommandError: it failed, or a wrapper returned what is no result.
        """
        if not self._is_wrapped:
            return self._run(call)
        try:
            return checked_result(call.name, self._manager.hook.run_command(call=call))
        except SystemExit as error:
            raise CommandError(f"A hooks plugin tried to exit the agent while it ran {call.name!r}") from error

    def call_one(self, name: str, hook: str, **arguments: Any) -> Any:
        """Calls one hook of the plugin ``name`` alone, lets through what it raises, and returns what it returned."""
        plugin = self._manager.get_plugin(name)
        others = [other for other in self._manager.get_plugins() if other is not plugin]
        return self._manager.subset_hook_caller(hook, others)(**arguments)

    def _culprit(self, hook: str, error: BaseException) -> str:
        """Returns which plugin of which package raised ``error``, as far as its traceback tells."""
        names = {
            getattr(implementation.function, "__code__", None): implementation.plugin_name
            for implementation in getattr(self._manager.hook, hook).get_hookimpls()
        }
        for frame, _ in walk_tb(error.__traceback__):
            name = names.get(frame.f_code)
            if name is not None:
                return f"hooks plugin {name!r} of package {self._packages[name]}"
        return "it is not known which"

    def _notify_one(self, name: str, hook: str, **arguments: Any) -> None:
        try:
            self.call_one(name, hook, **arguments)
        except _FAULTS:
            _log.exception("The hooks plugin %r of package %s failed in %s", name, self._packages[name], hook)


class _Innermost:
    """What every wrapper of ``run_command`` ends up in."""

    def __init__(self, run: Callable[[Call], CommandResult]) -> None:
        self._run = run

    @hookspecs.hookimpl(trylast=True)
    def run_command(self, call: Call) -> CommandResult:
        return self._run(call)
