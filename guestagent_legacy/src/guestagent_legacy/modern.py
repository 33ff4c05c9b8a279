"""Single old classes and modules in a configuration of today, so that a vendor can move step by step."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from guestagent_core import CommandBase, CommandRunner, Context

from .adapters import OldExchange, OldParser
from .modules import OldModules, active_modules
from .old_commands import pack_of
from .session import Session

__all__ = ("ClassOptions", "LegacyExchange", "LegacyPack", "LegacyParser")

_CLASS_NAME = re.compile(r"[\w.]+:\w+")


@dataclass(frozen=True)
class ClassOptions:
    """What ``[channel.options]`` and ``[channel.parser_options]`` take."""

    class_name: str
    """The module and the class, such as ``acme_comm:AcmeComm``."""
    folder: Path | None = None
    """Where the module lies, or the folder ``plugins`` with ``plugins.NAME``, if it is not installed."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """The keywords that the class is built with."""

    def __post_init__(self) -> None:
        if not _CLASS_NAME.fullmatch(self.class_name):
            raise ValueError(f"class_name must be MODULE:CLASS, not {self.class_name!r}")


class LegacyExchange(OldExchange):
    """An exchange of today that consists of an old class."""

    Options = ClassOptions

    def __init__(self, options: ClassOptions) -> None:
        super().__init__(_load(options)(**options.arguments))


class LegacyParser(OldParser):
    """A parser of today that consists of an old class, which is built with a registry of commands."""

    Options = ClassOptions

    def __init__(self, runner: CommandRunner, options: ClassOptions) -> None:
        cls = _load(options)
        super().__init__(cls(_session().commands, **options.arguments), runner)


class LegacyPack(CommandBase):
    """The commands of old modules."""

    @dataclass(frozen=True)
    class Options:
        """What ``[commands.legacy]`` takes."""

        modules: tuple[str, ...] = ()
        """The modules to import; the command classes that they define are built."""
        folder: Path | None = None
        """Where the modules lie, or the folder ``commands`` with ``commands.NAME``, if they are not installed."""
        keywords: Mapping[str, Any] = field(default_factory=dict)
        """What the classes are built with, as by ``commands.init``: ``testmode``, ``tmpdir``, or a vendor's own."""

    def __new__(cls, context: Context) -> LegacyPack:
        """Returns a pack of a class of its own, which has the commands."""
        options: LegacyPack.Options = context.options or cls.Options()
        instances: list[object] = []
        if options.modules:
            registry = _session().commands
            number = len(registry.classes_since(0))
            _find(options.folder)
            for name in options.modules:
                import_module(name)
            instances = registry.build(registry.classes_since(number), options.keywords)
        pack = pack_of(instances, context, cls)
        assert isinstance(pack, cls)
        return pack


def _load(options: ClassOptions) -> Any:
    _session()
    _find(options.folder)
    module, _, name = options.class_name.partition(":")
    return getattr(import_module(module), name)


def _find(folder: Path | None) -> None:
    if folder is None:
        return
    _modules().add_folder(folder)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _session() -> Session:
    """Returns what old code of this process shares."""
    return _modules().session


def _modules() -> OldModules:
    """Returns what finds the old modules; from the first time on, it does."""
    modules = active_modules()
    if modules is None:
        modules = OldModules(Session())
        modules.install()
    return modules
