"""The modules ``agentlib``, ``plugins`` and ``commands``: made in memory, for this process alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from .library import library
from .old_plugins import JsonParser, XSComm

if TYPE_CHECKING:
    from .session import Session

__all__ = ("OldModules", "active_modules", "old_modules")

_PACKAGES = ("commands", "plugins")
_NAMES = ("agentlib", "commands", "commands.command_list", "plugins")
_LISTS = ("__init__", "command_list")


class OldModules(MetaPathFinder, Loader):
    """Finds and makes the old modules.

    :param folder: where an old configuration lies: modules in its folders ``commands`` and ``plugins`` are found as
        those of the packages of these names, and ``commands.command_list`` imports all of ``commands``.
    """

    def __init__(self, session: Session, folder: Path | None = None) -> None:
        self._session = session
        self._folders: list[Path] = []
        self._paths: dict[str, list[str]] = {name: [] for name in _PACKAGES}
        if folder is not None:
            self.add_folder(folder)

    def add_folder(self, folder: Path) -> None:
        """Has modules found in one more folder, from now on."""
        if folder not in self._folders:
            self._folders.append(folder)
            for name, path in self._paths.items():  # each is the package's own __path__
                path.append(str(folder / name))

    @property
    def session(self) -> Session:
        """What the modules share."""
        return self._session

    def install(self) -> None:
        """Puts this finder before all others.

        :raises ImportError: other modules of these names are there already.
        """
        for name in _NAMES:
            if name in sys.modules:
                file = getattr(sys.modules[name], "__file__", None)
                raise ImportError(f"Another module named {name} is loaded already: {file}")
        sys.meta_path.insert(0, self)

    def uninstall(self) -> None:
        """Takes this finder and the old modules away."""
        sys.meta_path.remove(self)
        for name in tuple(sys.modules):
            if name in _NAMES or name.partition(".")[0] in _PACKAGES:
                del sys.modules[name]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns the spec of an old module, None for any other."""
        if fullname not in _NAMES:
            return None
        spec = spec_from_loader(fullname, self, origin="guestagent_legacy", is_package=fullname in _PACKAGES)
        if spec is not None and fullname in _PACKAGES:
            spec.submodule_search_locations = self._paths[fullname]
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Makes ``commands`` a module that also has what a vendor puts on its CommandBase."""
        return _Commands(spec.name, self._session) if spec.name == "commands" else None

    def exec_module(self, module: ModuleType) -> None:
        """Fills a module."""
        if module.__name__ == "agentlib":
            vars(module).update(library(self._session))
        elif module.__name__ == "plugins":
            vars(module).update(JsonParser=JsonParser, XSComm=XSComm)
        elif module.__name__ == "commands":
            vars(module).update(self._session.commands.members())
            self._session.commands.module = module
        else:
            for folder in self._folders:
                for file in sorted((folder / "commands").glob("*.py")):
                    if file.stem not in _LISTS and not file.name.startswith("."):  # such as "._acme.py", of a Mac's tar
                        import_module(f"commands.{file.stem}")


class _Commands(ModuleType):
    def __init__(self, name: str, session: Session) -> None:
        super().__init__(name)
        self.__dict__["_base"] = session.commands.command_base

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__dict__["_base"], name)


def active_modules() -> OldModules | None:
    """Returns what finds the old modules of this process, None if there are none."""
    return next((finder for finder in sys.meta_path if isinstance(finder, OldModules)), None)


@contextmanager
def old_modules(session: Session, folder: Path | None = None) -> Iterator[None]:
    """Has the old modules inside of the ``with`` and nowhere else.

    :raises ImportError: other modules of these names are there already.
    """
    modules = OldModules(session, folder)
    modules.install()
    try:
        yield
    finally:
        modules.uninstall()
