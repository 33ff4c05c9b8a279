"""Discovery: from names to loaded plugins. Finding, choosing and loading are three steps with three failures.

stevedore loads; it is used in this module only. Its cache of entry points is left aside: it forgets which package
offers what, and misses an editable package that was installed anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, NoReturn

from stevedore import ExtensionManager

from .commands import CommandBase
from .errors import PluginConflictError, PluginError, PluginLoadError, PluginNotFoundError

__all__ = (
    "CLI",
    "COMMANDS",
    "DEMOS",
    "EXCHANGES",
    "HOOKS",
    "PARSERS",
    "STORES",
    "Catalogue",
    "Plugin",
    "load",
    "load_packs",
)

EXCHANGES = "guestagent.exchanges"
PARSERS = "guestagent.parsers"
COMMANDS = "guestagent.commands"
STORES = "guestagent.stores"
HOOKS = "guestagent.hooks"
CLI = "guestagent.cli"
DEMOS = "guestagent.demos"


@dataclass(frozen=True, order=True)
class Plugin:
    """An entry point that an installed package offers; nothing of it is imported."""

    group: str
    name: str
    package: str
    version: str
    entry_point: EntryPoint = field(repr=False, compare=False)


class Catalogue:
    """Plugins to choose from.

    :param plugins: the plugins; :meth:`installed` gives those of this Python.
    """

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self._found: dict[str, list[Plugin]] = {}
        for plugin in sorted(set(plugins)):
            self._found.setdefault(plugin.group, []).append(plugin)

    @classmethod
    def installed(cls) -> Catalogue:
        """Returns what is installed at this moment."""
        groups = entry_points()
        return cls(
            _plugin(entry_point)
            for group in groups.groups
            if group.startswith("guestagent.")
            for entry_point in groups.select(group=group)
        )

    def groups(self) -> list[str]:
        """Returns the entry-point groups of guestagent and its plugins in which there is anything."""
        return list(self._found)

    def plugins(self, group: str) -> list[Plugin]:
        """Returns what is offered in ``group``, in the order of names."""
        return list(self._found.get(group, ()))

    def find(self, group: str, name: str) -> Plugin:
        """Returns the plugin ``name``.

        :raises PluginNotFoundError: it is not installed; the reason lists what is.
        :raises PluginConflictError: two packages offer it; the reason names both.
        """
        offered = [plugin for plugin in self.plugins(group) if plugin.name == name]
        if not offered:
            known = ", ".join(dict.fromkeys(plugin.name for plugin in self.plugins(group))) or "nothing"
            raise PluginNotFoundError(group, name, f"not installed; installed is {known}")
        if len(offered) > 1:
            packages = " and by ".join(plugin.package for plugin in offered)
            raise PluginConflictError(group, name, f"offered by {packages}; uninstall one, or leave the name out")
        return offered[0]

    def choose(self, group: str, names: Iterable[str]) -> tuple[list[Plugin], list[PluginError]]:
        """Returns the plugins that a configuration names, and what stands against the others.

        :param names: ``*`` is every installed plugin, ``!NAME`` leaves one out.
        """
        excluded = {name[1:] for name in names if name.startswith("!")}
        wanted = [name for name in names if not name.startswith("!")]
        if "*" in wanted:
            wanted = [plugin.name for plugin in self.plugins(group)] + [name for name in wanted if name != "*"]
        chosen: list[Plugin] = []
        errors: list[PluginError] = []
        for name in dict.fromkeys(wanted):
            if name in excluded:
                continue
            try:
                chosen.append(self.find(group, name))
            except PluginError as error:
                errors.append(error)
        return chosen, errors


def load(plugin: Plugin) -> Any:
    """Imports ``plugin`` and returns what its entry point names.

    :raises PluginLoadError: that failed, by :class:`SystemExit` too; the reason names the package and the failure.
    """
    try:
        return _Loader(plugin).extensions[0].plugin
    except (Exception, SystemExit) as error:
        reason = f"{plugin.package} cannot be imported: {type(error).__name__}: {error}"
        raise PluginLoadError(plugin.group, plugin.name, reason) from error


def load_packs(plugin: Plugin) -> list[type[CommandBase]]:
    """Imports ``plugin``, which names a class or a module, and returns the command packs that it holds.

    :raises PluginLoadError: it cannot be imported, or holds none.
    """
    found = load(plugin)
    if isinstance(found, type) and issubclass(found, CommandBase):
        return [found]
    if isinstance(found, ModuleType):
        packs = [
            value
            for value in vars(found).values()
            if isinstance(value, type)
            and issubclass(value, CommandBase)
            and f"{value.__module__}.".startswith(f"{found.__name__}.")
        ]
        if packs:
            return list(dict.fromkeys(packs))
    what = f"{plugin.package}: {plugin.entry_point.value} is neither a CommandBase subclass nor a module with one"
    raise PluginLoadError(plugin.group, plugin.name, what)


def _plugin(entry_point: EntryPoint) -> Plugin:
    distribution = entry_point.dist
    package, version = (distribution.name, distribution.version) if distribution else ("an unknown package", "")
    return Plugin(entry_point.group, entry_point.name, package, version, entry_point)


class _Loader(ExtensionManager[Any]):
    """Loads one entry point, and lets what that raises through."""

    def __init__(self, plugin: Plugin) -> None:
        self._entry_point = plugin.entry_point
        super().__init__(plugin.group, on_load_failure_callback=_pass_on)

    def list_entry_points(self) -> list[EntryPoint]:
        return [self._entry_point]


def _pass_on(manager: object, entry_point: EntryPoint, error: BaseException) -> NoReturn:
    raise error
