"""The configuration: a TOML file, or nothing at all, turned into frozen dataclasses."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .errors import ConfigError
from .options import read_options

__all__ = ("DEFAULT_FILE", "AgentConfig", "ChannelConfig", "Config", "load_config")

DEFAULT_FILE = Path("/etc/guestagent/config.toml")


@dataclass(frozen=True)
class AgentConfig:
    """The table ``[agent]``."""

    root: Path = Path("/")
    """The folder that is the guest's ``/``."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What is logged: this and what is more important."""
    commands: tuple[str, ...] = ("*",)
    """Names of command packs; ``*`` is every installed one, ``!NAME`` leaves one out. ``builtin`` is always there
    unless it is left out."""
    hooks: tuple[str, ...] = ("*",)
    """Names of hooks plugins, written in the same way."""
    state_dir: Path | None = None
    """What must survive a restart. Default: ``$STATE_DIRECTORY``, else ``var/lib/guestagent`` under the root; for a
    user and the root ``/``, ``$XDG_STATE_HOME/guestagent`` or ``~/.local/state/guestagent``."""
    run_dir: Path | None = None
    """Where the socket is. Default: ``$RUNTIME_DIRECTORY``, else ``run/guestagent`` under the root; for a user and the
    root ``/``, ``$XDG_RUNTIME_DIR/guestagent`` or ``/tmp/guestagent-UID``."""

    def places(self) -> dict[str, Path]:
        """Returns the folders that a path in the configuration can begin with: root, state_dir and run_dir."""
        root = Path(os.path.abspath(self.root))
        state, run = root / "var/lib/guestagent", root / "run/guestagent"
        if root == Path("/") and os.geteuid() != 0:
            state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state", "guestagent")
            runtime = os.environ.get("XDG_RUNTIME_DIR")
            run = Path(runtime, "guestagent") if runtime else Path(f"/tmp/guestagent-{os.geteuid()}")  # noqa: S108 - only used if it is ours
        return {
            "root": root,
            "state_dir": self.state_dir or _first_directory("STATE_DIRECTORY") or state,
            "run_dir": self.run_dir or _first_directory("RUNTIME_DIRECTORY") or run,
        }


def _first_directory(variable: str) -> Path | None:
    """What systemd sets for StateDirectory= and RuntimeDirectory=: folders, separated by colons."""
    first = os.environ.get(variable, "").partition(":")[0]
    return Path(first) if first else None


@dataclass(frozen=True)
class ChannelConfig:
    """One ``[[channel]]``: an exchange and a parser that belong together."""

    exchange: str
    """The entry point's name in ``guestagent.exchanges``."""
    name: str = ""
    """Unique, and to be kept: the journal knows the channel by it. Default: the exchange's name."""
    parser: str = "json"
    """The entry point's name in ``guestagent.parsers``."""
    store: str | None = None
    """Default: the store of the exchange's own name if there is one, else ``files``."""
    allow: tuple[str, ...] = ("*",)
    """The commands that the channel may run: names, or patterns such as ``net.*``."""
    deny: tuple[str, ...] = ()
    """Those that it may not run, though allowed."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The options of the exchange."""
    parser_options: Mapping[str, Any] = field(default_factory=dict)
    """The options of the parser."""
    store_options: Mapping[str, Any] = field(default_factory=dict)
    """The options of the store."""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.exchange)


@dataclass(frozen=True)
class Config:
    """A whole configuration; what is left out has the defaults of a newly installed agent."""

    agent: AgentConfig = AgentConfig()
    channel: tuple[ChannelConfig, ...] = ()
    """Default: the local socket, and XenStore where there is one."""
    commands: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The options of command packs, by name."""
    hooks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The options of hooks plugins, by name."""
    file: str = "the default configuration"
    """Where it comes from, for errors."""

    def __post_init__(self) -> None:
        names = [channel.name for channel in self.channel]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"channel: two channels are named {name!r}; give each a name of its own")


def load_config(file: Path | None = None) -> Config:
    """Reads ``file``; without one, :data:`DEFAULT_FILE` if it exists, else the defaults.

    :raises ConfigError: the file cannot be read, or is not valid.
    """
    chosen = DEFAULT_FILE if file is None else file
    try:
        content = chosen.read_bytes()
    except OSError as error:
        if file is None and isinstance(error, FileNotFoundError):
            return Config()
        raise ConfigError(f"{chosen}: cannot be read: {error.strerror}") from error
    import sys

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        table = tomllib.loads(content.decode())
    except ValueError as error:  # not UTF-8, or not TOML
        raise ConfigError(f"{chosen}: {error}") from error
    if "file" in table:
        raise ConfigError(f"{chosen}: unknown key 'file' (known: agent, channel, commands, hooks)")
    return read_options(Config, {**table, "file": str(chosen)}, str(chosen))
