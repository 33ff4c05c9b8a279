"""TOML tables turned into frozen dataclasses, every mistake named by its key.

Written here because no maintained library does both: the strict ones either accept ``true`` for an integer and take a
string for an array of letters, or drop unknown keys, or bring a C extension that a guest may have no wheel for.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from .errors import ConfigError

__all__ = ("read_options",)

OptionsT = TypeVar("OptionsT")


def read_options(
    cls: type[OptionsT], table: Mapping[str, Any], where: str, places: Mapping[str, Path] | None = None
) -> OptionsT:
    """Returns an object of the dataclass ``cls`` with the values of ``table``.

    A field's type may be str, int, float, bool, Path, a Literal, a dataclass, a union of these, or a tuple or mapping
    of them. A Path may begin with the name of a place in braces, such as ``{state_dir}``, also in the field's default.

    :param where: the file and the keys that lead to ``table``, for errors.
    :param places: the folders that such names stand for.
    :raises ConfigError: a key is unknown or missing, or a value has the wrong type.
    """
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]  # is one
    for key in table:
        if key not in fields:
            known = ", ".join(fields) or "there are none"
            raise ConfigError(f"{where}: unknown key {key!r} (known: {known})")
    hints = typing.get_type_hints(cls) if table else {}
    values = {key: _convert(hints[key], value, f"{where}: {key}", places) for key, value in table.items()}
    for name, field in fields.items():
        default = field.default
        if name not in values and default is field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}: the key {name!r} is missing")
        if name not in values and default is not dataclasses.MISSING:
            values[name] = _placed(default, f"{where}: {name}", places)
    try:
        return cls(**values)
    except ValueError as error:  # the dataclass' own check, in __post_init__
        raise ConfigError(f"{where}: {error}") from error


def _placed(value: Any, where: str, places: Mapping[str, Path] | None) -> Any:
    if type(value) is tuple:
        return tuple(_placed(item, where, places) for item in value)
    if isinstance(value, Path) and places is not None:
        first, *rest = value.parts or ("",)
        if first.startswith("{"):
            if first[1:-1] not in places or not first.endswith("}"):
                known = ", ".join(f"{{{name}}}" for name in places)
                raise ConfigError(f"{where}: the path begins with an unknown place (known: {known})")
            return places[first[1:-1]].joinpath(*rest)
    return value


def _convert(wanted: Any, value: Any, where: str, places: Mapping[str, Path] | None) -> Any:
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if wanted is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        choices = [choice for choice in arguments if choice is not type(None)]
        if value is None and len(choices) < len(arguments):
            return None
        if len(choices) == 1:  # its own error says more than "found a table"
            return _convert(choices[0], value, where, places)
        for choice in choices:
            try:
                return _convert(choice, value, where, places)
            except ConfigError:
                continue
    elif origin is typing.Literal:
        if any(value == choice and type(value) is type(choice) for choice in arguments):
            return value
    elif origin is tuple:
        if isinstance(value, (list, tuple)):
            return tuple(_convert(arguments[0], item, f"{where}[{index}]", places) for index, item in enumerate(value))
    elif origin is not None and issubclass(origin, Mapping):
        if isinstance(value, Mapping):
            return {key: _convert(arguments[1], item, f"{where}.{key}", places) for key, item in value.items()}
    elif dataclasses.is_dataclass(wanted):
        if isinstance(value, Mapping):
            return read_options(typing.cast("type[Any]", wanted), value, where, places)
    elif wanted is Path:
        if isinstance(value, (str, Path)) and str(value):
            return _placed(Path(value), where, places)
    elif wanted is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            with suppress(OverflowError):  # an integer of more than 308 digits
                return float(value)
    elif isinstance(value, wanted) and isinstance(value, bool) == (wanted is bool):
        return value
    raise ConfigError(f"{where}: expected {_named(wanted)}, found {_described(value)}")


_NAMES = {str: "a string", int: "an integer", float: "a number", bool: "true or false", Path: "a path"}


def _named(wanted: Any) -> str:
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_named(choice) for choice in arguments if choice is not type(None))
    if origin is typing.Literal:
        return "one of " + ", ".join(repr(choice) for choice in arguments)
    if origin is tuple:
        return f"an array, each item {_named(arguments[0])}"
    return _NAMES.get(wanted, "a table")


def _described(value: object) -> str:
    """What a value is, without the value itself: it may be a secret."""
    for kind, name in ((bool, "a boolean"), (str, "a string"), (int, "an integer"), (float, "a number")):
        if isinstance(value, kind):
            return name
    return (
        "an array" if isinstance(value, (list, tuple)) else "a table" if isinstance(value, Mapping) else "another type"
    )
