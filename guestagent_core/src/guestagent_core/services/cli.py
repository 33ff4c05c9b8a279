"""``guestagent service install | uninstall``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from guestagent_core.errors import ConfigError

from .detecting import INIT_SYSTEMS, detect
from .installing import install, uninstall

__all__ = ("add_service",)


def add_service(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands of ``guestagent service``."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    installing = actions.add_parser("install", help="have the agent started at every boot")
    installing.add_argument("--program", metavar="PATH", help="the agent's program; default: this one")
    installing.add_argument("--now", action="store_true", help="start it, too")
    installing.set_defaults(run=_install)
    uninstalling = actions.add_parser("uninstall", help="stop the agent, and have it started no more")
    uninstalling.set_defaults(run=_uninstall)
    for action in (installing, uninstalling):
        action.add_argument("--root", type=Path, metavar="DIR", help="an image, whose init system is not called")
        names = [system.name for system in INIT_SYSTEMS]
        action.add_argument("--init", choices=names, help="the init system; default: the one that is found")


def _install(options: argparse.Namespace) -> int:
    root = _root(options)
    program = options.program or _program(root)
    system = detect(root, options.init)
    return _say(system.name, install(system, root, program, start=options.now))


def _uninstall(options: argparse.Namespace) -> int:
    root = _root(options)
    system = detect(root, options.init)
    return _say(system.name, uninstall(system, root))


def _root(options: argparse.Namespace) -> Path:
    return Path(os.path.abspath(options.root or "/"))


def _program(root: Path) -> str:
    """Returns the program that runs now, as a path of the guest."""
    program = Path(os.path.abspath(sys.argv[0]))
    if program.name != "guestagent":  # python -m guestagent_core
        program = Path(sys.executable).with_name("guestagent")
    if not program.exists():
        raise ConfigError(f"{program}: not there; name the agent's program with --program")
    return f"/{program.relative_to(root)}" if program.is_relative_to(root) else str(program)


def _say(name: str, done: list[str]) -> int:
    for line in done or ["nothing is to be done"]:
        print(f"{name}: {line}")
    return 0
