"""One run of old code: its registry, the pairs that it registers, and the agent of today that does the work."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from guestagent_core import ChannelRunner, Context
from guestagent_core.agent import Agent
from guestagent_core.config import ChannelConfig, Config
from guestagent_core.discovery import EXCHANGES, load
from guestagent_core.errors import PluginError

from .adapters import OldParser, adapted_exchange
from .old_commands import pack_of
from .old_plugins import XSComm
from .registry import OldRegistry
from .testmode import keep_password, with_testmode
from .threads import OldThread

__all__ = ("LegacyAgent", "Session")

_log = logging.getLogger(__name__)


class LegacyAgent(Agent):
    """An agent that says in its log what the old one said."""

    def stop(self) -> None:
        """Makes every channel finish what it is running, and end."""
        _log.info("Agent stopping")
        super().stop()


class Session:
    """What the old modules of this process share.

    :param config: a configuration of today: its folders, packs, their options and hooks count, its channels do not.
        Without one, as inside of an agent of today, old code has the commands of old code only.
    """

    def __init__(self, config: Config | None = None) -> None:
        self._config = config
        self._agent: LegacyAgent | None = None
        self._boot_runner: ChannelRunner | None = None
        #: What ``agentlib.register`` was called with.
        self.pairs: list[tuple[Any, Any]] = []
        self.commands = OldRegistry(self)

    @property
    def owns_machine(self) -> bool:
        """Whether the guest's ``/`` is that of this machine."""
        return self._config is None or self._config.agent.places()["root"] == Path("/")

    @property
    def has_agent(self) -> bool:
        """Whether there can be an agent: not inside of one."""
        return self._config is not None

    @property
    def agent(self) -> LegacyAgent:
        """The agent, which is built when it is first needed."""
        if self._agent is None:
            self.commands_changed([])
        assert self._agent is not None
        return self._agent

    def commands_changed(self, instances: Iterable[object]) -> None:
        """Builds the agent anew, with the commands of old objects beside, and before, those of today's packs."""
        if self._config is None:
            return
        is_test = bool(self.commands.keywords.get("testmode"))
        agent = LegacyAgent(with_testmode(self._config) if is_test else self._config, channels=())
        context = Context(agent.places["root"], None, agent.places["state_dir"], agent.programs)
        if is_test:
            keep_password(agent, context)
        agent.registry.add(pack_of(instances, context), replace=True)
        self._agent, self._boot_runner = agent, None

    def add_channels(self) -> None:
        """Gives the agent a channel for each registered pair."""
        names: list[str] = []
        for exchange, parser in self.pairs:
            stem = "xenstore" if isinstance(exchange, XSComm) else type(exchange).__name__.lower()
            names.append(stem)
            # The first one is named as it would be without a configuration, so that a journal goes on.
            name = stem if names.count(stem) == 1 else f"{stem}-{names.count(stem)}"
            thread = OldThread()
            self.agent.add_channel(
                replace(self._channel(), name=name),
                exchange=partial(adapted_exchange, exchange, thread),
                parser=partial(OldParser, parser, thread=thread),
            )

    def boot_runner(self) -> ChannelRunner:
        """Returns what runs the commands that a configuration file itself runs, before there are channels."""
        if self._boot_runner is None:
            store = self.agent.store(self._channel())
            self._boot_runner = ChannelRunner(self.agent.registry, "boot", hooks=self.agent.hooks, store=store)
        return self._boot_runner

    def _channel(self) -> ChannelConfig:
        """What the store of a channel is: XenStore where there is one."""
        try:
            exchange = load(self.agent.catalogue.find(EXCHANGES, "xenstore"))
            if exchange.available():
                return ChannelConfig("xenstore")
        except PluginError as error:
            _log.debug("No XenStore: %s", error)
        return ChannelConfig("files")
