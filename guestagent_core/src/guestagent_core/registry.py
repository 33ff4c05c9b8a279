"""The registry: finds a command by its name and runs it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from .calls import Call, CallAbandonedError, ensured_delivery, log_crash
from .commands import CommandBase, CommandMethod, CommandResult, CommandSpec, checked_result
from .context import Context
from .errors import CommandError, CommandNotFoundError, PluginConflictError
from .leaks import LeakWatch
from .locks import FifoLock

__all__ = ("CommandRegistry",)

_log = logging.getLogger(__name__)
_GROUP = "guestagent.commands"


@dataclass(frozen=True)
class _Entry:
    spec: CommandSpec
    pack: CommandBase
    run: Callable[[Any], Any]
    resume: Callable[[Any], Any] | None


class CommandRegistry:
    """The commands of some packs by name; a :class:`~guestagent_core.protocols.CommandRunner` by itself.

    :param packs: classes, which are built with ``context``, or objects.
    :param context: for the classes; default: a :class:`~guestagent_core.context.Context` of this machine's own ``/``.
    :raises PluginConflictError: two packs, neither a subclass of the other, offer the same name.
    """

    def __init__(self, packs: Iterable[CommandBase | type[CommandBase]] = (), context: Context | None = None) -> None:
        self._packs: list[CommandBase] = []
        self._entries: dict[str, _Entry] = {}
        self._specs: dict[str, CommandSpec] = {}
        #: What is known of each command, by name.
        self.specs: Mapping[str, CommandSpec] = MappingProxyType(self._specs)
        #: What exclusive commands leave behind.
        self.leaks = LeakWatch()
        #: Held by the one exclusive command that runs.
        self.exclusive = FifoLock()
        for pack in packs:
            self.add(pack(context or Context()) if isinstance(pack, type) else pack)

    def add(self, pack: CommandBase, *, replace: bool = False) -> None:
        """Adds the commands of ``pack`` that are enabled; changes nothing if it raises PluginConflictError.

        A pack of a subclass takes the place of those of its bases, whichever comes first.

        :param replace: whether it takes over names that others offer.
        """
        if any(isinstance(there, type(pack)) and type(there) is not type(pack) for there in self._packs):
            return
        added: dict[str, _Entry] = {}
        for attribute, method in type(pack).command_methods.items():
            name = method.spec.name
            if not pack.enabled(name):
                continue
            if name in added:
                raise PluginConflictError(_GROUP, name, f"offered twice by {_provider(type(pack))}")
            there = self._entries.get(name)
            if there is not None and not replace and not isinstance(pack, type(there.pack)):
                raise _conflict(name, there.pack, pack)
            added[name] = _Entry(method.spec, pack, getattr(pack, attribute), _resumption(pack, method))
        for name, entry in tuple(self._entries.items()):
            if isinstance(pack, type(entry.pack)):
                del self._entries[name], self._specs[name]
        self._packs.append(pack)
        self._entries.update(added)
        self._specs.update((name, added[name].spec) for name in added)

    def resumes(self, name: str) -> bool:
        """Returns whether the command ``name`` can be taken up again after a crash."""
        entry = self._entries.get(name)
        return entry is not None and entry.resume is not None

    def run(self, call: Call) -> CommandResult:
        """Runs a call that has passed every check.

        :raises CommandError: there is no such command, it failed, or it answered what is no result.
        """
        entry = self._entries.get(call.name)
        if entry is None:
            raise CommandNotFoundError(call.name)
        run = entry.resume if call.resumed and entry.resume is not None else entry.run
        try:
            result = run(call.argument)
        except Exception:
            raise
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, CallAbandonedError)) and not _is_raised_by_command(error):
                raise
            _log.error(
                "Command %s of %s tried to end the agent: %s", call.name, _described(entry.pack), type(error).__name__
            )
            raise CommandError(f"Command {call.name!r} tried to exit the agent") from error
        try:
            return checked_result(call.name, result)
        except CommandError:
            _log.error("Command %s of %s returned a %s", call.name, _described(entry.pack), type(result).__name__)
            raise

    def provider(self, name: str) -> str:
        """Returns the module and class that the command ``name`` is of, for the log."""
        return _described(self._entries[name].pack)

    def run_command(self, name: str, value: Any = "") -> CommandResult:
        """Runs the command ``name`` in this thread, without the checks, hooks and log of a channel.

        :raises CommandError: there is no such command, its argument is invalid, or it failed.
        """
        spec = self._specs.get(name)
        if spec is None:
            raise CommandNotFoundError(name)
        argument = spec.parse(value)
        with ensured_delivery() as delivery:
            place = None if spec.parallel else self.exclusive.enqueue()
            if place is not None:
                place.wait()
            try:
                deadline = time.monotonic() + spec.timeout
                identifier, peer = str(delivery.request.get("id", "")), delivery.request.get("peer")
                call = Call(identifier, "", name, value, argument, spec, peer, deadline)
                outer, delivery.call = delivery.call, call
                delivery.commands = lambda: self.specs
                try:
                    return self.run(call)
                except Exception as error:
                    log_crash(call, error)
                    raise
                finally:
                    delivery.call = outer
            finally:
                if place is not None:
                    place.release()


def _is_raised_by_command(error: BaseException) -> bool:
    """Whether it cannot be an interrupt by the user: Python raises that in the main thread only."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is not threading.main_thread()


def _described(pack: CommandBase) -> str:
    return f"{type(pack).__module__}.{type(pack).__qualname__}"


def _resumption(pack: CommandBase, method: CommandMethod[Any, Any]) -> Callable[[Any], Any] | None:
    """Returns what takes the command up again, bound to ``pack``: what was marked, or an override of it."""
    function = method.resume_function
    if function is None:
        return None
    for base in type(pack).__mro__:
        for attribute, value in vars(base).items():
            if value is function:
                bound = getattr(pack, attribute)
                return bound if callable(bound) else None
    return partial(function, pack)


def _conflict(name: str, one: CommandBase, other: CommandBase) -> PluginConflictError:
    providers = sorted({_provider(type(one)), _provider(type(other))})
    return PluginConflictError(_GROUP, name, f"offered by {' and by '.join(providers)}")


def _provider(cls: type[CommandBase]) -> str:
    from importlib.metadata import distributions

    where = f"{cls.__module__}.{cls.__qualname__}"
    path = cls.__module__.replace(".", "/")
    # packages_distributions() of Python 3.10 only knows what setuptools built.
    for distribution in distributions():
        if {f"{path}.py", f"{path}/__init__.py"} & {file.as_posix() for file in distribution.files or ()}:
            return f"{where} (package {distribution.name})"
    return where
