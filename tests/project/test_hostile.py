"""A plugin cannot take the agent down: a distribution that tries it in every way, installed for real."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from guestagent_core.client import LocalClient

PATIENCE = 60.0  # seconds
NO_HOOKS = "hooks = []"


class Environment(Protocol):
    @property
    def python(self) -> Path: ...
    def install(self, source: Path, *options: str) -> None: ...


class Agent:
    """An agent with the hostile distribution, and whatever else a test has configured."""

    def __init__(self, environment: Environment, folder: Path, hooks: str, channels: str) -> None:
        self.folder = folder
        config = folder / "config.toml"
        local = f'[[channel]]\nexchange = "local"\n[channel.options]\npath = "{folder}/agent.sock"\n'
        config.write_text(f"[agent]\n{hooks}\n{local}{channels}")
        self._ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ready.bind(os.fspath(folder / "notify.sock"))
        self._ready.settimeout(PATIENCE)
        command = [str(environment.python), "-m", "guestagent_core", "run", "--config", str(config), "--root"]
        variables = {
            **os.environ,
            "NOTIFY_SOCKET": str(folder / "notify.sock"),
            "STATE_DIRECTORY": str(folder / "state"),
            "RUNTIME_DIRECTORY": str(folder),
        }
        with open(folder / "log", "wb") as log:
            self.process = subprocess.Popen([*command, str(folder)], env=variables, stderr=log, stdout=log)
        assert self._ready.recv(100) == b"READY=1"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def ask(self, name: str, value: Any = "") -> tuple[str, str]:
        with LocalClient(self.folder / "agent.sock", timeout=PATIENCE) as client:
            answer = json.loads(client.request(json.dumps({"name": name, "value": value}).encode()))
        return answer["returncode"], answer["message"]

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._ready.close()


@pytest.fixture(scope="module")
def installed(shared_environment: Environment) -> Environment:
    for name in ("hostile", "broken"):
        shared_environment.install(Path(__file__).parents[1] / "vendor" / name)
    return shared_environment


@contextlib.contextmanager
def running(environment: Environment, hooks: str = NO_HOOKS, channels: str = "") -> Iterator[Agent]:
    with tempfile.TemporaryDirectory(prefix="ga-") as folder:
        agent = Agent(environment, Path(folder), hooks, channels)
        try:
            yield agent
        finally:
            agent.close()


@pytest.fixture(scope="module")
def agent(installed: Environment) -> Iterator[Agent]:
    with running(installed) as agent:
        yield agent


@pytest.mark.parametrize(
    ("command", "answer", "log"),
    [
        ("raises", "raises on purpose", "guestagent_hostile/commands.py"),
        (
            "exits",
            "tried to exit the agent",
            "guestagent_hostile.commands.Hostile tried to end the agent: Syst",
        ),
        (
            "interrupts",
            "tried to exit",
            "guestagent_hostile.commands.Hostile tried to end the agent: Keyb",
        ),
        ("escapes", "tried to exit", "of guestagent_hostile.commands.Hostile tried to end the agent: NobodysError"),
        ("rubbish", "something other than (code, message)", "of guestagent_hostile.commands.Hostile returned a dict"),
        ("unspeakable", "Command 'hostile.unspeakable' answered what JSON cannot hold", "hostile.unspeakable #"),
    ],
)
def test_a_command_that_misbehaves_is_answered_and_named(agent: Agent, command: str, answer: str, log: str) -> None:
    for _ in range(2):
        code, message = agent.ask(f"hostile.{command}")
        assert code == "500"
        assert answer in message
        assert log in agent.log
        assert agent.ask("version")[0] == "0"


def test_packs_that_cannot_be_loaded_are_named_with_their_package(agent: Agent) -> None:
    for name in ("cannot-import", "exits", "cannot-start"):
        assert f"guestagent.commands '{name}': guestagent_broken cannot be" in agent.log
    assert "hostile.raises" in agent.ask("features")[1]


@pytest.mark.parametrize("what", ["descriptors", "threads"])
def test_a_command_that_leaves_something_behind_is_named(installed: Environment, what: str) -> None:
    with running(installed) as agent:
        for _ in range(20):
            assert agent.ask(f"hostile.{what}", "6")[0] == "0"
        told = f"Command hostile.{what} of guestagent_hostile.commands.Hostile leaves {what} behind"
        assert agent.log.count(told) == 1
        assert agent.log.count("behind") == 1
        assert agent.ask("version")[0] == "0"
        assert agent.end() == 0


CHANNELS = {
    "hostile-raises": "(guestagent_hostile.exchanges.Raises)\n",
    "hostile-exits": "(guestagent_hostile.exchanges.Exits)\n",
    "hostile-rubbish": "(guestagent_hostile.exchanges.Rubbish)\n",
    "hostile-forgets": "an answer was lost (guestagent_hostile.exchanges.Forgets)\n",
    "hostile-constructor": "guestagent_hostile cannot be started: OSError: the constructor fails on purpose\n",
}


def test_exchanges_that_misbehave_are_named_and_the_rest_goes_on(installed: Environment) -> None:
    channels = "".join(f'[[channel]]\nexchange = "{name}"\n' for name in CHANNELS)
    with running(installed, channels=channels) as agent:
        for _ in range(20):
            assert agent.ask("version")[0] == "0"
        for name, told in CHANNELS.items():
            assert told in agent.log, name
        for name in ("raises", "exits", "rubbish"):  # it is not asked again and again
            assert agent.log.count(f"hostile-{name}: the exchange failed; it is tried again in 1 s") == 1
        assert agent.end() == 0
        assert "close fails on purpose" in agent.log


def test_a_parser_and_a_store_that_misbehave_are_named(installed: Environment) -> None:
    channels = "".join(
        f'[[channel]]\nexchange = "local"\nname = "{name}"\n{key} = "{name}"\n'
        f'[channel.options]\npath = "{{run_dir}}/{name}"\n'
        for name, key in (("hostile-parser", "parser"), ("hostile-store", "store"))
    )
    with running(installed, channels=channels) as agent:
        with LocalClient(agent.folder / "hostile-parser", timeout=PATIENCE) as client:
            assert client.request(b'{"name": "version", "value": ""}') == b"500 The parser failed"
        assert "hostile-parser: the parser failed (guestagent_hostile.parsers.Rubbish)" in agent.log
        assert "guestagent.stores 'hostile-store': guestagent_hostile cannot be started: OSError" in agent.log
        assert agent.ask("version")[0] == "0"
        assert agent.end() == 0


@pytest.mark.parametrize("name", ["hostile-import", "hostile-startup"])
def test_a_policy_that_cannot_be_had_denies_all_but_two_commands(installed: Environment, name: str) -> None:
    with running(installed, f'hooks = ["{name}"]') as agent:
        code, message = agent.ask("hostile.descriptors")
        assert code == "403"
        assert f"guestagent.hooks '{name}': guestagent_hostile" in message
        assert agent.ask("version")[0] == agent.ask("features")[0] == "0"
        assert f"guestagent.hooks '{name}': guestagent_hostile" in agent.log
        assert agent.end() == 0


@pytest.mark.parametrize("name", ["hostile-policy", "hostile-exit"])
def test_a_policy_that_fails_denies_and_is_named(installed: Environment, name: str) -> None:
    with running(installed, f'hooks = ["{name}"]') as agent:
        code, message = agent.ask("hostile.descriptors")
        assert code == "403"
        assert "a policy failed" in message
        named = f"(hooks plugin '{name}' of package guestagent_hostile)"
        assert f"A policy failed, so hostile.descriptors is denied {named}" in agent.log
        assert agent.end() == 0


def test_a_wrapper_that_returns_rubbish_makes_an_error(installed: Environment) -> None:
    with running(installed, 'hooks = ["hostile-wrapper"]') as agent:
        assert agent.ask("hostile.descriptors")[0] == "500"
        assert agent.ask("hostile.descriptors")[0] == "500"
        assert agent.end() == 0


def test_a_listener_that_fails_is_named(installed: Environment) -> None:
    with running(installed, 'hooks = ["hostile-listener"]') as agent:
        assert agent.ask("hostile.descriptors")[0] == "0"
        assert agent.end() == 0
        told = "The hooks plugin 'hostile-listener' of package guestagent_hostile failed in"
        assert f"{told} plugin_failed" in agent.log
        assert f"{told} shutdown" in agent.log
