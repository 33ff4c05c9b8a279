"""From what a tool is found to have to what it may claim: one way for the probes of all backends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guestagent_commands_net.backends import Claim, Evidence
from guestagent_core.errors import CommandError

if TYPE_CHECKING:
    from guestagent_commands_net.model import Nic

__all__ = ("Found", "claims_of")


@dataclass(slots=True)
class Found:
    """What a tool has, by the names of interfaces, each with the reason."""

    holds: dict[str, str] = field(default_factory=dict)
    """What it has in its hands."""
    names: dict[str, str] = field(default_factory=dict)
    """What its files name."""
    unused: dict[str, str] = field(default_factory=dict)
    """What its files name without any effect."""
    others: set[str] = field(default_factory=set)
    """What it leaves to other tools, whatever its files say."""


def claims_of(
    nics: Iterable[Nic], look: Callable[[Found], None], *, started: str | None, idle: str = ""
) -> dict[str, Evidence]:
    """Returns what a tool claims of ``nics``.

    What it holds it manages. Of the rest nothing is its own unless somebody starts it: files alone are left over from
    another time, and are named in an error at most.

    :param look: writes down what the tool has.
    :param started: why the tool is at work, or will be when the machine starts; None: it is not.
    :param idle: what is said of files then.
    :raises CommandError: a file cannot be understood. What is left over may be broken.
    """
    found = Found()
    try:
        look(found)
    except CommandError:
        if started is not None:
            raise
        return {}
    claims: dict[str, Evidence] = {}
    for name in (nic.name for nic in nics):
        if name in found.others:
            continue
        if name in found.holds:
            claims[name] = Evidence(Claim.MANAGES, found.holds[name])
        elif name in found.unused:
            claims[name] = Evidence(Claim.UNUSED, found.unused[name])
        elif started is None:
            if name in found.names:
                claims[name] = Evidence(Claim.UNUSED, f"{found.names[name]}, but {idle}")
        elif name in found.names:
            claims[name] = Evidence(Claim.CONFIGURED, found.names[name])
        else:
            claims[name] = Evidence(Claim.COULD, started)
    return claims
