"""Who configures which interface: the backend whose tool holds it now, not whatever happens to be installed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from guestagent_core.discovery import Catalogue, load
from guestagent_core.errors import CommandError, PluginError

from .backends import BACKENDS, Claim, Evidence, NetworkBackend
from .model import Bond, Change, Interface, Nic, Vlan

if TYPE_CHECKING:
    from guestagent_core import Context

__all__ = ("assign", "complete", "installed_backends", "owners_of")

_log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def installed_backends() -> dict[str, NetworkBackend]:
    """Returns the backends that are installed, by name; one that cannot be loaded is left out, and logged."""
    catalogue = Catalogue.installed()
    backends: dict[str, NetworkBackend] = {}
    for plugin in catalogue.plugins(BACKENDS):
        try:
            backends[plugin.name] = load(catalogue.find(BACKENDS, plugin.name))()
        except PluginError as error:
            _log.error("%s", error)
        except Exception:
            _log.exception("Network backend %s of %s cannot be built", plugin.name, plugin.package)
    return backends


def complete(change: Change, nics: Sequence[Nic], configured_before: Sequence[str] = ()) -> Change:
    """Returns ``change`` with the interfaces that a whole set removes: the cards without a record, and what was
    configured before by us and has no record any more. What stands for something else, as a bridge or a tunnel, stays.
    """
    if not change.whole:
        return change
    named = {interface.name for interface in change.interfaces}
    used = {member for each in change.interfaces if isinstance(each.link, Bond) for member in each.link.members}
    cards = [nic.name for nic in nics if nic.physical]
    removed = dict.fromkeys((*change.removed, *cards, *configured_before))
    return replace(change, removed=tuple(name for name in removed if name not in named and name not in used))


def owners_of(
    backends: Mapping[str, NetworkBackend], context: Context, nics: Sequence[Nic]
) -> dict[str, dict[str, Evidence]]:
    """Returns what each backend holds, by the name of the interface and that of the backend."""
    found: dict[str, dict[str, Evidence]] = {nic.name: {} for nic in nics}
    for name, backend in backends.items():
        for interface, evidence in backend.probe(context, nics).items():
            found.setdefault(interface, {})[name] = evidence
    return found


def assign(
    change: Change,
    backends: Mapping[str, NetworkBackend],
    context: Context,
    nics: Sequence[Nic],
    named: str | None = None,
) -> list[tuple[str, NetworkBackend, Change]]:
    """Returns the part of ``change`` that each backend has to make.

    What is to be removed and is not configured by anybody is nobody's part: there may be addresses on it all the same,
    as on the interfaces of containers, and those are none of ours.

    :param named: the backend that the configuration names; it gets all of it.
    :raises CommandError: nobody configures an interface, or two do; the text names them. Or addresses are wanted on one
        that is part of a bridge or a bond.
    """
    _check_masters(change, nics)
    if named is not None:
        if named not in backends:
            known = ", ".join(backends) or "none"
            raise CommandError(f"Network backend {named!r} is not installed (installed: {known})")
        claims = owners_of({named: backends[named]}, context, _with_others(change, nics))
        gone = tuple(name for name in change.removed if _configured(claims.get(name, {})))
        return [(named, backends[named], replace(change, hostname=None, removed=gone))]
    claims = owners_of(backends, context, _with_others(change, nics))
    links = {interface.name: interface for interface in change.interfaces}
    shares: dict[str, list[str]] = {}
    for name in change.names:
        try:
            owner = _owner(name, links, claims, backends)
        except CommandError as error:
            raise CommandError(f"{error}{_dead_form(context)}") from None
        if owner is not None:
            shares.setdefault(owner, []).append(name)
    return [(owner, backends[owner], change.only(names)) for owner, names in shares.items()]


def _owner(
    name: str,
    wanted: Mapping[str, Interface],
    claims: Mapping[str, Mapping[str, Evidence]],
    backends: Mapping[str, NetworkBackend],
) -> str | None:
    found = claims.get(name, {})
    managing = [backend for backend, evidence in found.items() if evidence.claim is Claim.MANAGES]
    if len(managing) > 1:
        both = " and ".join(f"{backend} ({found[backend].reason})" for backend in managing)
        raise CommandError(f"{name} is managed by {both}; take it away from one, or name the backend to use")
    able = {backend: evidence.claim for backend, evidence in found.items() if evidence.claim is not Claim.UNUSED}
    strongest = max(able.values(), default=None)
    link = wanted[name].link if name in wanted else None
    if link is not None and strongest in (None, Claim.COULD):
        # Whoever has what it is made of.
        below = link.parent if isinstance(link, Vlan) else link.members[0]
        return _owner(below, wanted, claims, backends)
    if name not in wanted and not _configured(found):
        return None
    if strongest is None:
        looked = ", ".join(backends) or "none is installed"
        unused = "".join(f"; {evidence.reason}" for evidence in found.values())
        raise CommandError(f"Nothing that configures {name} was found (network backends: {looked}){unused}")
    busy = {backend for each in claims.values() for backend, e in each.items() if e.claim is Claim.MANAGES}
    held = [backend for backend, claim in able.items() if claim == strongest]
    return min(held, key=lambda backend: (backend not in busy, backends[backend].priority, backend))


def _with_others(change: Change, nics: Sequence[Nic]) -> tuple[Nic, ...]:
    """The cards, and what else the change names: bonds and VLANs, and cards that are gone."""
    here = {nic.name for nic in nics}
    return (*nics, *(Nic(name, "", physical=False) for name in change.names if name not in here))


def _configured(found: Mapping[str, Evidence]) -> bool:
    return any(evidence.claim >= Claim.CONFIGURED for evidence in found.values())


def _check_masters(change: Change, nics: Sequence[Nic]) -> None:
    """An address on a part of a bridge is one that nothing can be reached by: the bridge has to have it."""
    masters = {nic.name: nic.master for nic in nics if nic.master is not None}
    for interface in change.interfaces:
        master = masters.get(interface.name)
        if (
            master is not None
            and master not in change.names
            and (interface.addresses or interface.dhcp4 or interface.dhcp6)
        ):
            raise CommandError(
                f"{interface.name} is part of {master}: addresses belong there, and {master} is not for the host to set"
            )


def _dead_form(context: Context) -> str:
    """What is said of a guest that is configured in a way that is not written any more."""
    old = ("/etc/network.d", "netcfg's"), ("/etc/rc.d/network", "the old start scripts of Arch")
    for path, whose in old:
        if context.path(path).exists() and context.path("/etc/arch-release").exists():
            return f". {path} is there, {whose}: that is not written here; move the guest to netctl or systemd-networkd"
    return ""
