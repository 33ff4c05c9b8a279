"""Rules about the parts of an argument."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from guestagent_core import Call

__all__ = ("Rule", "reason_to_deny")

_MISSING = object()


@dataclass(frozen=True)
class Rule:
    """What one part of an argument may be. Without either key it may be nothing at all."""

    values: tuple[str | int, ...] = ()
    """Exactly these."""
    under: tuple[str, ...] = ()
    """A path below one of these folders; the folder itself is not."""

    def permits(self, value: object) -> bool:
        """Whether ``value`` may be."""
        if any(value == permitted and type(value) is type(permitted) for permitted in self.values):
            return True
        if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
            return False
        path = posixpath.normpath("/" + value.lstrip("/"))  # dots lead nowhere
        return any(path.startswith(posixpath.join(posixpath.normpath(folder), "")) for folder in self.under)


def reason_to_deny(rules: Mapping[str, Rule], call: Call) -> str | None:
    """Returns why a call breaks the rules of its command, None if it keeps them; tells no value, it may be secret."""
    for part, rule in rules.items():
        value = call.argument if part == "*" else _part(call.argument, part)
        if value is _MISSING:
            return f"{call.name}: there is no {part!r}, which a rule is about"
        if not rule.permits(value):
            return f"{call.name}: {'the argument' if part == '*' else repr(part)} is none that a rule permits"
    return None


def _part(argument: Any, name: str) -> object:
    """Returns an item of a table, or an attribute of a typed argument."""
    if isinstance(argument, Mapping):
        return argument.get(name, _MISSING)
    return getattr(argument, name, _MISSING)
