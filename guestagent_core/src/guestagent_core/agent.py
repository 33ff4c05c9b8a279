"""The agent: from a configuration to plugins, channels and threads."""

from __future__ import annotations

import inspect
import itertools
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, cast

from . import discovery
from .calls import Call
from .channels import ChannelRunner
from .commands import CommandBase
from .config import ChannelConfig, Config
from .context import Context
from .discovery import Catalogue, Plugin
from .dispatcher import Dispatcher
from .errors import ConfigError, GuestAgentError, PluginError, PluginLoadError
from .hooks import Hooks
from .journal import FileJournal
from .options import read_options
from .programs import Programs
from .protocols import Exchange, Parser, Store
from .publications import Publications
from .registry import CommandRegistry

__all__ = ("Agent",)

_log = logging.getLogger(__name__)
_SWITCH_INTERVAL = 0.0005  # seconds; beside a CPU-bound command a request waits 1 ms instead of 7.5
_FAULTS = (Exception, SystemExit)


class Agent:
    """Everything that a configuration describes, ready to be started.

    Building it imports and checks all plugins that are on, but opens nothing. What fails is logged, told to the
    ``plugin_failed`` hook and kept in :attr:`problems`; the rest goes on.

    :param catalogue: the plugins to choose from; default: what is installed.
    :param channels: what to open in the place of the configuration's channels; a front end gives none, and adds its
        own.
    :param programs: runs the programs of commands.
    """

    def __init__(
        self,
        config: Config,
        catalogue: Catalogue | None = None,
        *,
        channels: Iterable[ChannelConfig] | None = None,
        programs: Programs | None = None,
    ) -> None:
        self.config = config
        self.catalogue = catalogue or Catalogue.installed()
        self.places = config.agent.places()
        #: What failed so far, in order.
        self.problems: list[GuestAgentError] = []
        #: The plugins in use.
        self.plugins: list[Plugin] = []
        self.registry = CommandRegistry()
        self.hooks = Hooks(self.registry.run)
        self.programs = programs or Programs()
        self.journal = FileJournal(
            self.places["state_dir"], Context(self.places["root"], programs=self.programs).detach
        )
        #: What commands let the host see.
        self.publications = Publications()
        self._open: list[_Channel] = []
        self._stopping = False
        self._load_hooks()
        self._load_packs()
        self._channels: list[_Channel] = []
        for channel in self._channel_configs() if channels is None else channels:
            self.add_channel(channel)

    def add_channel(
        self,
        config: ChannelConfig,
        *,
        exchange: Callable[[], Exchange] | None = None,
        parser: Callable[[ChannelRunner], Parser] | None = None,
    ) -> None:
        """Adds a channel to those that :meth:`start` opens; what cannot be loaded is reported, as when building.

        :param exchange: builds the exchange, in the place of the plugin that ``config`` names.
        :param parser: builds the parser.
        """
        try:
            self._channels.append(self._load_channel(config, exchange, parser))
        except GuestAgentError as error:
            self._report(error)

    def store(self, config: ChannelConfig) -> Store:
        """Returns a store as the channel ``config`` gets it.

        :raises GuestAgentError: it is not to be had.
        """
        build: Callable[[], Store] = self._store_part(config)
        return build()

    def start(
        self, on_end: Callable[[], object] = lambda: None, on_begin: Callable[[Call], object] | None = None
    ) -> bool:
        """Starts the hooks plugins, and each channel in a thread of its own; returns whether any channel is open.

        :param on_end: called, in one of the threads, when the last channel has ended.
        :param on_begin: called, in its thread, when an exclusive command begins.
        """
        sys.setswitchinterval(_SWITCH_INTERVAL)
        self.journal.recover()
        for failure in self.hooks.startup(self):
            self._report(failure)
        for channel in self._channels:
            try:
                channel.open(self.registry, self.hooks, self.journal, on_begin)
            except GuestAgentError as error:
                self._report(error)
            else:
                self._open.append(channel)
        running = itertools.count(len(self._open) - 1, -1)
        for channel in self._open:
            channel.start(lambda: next(running) or on_end())
        return bool(self._open)

    def stop(self) -> None:
        """Makes every channel finish what it is running, and end. May be called from any thread."""
        self._stopping = True
        for channel in self._open:
            channel.stop()

    def running(self) -> list[Call]:
        """Returns the calls that run."""
        return [call for channel in self._open for call in channel.running()]

    def overdue(self, seconds: float) -> list[Call]:
        """Returns the running calls whose deadline passed more than ``seconds`` ago."""
        latest = time.monotonic() - seconds
        return [call for call in self.running() if call.deadline is not None and call.deadline < latest]

    def join(self) -> bool:
        """Waits until every channel has ended; returns whether that was because of :meth:`stop`."""
        for channel in self._open:
            channel.join()
        self.hooks.shutdown(self)
        self.journal.close()
        return self._stopping

    # Loading

    def _report(self, error: GuestAgentError) -> None:
        _log.error("%s", error)
        self.problems.append(error)
        if isinstance(error, PluginError):
            self.hooks.plugin_failed(error)

    def _choose(self, group: str, names: tuple[str, ...]) -> list[Plugin]:
        chosen, errors = self.catalogue.choose(group, names)
        for error in errors:
            self._report(error)
            if group == discovery.HOOKS:
                self.hooks.lock_down(error)
        return chosen

    def _load_hooks(self) -> None:
        tables = self.config.hooks
        chosen = self._choose(discovery.HOOKS, self.config.agent.hooks)
        self._check_tables("hooks", tables, chosen)
        for plugin in chosen:
            try:
                found = discovery.load(plugin)
                if isinstance(found, type):
                    found = self._construct(plugin, found, (), tables.get(plugin.name, {}), f"hooks.{plugin.name}")()
                self.hooks.register(found, plugin.name, plugin.package)
            except GuestAgentError as error:
                reason = error.reason if isinstance(error, PluginError) else f"{plugin.package}: {error}"
                self.hooks.lock_down(PluginLoadError(plugin.group, plugin.name, reason))
                self._report(error)
            else:
                self._use(plugin)

    def _load_packs(self) -> None:
        tables = self.config.commands
        chosen = self._choose(discovery.COMMANDS, ("builtin", *self.config.agent.commands))
        self._check_tables("commands", tables, chosen)
        for plugin in chosen:
            try:
                packs = discovery.load_packs(plugin)
                for pack in self._build_packs(plugin, packs, tables.get(plugin.name, {})):
                    self.registry.add(pack)
            except GuestAgentError as error:
                self._report(error)
            else:
                self._use(plugin)

    def _build_packs(
        self, plugin: Plugin, packs: list[type[CommandBase]], table: Mapping[str, Any]
    ) -> list[CommandBase]:
        """Builds the classes of one plugin; each gets those of the options that its own ``Options`` has."""
        where = f"{self.config.file}: commands.{plugin.name}"
        known = {pack: {field.name for field in fields(pack.Options)} for pack in packs if hasattr(pack, "Options")}
        for key in table:
            if not any(key in names for names in known.values()):
                names = ", ".join(sorted(set().union(*known.values()))) or "there are none"
                raise ConfigError(f"{where}: unknown key {key!r} (known: {names})")
        built = []
        for pack in packs:
            options = None
            if pack in known:
                mine = {key: value for key, value in table.items() if key in known[pack]}
                options = read_options(cast("Any", pack).Options, mine, where, self.places)
            context = Context(self.places["root"], options, self.places["state_dir"], self.programs, self.publications)
            built.append(_guarded(plugin, pack, context))
        return built

    def _check_tables(self, key: str, tables: Mapping[str, object], chosen: list[Plugin]) -> None:
        """Reports options of plugins that are not in use: most likely the name is misspelt."""
        names = [plugin.name for plugin in chosen]
        for name in tables:
            if name not in names:
                known = ", ".join(names) or "none"
                self._report(ConfigError(f"{self.config.file}: {key}.{name}: no such plugin is on (on: {known})"))

    def _channel_configs(self) -> list[ChannelConfig]:
        """What is configured, or else every exchange that works without a configuration and is to be had here."""
        if self.config.channel:
            return list(self.config.channel)
        channels = [ChannelConfig("local")]
        if any(plugin.name == "xenstore" for plugin in self.catalogue.plugins(discovery.EXCHANGES)):
            try:
                plugin = self.catalogue.find(discovery.EXCHANGES, "xenstore")
                if _guarded(plugin, discovery.load(plugin).available):
                    channels.append(ChannelConfig("xenstore"))
            except PluginError as error:
                self._report(error)
        return channels

    def _load_channel(
        self,
        config: ChannelConfig,
        exchange: Callable[[], Exchange] | None,
        parser: Callable[[ChannelRunner], Parser] | None,
    ) -> _Channel:
        where = f"channel {config.name!r}"
        if exchange is None:
            exchange = self._part(discovery.EXCHANGES, config.exchange, config.options, f"{where}: options")
        store = self._store_part(config)
        if parser is None:
            table = config.parser_options
            parser = self._part(discovery.PARSERS, config.parser, table, f"{where}: parser_options", ChannelRunner)
        return _Channel(config, exchange, store, parser)

    def _store_part(self, config: ChannelConfig) -> Callable[..., Any]:
        name = config.store
        if name is None:
            stores = [plugin.name for plugin in self.catalogue.plugins(discovery.STORES)]
            name = config.exchange if config.exchange in stores else "files"
        return self._part(discovery.STORES, name, config.store_options, f"channel {config.name!r}: store_options")

    def _part(
        self, group: str, name: str, table: Mapping[str, Any], where: str, *positional: object
    ) -> Callable[..., Any]:
        """Finds and loads one part of a channel; returns what builds it."""
        plugin = self.catalogue.find(group, name)
        build = self._construct(plugin, discovery.load(plugin), positional, table, where)
        self._use(plugin)
        return build

    def _construct(
        self,
        plugin: Plugin,
        found: Callable[..., Any],
        positional: tuple[object, ...],
        table: Mapping[str, Any],
        where: str,
    ) -> Callable[..., Any]:
        """Checks the options of a plugin now; returns what builds it, from as many arguments as in ``positional``.

        A class with a dataclass ``Options`` is built with an object of it, any other with the options as keywords.
        """
        where = f"{self.config.file}: {where}"
        if hasattr(found, "Options"):
            options = read_options(cast("Any", found).Options, table, where, self.places)
            return lambda *arguments: _guarded(plugin, found, *arguments, options)
        try:
            inspect.signature(found).bind(*positional, **table)
        except TypeError as error:
            raise ConfigError(f"{where}: {plugin.package}: {error}") from None
        return lambda *arguments: _guarded(plugin, found, *arguments, **table)

    def _use(self, plugin: Plugin) -> None:
        if plugin not in self.plugins:
            _log.info("Loaded %s %r of %s %s", plugin.group, plugin.name, plugin.package, plugin.version)
            self.plugins.append(plugin)


def _guarded(plugin: Plugin, build: Callable[..., Any], *arguments: object, **keywords: object) -> Any:
    try:
        return build(*arguments, **keywords)
    except _FAULTS as error:
        reason = f"{plugin.package} cannot be started: {type(error).__name__}: {error}"
        raise PluginLoadError(plugin.group, plugin.name, reason) from error


class _Channel:
    """An exchange, a parser and a store that belong together, and the thread in which they work."""

    def __init__(
        self,
        config: ChannelConfig,
        exchange: Callable[[], Exchange],
        store: Callable[[], Store],
        parser: Callable[[ChannelRunner], Parser],
    ) -> None:
        self._config = config
        self._make_exchange = exchange
        self._make_store = store
        self._make_parser = parser
        self._runner: ChannelRunner | None = None
        self._exchange: Exchange | None = None
        self._dispatcher: Dispatcher | None = None
        self._thread: threading.Thread | None = None

    def open(
        self,
        registry: CommandRegistry,
        hooks: Hooks,
        journal: FileJournal,
        on_begin: Callable[[Call], object] | None,
    ) -> None:
        """Builds the parts.

        :raises PluginLoadError: one cannot be built.
        """
        config = self._config
        self._runner = ChannelRunner(
            registry,
            config.name,
            allow=config.allow,
            deny=config.deny,
            hooks=hooks,
            journal=journal,
            on_begin=on_begin,
            store=self._make_store(),
        )
        parser = self._make_parser(self._runner)
        self._exchange = self._make_exchange()
        self._dispatcher = Dispatcher(self._exchange, parser, config.name)
        _log.info("%s: %s commands may be run", config.name, len(self._runner.commands()))

    def start(self, ended: Callable[[], object]) -> None:
        self._thread = threading.Thread(target=self._serve, args=(ended,), name=self._config.name)
        self._thread.start()

    def stop(self) -> None:
        if self._dispatcher is not None:
            self._dispatcher.stop()

    def running(self) -> list[Call]:
        return self._runner.running() if self._runner is not None else []

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _serve(self, ended: Callable[[], object]) -> None:
        assert self._dispatcher is not None
        try:
            self._dispatcher.run()
        except _FAULTS:
            _log.exception("%s: the channel failed", self._config.name)
        finally:
            close = getattr(self._exchange, "close", None)
            try:
                if close is not None:
                    close()
            except _FAULTS:
                _log.exception("%s: the exchange could not be closed", self._config.name)
            ended()
