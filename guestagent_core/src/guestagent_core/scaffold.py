"""A vendor's distribution, made from templates: ``guestagent new``."""

from __future__ import annotations

import keyword
import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from .errors import ConfigError

__all__ = ("KINDS", "make_project")


@dataclass(frozen=True)
class _Kind:
    group: str
    module: str
    class_suffix: str
    says: str
    requires: str = ""


KINDS = {
    "pack": _Kind("guestagent.commands", "commands", "Commands", "commands that a host can ask for"),
    "exchange": _Kind("guestagent.exchanges", "exchange", "Exchange", "a way for requests to arrive"),
    "parser": _Kind("guestagent.parsers", "parser", "Parser", "an encoding of requests and answers"),
    "hooks": _Kind("guestagent.hooks", "hooks", "Hooks", "a policy, and a log of what was run"),
    "backend": _Kind(
        "guestagent.network_backends",
        "backend",
        "Backend",
        "a way to configure the network",
        "guestagent_commands_net>=3.0,<4",
    ),
}
"""What can be made, by name."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*")
_FILES = {  # by the template's name
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "gitignore": ".gitignore",
    "tests.yml": ".github/workflows/tests.yml",
}
_IMPORT = re.compile(r"^(?:from (?P<module>\S+) )?import (?P<names>.+)$")
_OURS = "guestagent_"


def make_project(name: str, kinds: Iterable[str], parent: Path) -> list[Path]:
    """Makes the folder of a distribution below ``parent`` and returns its files.

    :param name: the distribution's name; plugins are named after it, without a ``guestagent_`` in front.
    :param kinds: what it brings, of :data:`KINDS`.
    :raises ConfigError: the name cannot be one, a kind is unknown, or the folder is there already.
    """
    chosen = {kind: _kind(kind) for kind in dict.fromkeys(kinds)}
    values = _names(name)
    if not chosen:
        raise ConfigError(f"What is {name} to bring? One or several of: {', '.join(KINDS)}")
    folder = parent / values["package"]
    if folder.exists():
        raise ConfigError(f"{folder} is there already; choose another name, or another folder with --in")
    values |= _parts_of_project(chosen, values)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        # What is made half is made elsewhere, so that the folder is there with all its files or not at all.
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=parent) as staged:
            project = Path(staged, folder.name)
            for path, text in _contents(chosen, values).items():
                file = project / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            shutil.move(project, folder)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made: {error.strerror}") from error
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _kind(name: str) -> _Kind:
    try:
        return KINDS[name]
    except KeyError:
        raise ConfigError(f"There is no {name!r} to be made; there is {', '.join(KINDS)}") from None


def _names(name: str) -> dict[str, str]:
    package = name.replace("-", "_").lower()
    plugin = package.removeprefix(_OURS)
    if not _NAME.fullmatch(name) or keyword.iskeyword(package):
        raise ConfigError(f"A distribution cannot be named {name!r}: letters, digits and single dashes, a letter first")
    title = " ".join(word.capitalize() for word in plugin.split("_"))
    return {
        "distribution": name,
        "package": package,
        "plugin": plugin.replace("_", "-"),
        "class_name": title.replace(" ", ""),
        "title": title,
    }


def _parts_of_project(chosen: dict[str, _Kind], values: dict[str, str]) -> dict[str, str]:
    requires = ["guestagent_core>=3.0,<4", *(kind.requires for kind in chosen.values() if kind.requires)]
    entry_points = "".join(
        f'[project.entry-points."{kind.group}"]\n'
        f'{values["plugin"]} = "{values["package"]}.{kind.module}:{values["class_name"]}{kind.class_suffix}"\n\n'
        for kind in chosen.values()
    )
    contents = "\n".join(
        f"- `{values['package']}.{kind.module}`: {kind.says} (`{kind.group}`, `{values['plugin']}`)"
        for kind in chosen.values()
    )
    return {
        "dependencies": ", ".join(f'"{requirement}"' for requirement in requires),
        "entry_points": entry_points.rstrip("\n"),
        "contents": contents,
    }


def _contents(chosen: dict[str, _Kind], values: dict[str, str]) -> dict[str, str]:
    """Returns the text of each file, by its path."""
    package = f"src/{values['package']}"
    contents = {path: _filled(template, values) for template, path in _FILES.items()}
    contents[f"{package}/__init__.py"] = f'"""{values["title"]} for guestagent."""\n'
    contents[f"{package}/py.typed"] = ""
    for kind in chosen.values():
        contents[f"{package}/{kind.module}.py"] = _filled(f"{kind.module}.py", values)
    tests = [_filled(f"test_{kind.module}.py", values) for kind in chosen.values()]
    contents["tests/test_contracts.py"] = _joined_tests(tests, values)
    return contents


def _filled(template: str, values: dict[str, str]) -> str:
    text = files(__package__).joinpath(f"templates/{template}.tmpl").read_text(encoding="utf-8")
    return Template(text).substitute(values)


def _joined_tests(sources: list[str], values: dict[str, str]) -> str:
    """Returns one module of several: their imports come first, each once."""
    names: dict[str, set[str]] = {}
    bodies: list[str] = []
    for source in sources:
        imports, _, body = source.partition("\n\n\n")
        for line in imports.splitlines():
            found = _IMPORT.match(line)
            if found is not None:
                names.setdefault(found["module"] or "", set()).update(found["names"].split(", "))
        bodies.append(body.strip("\n"))
    plain = [f"import {name}" for name in sorted(names.pop("", ()))]
    lines = {module: f"from {module} import {', '.join(sorted(names[module], key=_order))}" for module in sorted(names)}
    own = [module for module in lines if module.split(".")[0] == values["package"]]
    others = [module for module in lines if module.startswith(_OURS) and module not in own]
    standard = [lines[module] for module in lines if module not in (*own, *others)]
    groups = [
        [line for line in plain if line != "import pytest"] + standard,
        [line for line in plain if line == "import pytest"] + [lines[module] for module in others],
        [lines[module] for module in own],
    ]
    imports = "\n\n".join("\n".join(group) for group in groups if group)
    title = f'"""The plugins of {values["distribution"]}, held to their contracts."""'
    return "\n\n\n".join([f"{title}\n\nfrom __future__ import annotations\n\n{imports}", *bodies]) + "\n"


def _order(name: str) -> tuple[bool, bool, str]:
    return (not name.isupper(), name[0].islower(), name)
