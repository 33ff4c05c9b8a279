"""Outcomes: what a command answered or raised, as text that can be kept, and back."""

from __future__ import annotations

import json

from .commands import CommandResult
from .errors import (
    CommandDeniedError,
    CommandError,
    CommandNotFoundError,
    CommandTimeoutError,
    InvalidArgumentError,
)

__all__ = ("decode_outcome", "encode_outcome")

LONGEST_KEPT = 64 * 1024
"""How many characters of JSON an outcome may have to be kept."""

_KINDS = (CommandNotFoundError, InvalidArgumentError, CommandDeniedError, CommandTimeoutError)


def encode_outcome(command: str, outcome: CommandResult | Exception) -> str:
    """Returns ``outcome`` of ``command`` as JSON; an error that says so, if it cannot be kept as it is."""
    try:
        text = json.dumps(_fields(outcome))
    except (TypeError, ValueError, RecursionError):
        text = json.dumps(_fields(CommandError(f"Command {command!r} answered what JSON cannot hold")))
    if len(text) > LONGEST_KEPT:
        reason = f"Command {command!r} has ended, but its answer was too long to be kept when the agent ended"
        text = json.dumps(_fields(CommandError(reason)))
    return text


def decode_outcome(text: str) -> CommandResult | CommandError:
    """Returns what :func:`encode_outcome` was given; an exception as the :class:`CommandError` closest to it.

    :raises ValueError: the text is not of that function.
    """
    fields = json.loads(text)
    if not isinstance(fields, dict) or "code" not in fields or "message" not in fields:
        raise ValueError("it is no outcome")
    code, message = fields["code"], fields["message"]
    if "error" not in fields:
        return CommandResult(code, message)
    if fields["error"] == CommandNotFoundError.__name__ and "name" in fields:
        return CommandNotFoundError(fields["name"])
    for kind in (InvalidArgumentError, CommandDeniedError, CommandTimeoutError):
        if fields["error"] == kind.__name__:
            return kind(message)
    return CommandError(message, code)


def _fields(outcome: CommandResult | Exception) -> dict[str, object]:
    if not isinstance(outcome, Exception):
        code, message = outcome
        return {"code": str(code) if isinstance(code, str) else int(code), "message": message}
    kind = next((kind for kind in _KINDS if isinstance(outcome, kind)), CommandError)
    fields: dict[str, object] = {
        "error": kind.__name__,
        "code": outcome.code if isinstance(outcome, CommandError) else 500,
        "message": _text(outcome),
    }
    if isinstance(outcome, CommandNotFoundError):
        fields["name"] = outcome.cmd
    return fields


def _text(error: Exception) -> str:
    try:
        return str(error)
    except Exception:
        return type(error).__name__
