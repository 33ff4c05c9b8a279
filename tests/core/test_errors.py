"""The exception tree: what each error is, and what it carries."""

from __future__ import annotations

import copy
import pickle

import pytest

from guestagent_core import errors
from guestagent_core.errors import (
    CommandDeniedError,
    CommandError,
    CommandNotFoundError,
    CommandTimeoutError,
    ConfigError,
    ExchangeError,
    GuestAgentError,
    InvalidArgumentError,
    PluginConflictError,
    PluginError,
    PluginLoadError,
    PluginNotFoundError,
    ResponseTooLargeError,
)

# One of each: the error, its bases, its text, its attributes.
EACH: list[tuple[GuestAgentError, tuple[type[Exception], ...], str, dict[str, object]]] = [
    (GuestAgentError("odd"), (Exception,), "odd", {}),
    (
        PluginError("guestagent.stores", "redis", "it is broken"),
        (GuestAgentError,),
        "guestagent.stores 'redis': it is broken",
        {"group": "guestagent.stores", "name": "redis", "reason": "it is broken"},
    ),
    (PluginNotFoundError("g", "n", "r"), (PluginError,), "g 'n': r", {"group": "g", "name": "n", "reason": "r"}),
    (PluginLoadError("g", "n", "r"), (PluginError,), "g 'n': r", {"group": "g", "name": "n", "reason": "r"}),
    (PluginConflictError("g", "n", "r"), (PluginError,), "g 'n': r", {"group": "g", "name": "n", "reason": "r"}),
    (ConfigError("a.toml: no"), (GuestAgentError, ValueError), "a.toml: no", {}),
    (ExchangeError("gone"), (GuestAgentError,), "gone", {}),
    (
        ResponseTooLargeError(4096),
        (ExchangeError,),
        "The answer is larger than the 4096 bytes that fit",
        {"limit": 4096},
    ),
    (CommandError("failed"), (GuestAgentError,), "failed", {"code": 500}),
    (CommandError("teapot", 418), (GuestAgentError,), "teapot", {"code": 418}),
    (
        CommandNotFoundError("frobnicate"),
        (CommandError,),
        "No such agent command 'frobnicate'",
        {"code": 404, "cmd": "frobnicate"},
    ),
    (InvalidArgumentError("not a number"), (CommandError, ValueError), "not a number", {"code": 400}),
    (CommandDeniedError("not you"), (CommandError, PermissionError), "not you", {"code": 403}),
    (CommandTimeoutError("too slow"), (CommandError, TimeoutError), "too slow", {"code": 504}),
]
each = pytest.mark.parametrize(
    ("error", "bases", "text", "attributes"), EACH, ids=[f"{type(one[0]).__name__}-{one[2][:12]}" for one in EACH]
)


def test_every_public_error_is_described_here() -> None:
    assert {type(error).__name__ for error, *_ in EACH} == set(errors.__all__)


@each
def test_an_error_is_below_its_bases(
    error: GuestAgentError, bases: tuple[type[Exception], ...], text: str, attributes: dict[str, object]
) -> None:
    for base in (*bases, GuestAgentError) if type(error) is not GuestAgentError else bases:
        assert isinstance(error, base)


@each
def test_an_error_has_its_text_and_its_attributes(
    error: GuestAgentError, bases: tuple[type[Exception], ...], text: str, attributes: dict[str, object]
) -> None:
    assert str(error) == text
    assert {name: getattr(error, name) for name in attributes} == attributes


@each
def test_an_error_survives_pickling_and_copying(
    error: GuestAgentError, bases: tuple[type[Exception], ...], text: str, attributes: dict[str, object]
) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == text
        assert {name: getattr(again, name) for name in attributes} == attributes


def test_siblings_do_not_catch_each_other() -> None:
    assert not issubclass(PluginError, CommandError)
    assert not issubclass(ConfigError, CommandError)
    assert not issubclass(CommandNotFoundError, (ValueError, LookupError, OSError))
    assert not issubclass(InvalidArgumentError, CommandDeniedError)
    assert not issubclass(PluginLoadError, PluginNotFoundError)
