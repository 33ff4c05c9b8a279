"""The configuration: what a file may say, what goes without saying, and what is wrong with it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from guestagent_core import ConfigError, config
from guestagent_core.config import DEFAULT_FILE, AgentConfig, ChannelConfig, Config, load_config

WHOLE = """
[agent]
root = "/guest"
log_level = "debug"
commands = ["*", "!kms"]
hooks = ["audit"]
state_dir = "/srv/state"
run_dir = "/srv/run"

[[channel]]
exchange = "xenstore"
parser = "text"
store = "xenstore"
allow = ["net.*", "version"]
deny = ["net.reset"]
[channel.options]
request_path = "data/host"
[channel.parser_options]
limit = 5
[channel.store_options]
path = "/srv/store"

[[channel]]
name = "second"
exchange = "xenstore"

[commands.system]
strict = true

[hooks.audit]
file = "/var/log/audit"
"""


def write(folder: Path, text: str | bytes) -> Path:
    file = folder / "agent.toml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    file = write(tmp_path, WHOLE)
    assert load_config(file) == Config(
        agent=AgentConfig(
            root=Path("/guest"),
            log_level="debug",
            commands=("*", "!kms"),
            hooks=("audit",),
            state_dir=Path("/srv/state"),
            run_dir=Path("/srv/run"),
        ),
        channel=(
            ChannelConfig(
                exchange="xenstore",
                name="xenstore",
                parser="text",
                store="xenstore",
                allow=("net.*", "version"),
                deny=("net.reset",),
                options={"request_path": "data/host"},
                parser_options={"limit": 5},
                store_options={"path": "/srv/store"},
            ),
            ChannelConfig(exchange="xenstore", name="second"),
        ),
        commands={"system": {"strict": True}},
        hooks={"audit": {"file": "/var/log/audit"}},
        file=str(file),
    )


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    file = write(tmp_path, "")
    assert load_config(file) == dataclasses.replace(Config(), file=str(file))


def test_the_defaults_are_those_of_a_newly_installed_agent() -> None:
    agent = Config().agent
    assert (agent.root, agent.log_level, agent.commands, agent.hooks) == (Path("/"), "info", ("*",), ("*",))
    assert Config().channel == ()
    channel = ChannelConfig("local")
    assert (channel.name, channel.parser, channel.store) == ("local", "json", None)
    assert (channel.allow, channel.deny, channel.options) == (("*",), (), {})


def test_the_default_file_is_below_etc() -> None:
    assert Path("/etc/guestagent/config.toml") == DEFAULT_FILE


def test_without_a_file_the_default_one_is_read_if_it_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "DEFAULT_FILE", tmp_path / "agent.toml")
    assert load_config() == Config()
    file = write(tmp_path, '[agent]\nroot = "/guest"')
    assert load_config().agent.root == Path("/guest")
    assert load_config().file == str(file)


def test_a_default_file_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To go on without it would be to go on without what it forbids."""
    monkeypatch.setattr(config, "DEFAULT_FILE", tmp_path)
    with pytest.raises(ConfigError, match=r": cannot be read: Is a directory$"):
        load_config()


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "none.toml")
    assert str(caught.value) == f"{tmp_path / 'none.toml'}: cannot be read: No such file or directory"


CHANNEL = '[[channel]]\nexchange = "local"\n'
WRONG: list[tuple[str, str]] = [
    ("root = 5", "unknown key 'root' (known: agent, channel, commands, hooks, file)"),
    ('file = "x"', "unknown key 'file' (known: agent, channel, commands, hooks)"),
    ("agent = 5", "agent: expected a table, found an integer"),
    ("[agent]\nroot = 5", "agent: root: expected a path, found an integer"),
    (
        '[agent]\nlog_level = "loud"',
        "agent: log_level: expected one of 'debug', 'info', 'warning', 'error', found a string",
    ),
    ('[agent]\ncommands = "net"', "agent: commands: expected an array, each item a string, found a string"),
    (
        "[agent]\nlog = 5",
        "agent: unknown key 'log' (known: root, log_level, commands, hooks, state_dir, run_dir)",
    ),
    ('[channel]\nexchange = "local"', "channel: expected an array, each item a table, found a table"),
    ("[[channel]]", "channel[0]: the key 'exchange' is missing"),
    (CHANNEL + "[[channel]]\nexchange = true", "channel[1]: exchange: expected a string, found a boolean"),
    (CHANNEL + "allow = [1]", "channel[0]: allow[0]: expected a string, found an integer"),
    (CHANNEL + "options = 5", "channel[0]: options: expected a table, found an integer"),
    (CHANNEL + CHANNEL, "channel: two channels are named 'local'; give each a name of its own"),
    (
        CHANNEL + '[[channel]]\nexchange = "tcp"\nname = "local"',
        "channel: two channels are named 'local'; give each a name of its own",
    ),
    ("[commands]\nnet = 5", "commands.net: expected a table, found an integer"),
    ("[hooks]\naudit = []", "hooks.audit: expected a table, found an array"),
]


@pytest.mark.parametrize(("text", "expected"), WRONG)
def test_a_mistake_is_an_error_that_names_the_file_and_the_key(tmp_path: Path, text: str, expected: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert str(caught.value) == f"{file}: {expected}"


@pytest.mark.parametrize("text", [b"[agent", b'[agent]\nroot = "/"\nroot = "/"', b'[agent]\nroot = "\xff"'])
def test_what_is_not_toml_is_an_error_that_names_the_file(tmp_path: Path, text: bytes) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert str(caught.value).startswith(f"{file}: ")


def test_two_channels_of_one_name_are_an_error_without_a_file_too() -> None:
    with pytest.raises(ConfigError, match="two channels are named 'a'"):
        Config(channel=(ChannelConfig("a"), ChannelConfig("b", name="a")))
    assert len(Config(channel=(ChannelConfig("a"), ChannelConfig("a", name="b"))).channel) == 2


# Places


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing about folders; whoever runs the test counts as root."""
    for variable in ("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", "/homes/jo")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return monkeypatch


def places(root: str, state_dir: str, run_dir: str) -> dict[str, Path]:
    return {"root": Path(root), "state_dir": Path(state_dir), "run_dir": Path(run_dir)}


def test_root_has_the_systems_folders(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("XDG_STATE_HOME", "/xdg/state")
    bare.setenv("XDG_RUNTIME_DIR", "/xdg/run")
    assert AgentConfig().places() == places("/", "/var/lib/guestagent", "/run/guestagent")


@pytest.mark.parametrize("uid", [0, 1000])
def test_another_root_holds_its_own_folders(bare: pytest.MonkeyPatch, uid: int) -> None:
    bare.setattr(os, "geteuid", lambda: uid)
    expected = places("/guest", "/guest/var/lib/guestagent", "/guest/run/guestagent")
    assert AgentConfig(root=Path("/guest")).places() == expected


def test_a_relative_root_counts_from_the_working_folder(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.chdir(tmp_path)
    assert AgentConfig(root=Path("a/../guest")).places()["state_dir"] == tmp_path / "guest/var/lib/guestagent"


def test_a_user_has_folders_of_their_own(bare: pytest.MonkeyPatch) -> None:
    bare.setattr(os, "geteuid", lambda: 1234)
    assert AgentConfig().places() == places("/", "/homes/jo/.local/state/guestagent", "/tmp/guestagent-1234")
    bare.setenv("XDG_STATE_HOME", "/xdg/state")
    bare.setenv("XDG_RUNTIME_DIR", "/xdg/run")
    assert AgentConfig().places() == places("/", "/xdg/state/guestagent", "/xdg/run/guestagent")


@pytest.mark.parametrize("uid", [0, 1000])
@pytest.mark.parametrize("root", ["/", "/guest"])
def test_the_service_managers_folders_win(bare: pytest.MonkeyPatch, uid: int, root: str) -> None:
    bare.setattr(os, "geteuid", lambda: uid)
    bare.setenv("STATE_DIRECTORY", "/var/lib/first:/var/lib/second")
    bare.setenv("RUNTIME_DIRECTORY", "/run/first")
    assert AgentConfig(root=Path(root)).places() == places(root, "/var/lib/first", "/run/first")


def test_an_empty_variable_says_nothing(bare: pytest.MonkeyPatch) -> None:
    for variable in ("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        bare.setenv(variable, "")
    assert AgentConfig().places() == places("/", "/var/lib/guestagent", "/run/guestagent")
    bare.setattr(os, "geteuid", lambda: 1234)
    assert AgentConfig().places() == places("/", "/homes/jo/.local/state/guestagent", "/tmp/guestagent-1234")


def test_what_is_configured_wins_over_everything(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("STATE_DIRECTORY", "/var/lib/first")
    bare.setenv("RUNTIME_DIRECTORY", "/run/first")
    agent = AgentConfig(state_dir=Path("/srv/state"), run_dir=Path("/srv/run"))
    assert agent.places() == places("/", "/srv/state", "/srv/run")
