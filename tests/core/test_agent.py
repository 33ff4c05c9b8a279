"""The agent put together from a configuration, with plugins that work and plugins that do not."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from guestagent_core import Call, CommandBase, CommandResult, Request, Response, command
from guestagent_core.agent import Agent
from guestagent_core.client import LocalClient
from guestagent_core.config import AgentConfig, ChannelConfig, Config
from guestagent_core.discovery import COMMANDS, EXCHANGES, HOOKS, STORES, Catalogue, Plugin
from guestagent_core.hookspecs import hookimpl
from guestagent_core.testing import MemoryExchange


class Pack(CommandBase):
    @dataclass(frozen=True)
    class Options:
        greeting: str = "hello"
        file: Path = Path("{state_dir}/pack")

    @command("greet")
    def greet(self, value: Any) -> CommandResult:
        return CommandResult(0, f"{self.context.options.greeting}, {value}")

    @command("where", parallel=True)
    def where(self, value: Any) -> CommandResult:
        return CommandResult(0, [str(self.context.options.file), str(self.context.root), self.context.call.channel])

    @command("stored", parallel=True)
    def stored(self, value: str) -> CommandResult:
        return CommandResult(0, (self.context.store.read(value) or b"").decode())


class Rival(CommandBase):
    @command("greet")
    def greet(self, value: Any) -> CommandResult:
        return CommandResult(1, "never")


class Unopenable:
    def __init__(self) -> None:
        raise OSError("no such device")

    def get_request(self) -> Request | None:
        return None

    def put_response(self, request: Request, response: Response) -> None: ...


class Exiting(MemoryExchange):
    def wait(self, timeout: float | None) -> bool:
        raise SystemExit(1)


class Closing(MemoryExchange):
    def close(self) -> None:
        raise OSError("cannot be closed")


class Policy:
    def __init__(self, forbidden: str = "") -> None:
        self.forbidden = forbidden

    @hookimpl
    def authorize(self, call: Call) -> str | None:
        return "forbidden here" if call.name == self.forbidden else None


class Unstartable:
    @hookimpl
    def startup(self) -> None:
        raise OSError("no policy file")


def plugin(group: str, name: str, value: object) -> Plugin:
    """An entry point that leads to ``value``."""
    module = ModuleType(f"plugin_{name}")
    module.value = value  # type: ignore[attr-defined]  # it is made for that
    sys.modules[module.__name__] = module
    return Plugin(group, name, f"acme-{name}", "1.0", EntryPoint(name, f"{module.__name__}:value", group))


def catalogue(*added: Plugin) -> Catalogue:
    installed = Catalogue.installed()
    replaced = {(plugin.group, plugin.name) for plugin in added}
    everything = [plugin for group in installed.groups() for plugin in installed.plugins(group)]
    return Catalogue([*(plugin for plugin in everything if (plugin.group, plugin.name) not in replaced), *added])


def config(folder: Path, **tables: Any) -> Config:
    agent = AgentConfig(root=folder / "root", run_dir=folder, state_dir=folder / "state", **tables.pop("agent", {}))
    return Config(agent=agent, **tables)


class Started:
    """An agent that has been started, and the means to ask it."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.ended = threading.Event()
        self.opened = agent.start(on_end=self.ended.set)

    def ask(self, path: Path, name: str, value: str = "") -> str:
        with LocalClient(path / "agent.sock") as client:
            return client.request(f'{{"name": "{name}", "value": "{value}"}}'.encode()).decode()

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        self.agent.stop()
        self.agent.join()


def test_without_a_configuration_the_local_channel_is_open(folder: Path) -> None:
    with Started(Agent(config(folder))) as started:
        assert started.opened
        assert started.agent.problems == []
        features = json.loads(started.ask(folder, "features"))["message"].split(",")
        assert {"features", "version"} <= set(features), "and what else is installed"
    assert started.ended.is_set()
    assert not (folder / "agent.sock").exists()


def test_packs_are_built_with_their_options_and_the_root(folder: Path) -> None:
    options = {"pack": {"greeting": "good day"}}
    with Started(Agent(config(folder, commands=options), catalogue(plugin(COMMANDS, "pack", Pack)))) as started:
        assert "good day, you" in started.ask(folder, "greet", "you")
        assert str(folder / "state" / "pack") in started.ask(folder, "where")
        assert str(folder / "root") in started.ask(folder, "where")


def test_several_channels_have_their_own_rights_options_and_stores(folder: Path) -> None:
    store = folder / "published"
    (store / "vm-data").mkdir(parents=True)
    (store / "vm-data" / "hostname").write_text("guest-7")
    channels = (
        ChannelConfig("local", store_options={"path": str(store)}, deny=("greet",)),
        ChannelConfig("local", "second", options={"path": str(folder / "two" / "agent.sock")}, allow=("gr*",)),
    )
    with Started(Agent(config(folder, channel=channels), catalogue(plugin(COMMANDS, "pack", Pack)))) as started:
        assert "guest-7" in started.ask(folder, "stored", "vm-data/hostname")
        assert '"403"' in started.ask(folder, "greet")
        assert '"0"' in started.ask(folder / "two", "greet")
        assert '"403"' in started.ask(folder / "two", "version")


def test_packs_with_the_same_command_are_reported_and_the_first_one_works(folder: Path) -> None:
    rivals = catalogue(plugin(COMMANDS, "pack", Pack), plugin(COMMANDS, "rival", Rival))
    with Started(Agent(config(folder), rivals)) as started:
        (problem,) = started.agent.problems
        assert "Pack" in str(problem)
        assert "Rival" in str(problem)
        assert "hello" in started.ask(folder, "greet")


def test_a_channel_that_cannot_start_leaves_the_others(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    channels = (ChannelConfig("unopenable"), ChannelConfig("local"))
    agent = Agent(config(folder, channel=channels), catalogue(plugin(EXCHANGES, "unopenable", Unopenable)))
    with Started(agent) as started:
        assert '"0"' in started.ask(folder, "version")
    expected = "guestagent.exchanges 'unopenable': acme-unopenable cannot be started: OSError: no such device"
    assert expected in caplog.text
    assert [str(problem) for problem in agent.problems] == [expected]


def test_without_an_open_channel_start_says_so(folder: Path) -> None:
    channels = (ChannelConfig("unopenable"),)
    agent = Agent(config(folder, channel=channels), catalogue(plugin(EXCHANGES, "unopenable", Unopenable)))
    assert agent.start() is False
    assert agent.join() is False


def test_an_exchange_that_exits_or_cannot_be_closed_does_not_take_the_agent_down(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    channels = (ChannelConfig("exiting"), ChannelConfig("closing"), ChannelConfig("local"))
    added = plugin(EXCHANGES, "exiting", Exiting), plugin(EXCHANGES, "closing", Closing)
    with Started(Agent(config(folder, channel=channels), catalogue(*added))) as started:
        assert '"0"' in started.ask(folder, "version")
    assert "exiting: the exchange failed" in caplog.text
    assert "closing: the exchange could not be closed" in caplog.text


def test_a_store_that_is_no_store_stops_only_its_channel(folder: Path) -> None:
    def broken() -> None:
        raise ValueError("no store")

    channels = (ChannelConfig("local", "one", store="broken"), ChannelConfig("local"))
    with Started(Agent(config(folder, channel=channels), catalogue(plugin(STORES, "broken", broken)))) as started:
        assert '"0"' in started.ask(folder, "version")
        assert "no store" in str(started.agent.problems[0])


def test_a_policy_is_on_by_default_and_takes_options(folder: Path) -> None:
    added = plugin(COMMANDS, "pack", Pack), plugin(HOOKS, "policy", Policy)
    agent = Agent(config(folder, hooks={"policy": {"forbidden": "greet"}}), catalogue(*added))
    with Started(agent) as started:
        assert started.ask(folder, "greet") == '{"message": "forbidden here", "returncode": "403"}'
        assert '"0"' in started.ask(folder, "where")


@pytest.mark.parametrize(
    "broken",
    [
        {"agent": {"hooks": ("missing",)}},
        {"hooks": {"policy": {"unknown": "option"}}},
        {"agent": {"hooks": ("*", "unstartable")}},
    ],
)
def test_a_policy_that_does_not_work_fails_closed(folder: Path, broken: dict[str, Any]) -> None:
    added = [plugin(COMMANDS, "pack", Pack), plugin(HOOKS, "policy", Policy)]
    if "unstartable" in str(broken):
        added.append(plugin(HOOKS, "unstartable", Unstartable))
    with Started(Agent(config(folder, **broken), catalogue(*added))) as started:
        assert '"403"' in started.ask(folder, "greet")
        assert '"message": "features,version"' in started.ask(folder, "features")
        assert '"0"' in started.ask(folder, "version")
        assert started.agent.problems


def test_a_policy_that_is_left_out_on_purpose_is_not_missed(folder: Path) -> None:
    added = plugin(COMMANDS, "pack", Pack), plugin(HOOKS, "unstartable", Unstartable)
    with Started(Agent(config(folder, agent={"hooks": ("!unstartable",)}), catalogue(*added))) as started:
        assert '"0"' in started.ask(folder, "greet")


def test_plugins_hear_of_failures_in_others(folder: Path) -> None:
    heard: list[str] = []

    class Listener:
        @hookimpl
        def plugin_failed(self, error: Exception) -> None:
            heard.append(str(error))

    channels = (ChannelConfig("unopenable"), ChannelConfig("local"))
    added = plugin(EXCHANGES, "unopenable", Unopenable), plugin(HOOKS, "listener", Listener)
    with Started(Agent(config(folder, channel=channels), catalogue(*added))):
        assert len(heard) == 1
        assert "no such device" in heard[0]


def test_the_builtin_commands_can_be_left_out(folder: Path) -> None:
    added = catalogue(plugin(COMMANDS, "pack", Pack))
    assert set(Agent(config(folder, agent={"commands": ("pack",)}), added).registry.specs) > {"greet", "version"}
    assert "version" not in Agent(config(folder, agent={"commands": ("*", "!builtin")}), added).registry.specs


def test_two_agents_do_not_share_a_socket(folder: Path) -> None:
    with Started(Agent(config(folder))):
        second = Agent(config(folder))
        assert second.start() is False
        assert "another agent listens there" in str(second.problems[0])


@pytest.mark.parametrize("available", [True, False, None])
def test_xenstore_is_a_default_channel_where_it_is_available(folder: Path, available: bool | None) -> None:
    class Exchange(MemoryExchange):
        @classmethod
        def available(cls) -> bool:
            if available is None:
                raise OSError("no such device")
            return available

    agent = Agent(config(folder), catalogue(plugin(EXCHANGES, "xenstore", Exchange)))
    used = [plugin.name for plugin in agent.plugins if plugin.group == EXCHANGES]
    assert used == (["local", "xenstore"] if available else ["local"])
    assert [str(problem) for problem in agent.problems] == (
        ["guestagent.exchanges 'xenstore': acme-xenstore cannot be started: OSError: no such device"]
        if available is None
        else []
    )


def test_a_front_end_adds_channels_of_its_own(folder: Path) -> None:
    from guestagent_json import JsonParser

    exchange = MemoryExchange()
    agent = Agent(config(folder), catalogue(), channels=())
    agent.add_channel(ChannelConfig("files", "theirs"), exchange=lambda: exchange, parser=JsonParser)
    agent.add_channel(ChannelConfig("no-such", "theirs too"), parser=JsonParser)
    assert ["'no-such': not installed" in str(problem) for problem in agent.problems] == [True]
    assert agent.store(ChannelConfig("any", store_options={"path": folder})).list("") == []
    assert agent.start()
    try:
        assert b'"returncode": "0"' in exchange.ask(b'{"name": "version"}').answer(timeout=30)
        assert not (folder / "run/guestagent/agent.sock").exists()
    finally:
        agent.stop()
        agent.join()
