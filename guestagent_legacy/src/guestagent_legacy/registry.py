"""The old registry of commands: what ``commands.init()`` returns, and what the name ``commands`` stands for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from guestagent_core import (
    CommandDeniedError,
    CommandError,
    CommandNotFoundError,
    CommandResult,
    CommandRunner,
    CommandSpec,
    CommandTimeoutError,
)

from .adapters import current_runner
from .old_commands import command_add, current_context, marked_methods

if TYPE_CHECKING:
    from .session import Session

__all__ = ("OldRegistry",)

_log = logging.getLogger(__name__)
_KEPT_CODES = (CommandNotFoundError, CommandDeniedError, CommandTimeoutError)
_HANDLER = "_cmd"  # the old agent's own handlers were named resetnetwork_cmd, password_cmd, ...


class OldRegistry:
    """Finds and runs commands: those of old classes and, in a run of an old configuration, those of today's packs."""

    CommandNotFoundError = CommandNotFoundError

    def __init__(self, session: Session) -> None:
        self._session = session
        self._classes: list[type] = []
        self._commands: dict[str, tuple[Callable[[Any], Any], object]] = {}
        self.module: Any = self  # what init() returns; the module once there is one
        self.keywords: Mapping[str, Any] = {}
        self.command_base = _command_base(self)

    def members(self) -> dict[str, Any]:
        """Returns what the module ``commands`` holds, by name."""
        names = ("init", "command_names", "command_instance", "command_function", "run_command", "CommandNotFoundError")
        return {
            **{name: getattr(self, name) for name in names},
            "CommandBase": self.command_base,
            "command_add": command_add,
        }

    def add_class(self, cls: type) -> None:
        """Remembers a class; its commands are there from the next :meth:`init` on."""
        self._classes.append(cls)

    def init(self, **keywords: Any) -> Any:
        """Builds an object of every old class, with ``keywords``, in the place of those that there were."""
        self.keywords = keywords
        self._commands.clear()
        instances = self.build(self._classes, keywords)
        self._session.commands_changed(instances)
        return self.module

    def build(self, classes: list[type], keywords: Mapping[str, Any]) -> list[object]:
        """Builds objects of old classes, and adds their commands."""
        instances = [cls(**keywords) for cls in classes]
        for instance in instances:
            self._commands.update((name, (method, instance)) for name, method in marked_methods(instance))
        return instances

    def classes_since(self, number: int) -> list[type]:
        """Returns the classes defined after the first ``number`` ones."""
        return self._classes[number:]

    def command_names(self) -> list[str]:
        """Returns the names of all commands."""
        return list(dict.fromkeys([*self._commands, *self._specs()]))

    def command_instance(self, name: str) -> Any:
        """Returns the object that offers the command ``name``.

        For a command of today's packs that is an object on which each of them can be called as ``NAME_cmd(value)``. As
        with the old ones, a failure is what that returns, ``(code, message)``.

        :raises CommandNotFoundError: there is no such command.
        """
        if name in self._commands:
            return self._commands[name][1]
        if name in self._specs():
            return _Instance(self)
        raise CommandNotFoundError(name)

    def command_function(self, name: str) -> Callable[[Any], Any]:
        """Returns what runs the command ``name`` with a value.

        :raises CommandNotFoundError: there is no such command.
        """
        if name in self._commands:
            return self._commands[name][0]
        if name in self._specs():
            return partial(self.run_command, name)
        raise CommandNotFoundError(name)

    def run_command(self, name: str, value: Any = "") -> Any:
        """Runs the command ``name`` and returns ``(code, message)``.

        A request's goes by the channel of the request, with its checks and its turn. One that an old command asks for
        is run at once: that command has the turn.

        :raises CommandNotFoundError: there is no such command.
        """
        context = current_context.get()
        if context is not None and name in self._commands:
            return self._commands[name][0](value)
        if context is not None and name in self._specs():
            spec = self._specs()[name]
            call = context.call._replace(name=name, value=value, argument=spec.parse(value), spec=spec)
            return self._session.agent.registry.run(call)
        runner = current_runner.get() or self._outside()
        if runner is None:
            return self.command_function(name)(value)
        return runner.run_command(name, value)

    def _specs(self) -> Mapping[str, CommandSpec]:
        return self._session.agent.registry.specs if self._session.has_agent else {}

    def _outside(self) -> CommandRunner | None:
        return self._session.boot_runner() if self._session.has_agent else None


def _command_base(registry: OldRegistry) -> type:
    class CommandBase:
        """The base of old command classes; a subclass is registered by being defined."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            pass

        def __init_subclass__(cls, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)
            registry.add_class(cls)

    for name in ("init", "command_names", "command_instance", "command_function", "run_command"):
        setattr(CommandBase, name, staticmethod(getattr(registry, name)))
    CommandBase.CommandNotFoundError = CommandNotFoundError  # type: ignore[attr-defined]  # as the old one had it
    return CommandBase


class _Instance:
    """Stands for the object that held the stock commands."""

    def __init__(self, registry: OldRegistry) -> None:
        self._registry = registry

    def __getattr__(self, attribute: str) -> Callable[[Any], Any]:
        name = attribute.removesuffix(_HANDLER)
        if name == attribute or name not in self._registry.command_names():
            raise AttributeError(f"There is no command for {attribute!r}")
        run = self._registry.command_function(name)

        def call(value: Any) -> Any:
            try:
                return run(value)
            except CommandError as error:
                # Old configurations reset the network at each start, and did not look at what came of it.
                _log.warning("%s failed: %s", name, ascii(str(error))[1:-1])  # in one line, whatever it quotes
                code = error.code if isinstance(error, _KEPT_CODES) else 500  # hosts know no 400
                return CommandResult(code, str(error))

        return call
