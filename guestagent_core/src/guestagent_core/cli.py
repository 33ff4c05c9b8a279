"""The command line: ``guestagent run | call | plugins | check | new | demo``, and what installed packages add."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from .config import AgentConfig, Config, load_config
from .errors import ConfigError, GuestAgentError
from .version import VERSION

__all__ = ("main",)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0 success, 1 failure, 2 wrong use."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        parser = _parser(arguments)
        options = parser.parse_args(arguments)
        if options.run is None:
            parser.print_help()
            return 0
        status = options.run(options)
        sys.stdout.flush()
        return int(status)
    except GuestAgentError as error:
        print(f"guestagent: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="guestagent", description="The agent inside a virtual machine, extended with pip."
    )
    parser.set_defaults(run=None)
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    run = commands.add_parser("run", help="run the agent in the foreground")
    _add_config_options(run)
    run.add_argument("--socket", type=Path, metavar="PATH", help="the socket of the local channel")
    run.add_argument("--log-level", choices=("debug", "info", "warning", "error"), help="default: info")
    run.add_argument("--log-file", type=Path, metavar="FILE", help="default: standard error; SIGHUP reopens it")
    run.add_argument("--log-format", choices=("text", "json"), default="text", help="default: text")
    run.add_argument("--pid-file", type=Path, metavar="FILE", help="keep the process number there")
    run.set_defaults(run=_run)

    call = commands.add_parser("call", help="ask a running agent", description="Asks the agent over its local socket.")
    call.add_argument("name", metavar="NAME", help="the command")
    call.add_argument("value", metavar="VALUE", nargs="?", default="", help="JSON, or else a string; - reads it")
    call.add_argument("--socket", type=Path, metavar="PATH", help="the agent's socket")
    call.add_argument("--root", type=Path, metavar="DIR", help="the root that the agent was started with")
    call.add_argument("--timeout", type=float, metavar="SECONDS", default=30.0, help="default: 30")
    call.set_defaults(run=_call)

    plugins = commands.add_parser("plugins", help="show what is installed, and whether it works")
    _add_config_options(plugins)
    plugins.add_argument("--json", action="store_true", help="as JSON")
    plugins.set_defaults(run=_plugins)

    check = commands.add_parser("check", help="check the configuration and every plugin that is on")
    _add_config_options(check)
    check.set_defaults(run=_check)

    new = commands.add_parser("new", help="make a package of plugins of your own, with tests")
    new.add_argument("name", metavar="NAME", help="the package's name, such as guestagent_acme")
    new.add_argument("kinds", metavar="KIND", nargs="+", help="of what: pack, exchange, parser, hooks or backend")
    new.add_argument("--in", dest="parent", type=Path, metavar="DIR", default=Path(), help="default: this folder")
    new.set_defaults(run=_new)

    demo = commands.add_parser("demo", help="show an agent at work in a scratch folder")
    demo.add_argument("--keep", action="store_true", help="let the scratch folders stay")
    demo.add_argument("--pause", action="store_true", help="wait for Enter between two demos")
    demo.set_defaults(run=_demo)

    if not arguments or arguments[0] not in commands.choices:
        _add_plugin_commands(commands, arguments)
    return parser


def _add_config_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="default: /etc/guestagent/config.toml if it exists")
    parser.add_argument("--root", type=Path, metavar="DIR", help="use DIR as the guest's /")


def _add_plugin_commands(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], arguments: Sequence[str]
) -> None:
    """Adds the subcommands that packages offer; only the one that is asked for is imported."""
    from .discovery import CLI, Catalogue, load

    catalogue = Catalogue.installed()
    for name in dict.fromkeys(plugin.name for plugin in catalogue.plugins(CLI)):
        if name in commands.choices:
            raise ConfigError(f"A package offers the subcommand {name!r}, which is taken")
        offered = [plugin.package for plugin in catalogue.plugins(CLI) if plugin.name == name]
        subparser = commands.add_parser(name, help=f"of {' and '.join(offered)}")
        if name in arguments[:1]:
            load(catalogue.find(CLI, name))(subparser)


def _config(options: argparse.Namespace) -> Config:
    config = load_config(options.config)
    agent = config.agent
    if options.root is not None:
        agent = replace(agent, root=options.root)
    if getattr(options, "log_level", None) is not None:
        agent = replace(agent, log_level=options.log_level)
    return replace(config, agent=agent)


def _run(options: argparse.Namespace) -> int:
    from .agent import Agent
    from .service import pid_file, serve

    config = _config(options)
    if options.socket is not None:
        config = _with_socket(config, options.socket)
    reopen_log = _configure_logging(config.agent.log_level, options.log_file, options.log_format)
    with pid_file(options.pid_file) if options.pid_file is not None else nullcontext(lambda: None) as write_pid:
        return serve(Agent(config), reopen_log, on_ready=write_pid)


def _configure_logging(level: str, file: Path | None, layout: str) -> Callable[[], object]:
    """Sets the log up; returns what reopens it."""
    from .logs import JsonFormatter, LogFile, LogStream, text_formatter

    try:
        handler = LogStream() if file is None else LogFile(file)
    except OSError as error:
        raise ConfigError(f"{file}: the log cannot be written: {error.strerror}") from error
    handler.setFormatter(JsonFormatter() if layout == "json" else text_formatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    return handler.reopen if isinstance(handler, LogFile) else lambda: None


def _with_socket(config: Config, path: Path) -> Config:
    """Returns ``config`` with another socket for its local channel."""
    from .config import ChannelConfig

    channels = config.channel or (ChannelConfig("local"),)
    local = [channel for channel in channels if channel.exchange == "local"]
    if len(local) != 1:
        raise ConfigError(f"--socket is for a configuration with one local channel; {config.file} has {len(local)}")
    moved = replace(local[0], options={**local[0].options, "path": path.absolute()})
    return replace(config, channel=tuple(moved if channel is local[0] else channel for channel in channels))


def _call(options: argparse.Namespace) -> int:
    from .client import LocalClient
    from .json_wire import SUCCESS, decode_answer, encode_request, read_value

    text = options.value
    if text == "-":
        text = sys.stdin.buffer.read().decode(errors="surrogateescape").removesuffix("\n")
    if not options.timeout > 0:  # nor is NaN
        raise ConfigError(f"--timeout must be more than 0 seconds, not {options.timeout}")
    path = options.socket or AgentConfig(root=options.root or Path("/")).places()["run_dir"] / "agent.sock"
    with LocalClient(path, timeout=options.timeout) as client:
        code, message = decode_answer(client.request(encode_request(options.name, read_value(text))))
    if code in SUCCESS:
        print(message)
        return 0
    print(f"guestagent: {options.name}: {code}: {message}", file=sys.stderr)
    return 1


def _plugins(options: argparse.Namespace) -> int:
    rows = _plugin_rows(options)
    if options.json:
        import json

        print(json.dumps(rows, indent=2))
        return 0
    titles = ("group", "name", "package", "version", "on", "problem")
    table = [tuple(title.upper() for title in titles), *(tuple(row[title] for title in titles) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(titles) - 1)]
    for line in table:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]).rstrip())
    return 0


def _plugin_rows(options: argparse.Namespace) -> list[dict[str, str]]:
    """Returns what is known of each plugin; those that are off are not imported."""
    from .agent import Agent
    from .discovery import CLI, COMMANDS, DEMOS, EXCHANGES, HOOKS, PARSERS, STORES, load
    from .errors import PluginError

    logging.disable()  # what fails is in the table
    agent = Agent(_config(options))
    problems = {(error.group, error.name): error.reason for error in agent.problems if isinstance(error, PluginError)}
    used = set(agent.plugins)
    for group in (CLI, DEMOS):  # which are used when somebody asks for them
        for plugin in agent.catalogue.plugins(group):
            try:
                load(agent.catalogue.find(group, plugin.name))
                used.add(plugin)
            except PluginError as error:
                problems[error.group, error.name] = error.reason
    rows = []
    for group in agent.catalogue.groups():
        is_ours = group in (COMMANDS, EXCHANGES, HOOKS, PARSERS, STORES, CLI, DEMOS)
        for plugin in agent.catalogue.plugins(group):
            problem = problems.get((group, plugin.name), "")
            on = "failed" if problem else "yes" if plugin in used else "no" if is_ours else "-"
            fields = {"group": group, "name": plugin.name, "package": plugin.package, "version": plugin.version}
            rows.append({**fields, "on": on, "problem": problem})
    return rows


def _check(options: argparse.Namespace) -> int:
    from .agent import Agent

    logging.disable()  # what fails is printed below
    config = _config(options)
    agent = Agent(config)
    for problem in agent.problems:
        print(f"guestagent: {problem}", file=sys.stderr)
    if agent.problems:
        return 1
    commands = len(agent.registry.specs)
    print(f"{config.file}: valid; {len(agent.plugins)} plugins with {commands} commands are on")
    return 0


def _new(options: argparse.Namespace) -> int:
    from .scaffold import make_project

    for file in make_project(options.name, options.kinds, options.parent):
        print(file)
    return 0


def _demo(options: argparse.Namespace) -> int:
    from .demo import run_demos

    def pause() -> None:
        print("Press Enter to go on.", end="", flush=True)
        sys.stdin.readline()

    return 1 if run_demos(print, keep=options.keep, pause=pause if options.pause else lambda: None) else 0
