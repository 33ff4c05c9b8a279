"""From what a tool is found to have to what it may claim: one way for the probes of all backends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from .backends import Claim, Evidence

if TYPE_CHECKING:
    from .model import Nic

__all__ = ("claims_of",)


def claims_of(
    nics: Iterable[Nic],
    *,
    started: str | None,
    idle: str = "it is not started",
    holds: Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
    unused: Mapping[str, str] | None = None,
    others: Iterable[str] = (),
) -> dict[str, Evidence]:
    """Returns what a tool claims of ``nics``.

    What it holds it manages. Of the rest nothing is its own unless somebody starts it: files alone are left over from
    another time, and are named in an error at most.

    :param started: why the tool is at work, or will be when the machine starts; None: it is not.
    :param idle: what is said of files then.
    :param holds: the interfaces that it has in its hands, each with the reason.
    :param names: the interfaces that its files name, each with the reason.
    :param unused: those that its files name without any effect, each with the reason.
    :param others: those that it leaves to other tools, whatever its files say.
    """
    holds, names, unused, others = holds or {}, names or {}, unused or {}, set(others)
    found: dict[str, Evidence] = {}
    for name in (nic.name for nic in nics):
        if name in others:
            continue
        if name in holds:
            found[name] = Evidence(Claim.MANAGES, holds[name])
        elif name in unused:
            found[name] = Evidence(Claim.UNUSED, unused[name])
        elif started is None:
            if name in names:
                found[name] = Evidence(Claim.UNUSED, f"{names[name]}, but {idle}")
        elif name in names:
            found[name] = Evidence(Claim.CONFIGURED, names[name])
        else:
            found[name] = Evidence(Claim.COULD, started)
    return found
