"""Writes down what is public: ``python tools/public_api.py`` renews ``tools/public_api.txt``.

A test compares that file with what is installed, so that no public name or signature changes unseen.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import re
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RECORD = Path(__file__).with_name("public_api.txt")
MODULES = (
    "guestagent_commands_net.backends",
    "guestagent_commands_net.families",
    "guestagent_commands_net.model",
    "guestagent_commands_net.testing",
    "guestagent_core",
    "guestagent_core.agent",
    "guestagent_core.client",
    "guestagent_core.config",
    "guestagent_core.discovery",
    "guestagent_core.errors",
    "guestagent_core.hookspecs",
    "guestagent_core.journal",
    "guestagent_core.protocols",
    "guestagent_core.testing",
    "guestagent_json",
    "guestagent_pytest",
    "guestagent_xen.exchange",
    "guestagent_xen.store",
)
"""What vendors, front ends and configurations may rely on; everything else may change in any release."""


def listing() -> str:
    """Returns the whole listing."""
    lines: list[str] = []
    for module in MODULES:
        lines += [f"[{module}]", *names_of(module), ""]
    lines += ["[guestagent]", *command_line()]
    return "\n".join(lines) + "\n"


def names_of(module: str) -> Iterator[str]:
    """Gives a line for each public name of a module, and for what it holds."""
    found = importlib.import_module(module)
    for name in sorted(found.__all__):
        value = getattr(found, name)
        defined_in = getattr(value, "__module__", None)
        if name == "__version__":
            yield f"{name}: {kind(value)}"
        elif isinstance(defined_in, str) and defined_in != module and defined_in in MODULES:
            yield f"{name} = {defined_in}.{name}"
        elif isinstance(value, type) and typing.get_origin(value) is None:  # 3.10 takes an alias for a class
            yield from described_class(name, value)
        elif inspect.isfunction(value):
            yield f"def {name}{signature(value)}"
        elif isinstance(value, (str, int, float)):
            yield f"{name} = {value!r}"
        else:
            yield f"{name}: {kind(value)}"


def described_class(name: str, cls: type) -> Iterator[str]:
    """Gives the lines of a class; what it inherits from a base of ours is in the lines of that base or in its own."""
    bases = ", ".join(base.__name__ for base in cls.__bases__ if base not in (object, typing.Generic))
    yield f"class {name}({bases})" if bases else f"class {name}"
    built_by = vars(cls).get("__init__")
    if inspect.isfunction(built_by) and not getattr(cls, "_is_protocol", False):
        yield f"    __init__{signature(built_by)}"
    members: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not base.__module__.startswith("guestagent"):
            continue
        for member, annotation in vars(base).get("__annotations__", {}).items():
            members[member] = f"{member}: {annotation_text(annotation)}"
        members.update((name, f"{name}: an attribute") for name in attributes_set_by(vars(base).get("__init__")))
        for member, value in vars(base).items():
            if member in members and not callable(value) and not isinstance(value, type):
                continue
            members[member] = described_member(member, value)
    if is_tuple(cls):
        defaults = getattr(cls, "_field_defaults", {})
        for field in cls._fields:  # type: ignore[attr-defined]  # it is a named tuple
            members[field] += f" = {defaults[field]!r}" if field in defaults else ""
        for own in ("count", "index"):
            members.pop(own, None)
    for member in sorted(members):
        if not member.startswith("_"):
            yield f"    {members[member]}"


def described_member(name: str, value: Any) -> str:
    """Returns the line of a method, a property or another attribute."""
    if isinstance(value, (classmethod, staticmethod)):
        return f"@{type(value).__name__} def {name}{signature(value.__func__)}"
    if inspect.isfunction(value) and not hasattr(value, "_pytestfixturefunction"):
        return f"def {name}{signature(value)}"
    if isinstance(value, property):
        return f"@property {name}"
    if dataclasses.is_dataclass(value) and isinstance(value, type):
        return f"{name}{signature(value.__init__)}"
    return f"{name}: {kind(value)}"


def attributes_set_by(function: Any) -> list[str]:
    """Returns the public attributes that a method gives its object."""
    if not inspect.isfunction(function) or function.__code__.co_filename == "<string>":  # a dataclass' own
        return []
    return sorted(set(re.findall(r"^\s+self\.([a-z]\w*)(?:: [^=]+)? = ", inspect.getsource(function), re.MULTILINE)))


def command_line() -> Iterator[str]:
    """Gives the subcommands of ``guestagent`` with what they take."""
    from guestagent_core import cli

    parser = cli._parser(["run"])
    (subparsers,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for name, subparser in sorted(subparsers.choices.items()):
        takes = (option for action in subparser._actions for option in action.option_strings or (action.metavar,))
        yield f"{name}: {' '.join(str(option) for option in takes if option not in ('-h', '--help'))}"


def signature(function: Any) -> str:
    """Returns the signature as it is written, the same on every Python."""
    parameters = []
    found = inspect.signature(function)
    star = False
    for parameter in found.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            parameters.append("*")
        star = star or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        prefix = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
        prefix = "**" if parameter.kind is parameter.VAR_KEYWORD else prefix
        annotation = "" if parameter.annotation is parameter.empty else f": {annotation_text(parameter.annotation)}"
        default = "" if parameter.default is parameter.empty else f" = {default_text(parameter.default)}"
        parameters.append(f"{prefix}{parameter.name}{annotation}{default}")
    returns = "" if found.return_annotation is found.empty else f" -> {annotation_text(found.return_annotation)}"
    return f"({', '.join(parameters)}){returns}"


def annotation_text(annotation: Any) -> str:
    """Returns an annotation as it is written."""
    annotation = getattr(annotation, "__forward_arg__", annotation)
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def default_text(value: Any) -> str:
    """Returns a default; where it has no text of its own, its type's name."""
    text = repr(value)
    return "..." if text.startswith("<") or value is ... else text.replace("PosixPath", "Path")


def kind(value: Any) -> str:
    """Returns what a value is, in a word that does not change from one release of a library to the next."""
    if type(value).__name__ == "FixtureFunctionDefinition" or hasattr(value, "_pytestfixturefunction"):
        return "fixture"
    if type(value).__module__ in ("typing", "types", "collections.abc") or "Alias" in type(value).__name__:
        return str(value)
    return type(value).__name__


def is_tuple(cls: type) -> bool:
    """Whether a class is a named tuple."""
    return issubclass(cls, tuple) and hasattr(cls, "_fields")


if __name__ == "__main__":
    RECORD.write_text(listing())
    sys.stdout.write(f"{RECORD} has {len(RECORD.read_text().splitlines())} lines\n")
