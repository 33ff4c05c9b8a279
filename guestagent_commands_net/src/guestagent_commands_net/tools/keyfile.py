"""An interface in the form of NetworkManager's keyfiles: profiles read, and written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

from guestagent_commands_net.bonds import MODES, kernel_option
from guestagent_commands_net.checks import NetworkValueError
from guestagent_commands_net.model import VERSIONS, Bond, Dns, Interface, Route, Vlan

from .foreign_routes import still_leads
from .networkmanager_profiles import ETHERNET

if TYPE_CHECKING:
    from guestagent_commands_net.model import IPAddress, IPInterface

    from .sections import SectionsFile

__all__ = ("as_read", "is_idle", "read_profile", "write_profile")

_KNOWN = re.compile(r"(?:method|address(?:es)?\d*|gateway|dns|dns-search|routes?\d*(?:_options)?|never-default)\Z")
_NOWHERE = {4: str(ip_address(0)), 6: "::"}  # a gateway that is none, where a metric follows
_ROUTE = re.compile(r"routes?\d*\Z")
_ADDRESS = re.compile(r"address(?:es)?\d*\Z")
_FIELDS = re.compile(r"([^/;,\s]+)(?:[/;](\d+))?[;,\s]*")
_MAIN_TABLE = (None, "0", "254")


def as_read(interface: Interface) -> Interface:
    """Returns ``interface`` as it is read back: by ``method=auto`` NetworkManager does what the routers say, DHCP
    included, and without it listens to none; there is one way to write what the model has several for.
    """
    dhcp6 = interface.dhcp6 or interface.accept_ra is True
    return replace(interface, dhcp6=dhcp6, accept_ra=None)


def is_idle(profile: SectionsFile) -> bool:
    """Returns whether ``profile`` is never used by itself and configures nothing: that of a removed interface."""
    methods = {profile.get(f"ipv{version}", "method") for version in VERSIONS}
    return profile.get("connection", "autoconnect") == "false" and methods <= {"disabled", "ignore"}


def read_profile(name: str, profile: SectionsFile, members: Iterable[str]) -> Interface:
    """Returns the interface ``name`` as ``profile`` configures it.

    :param members: the interfaces whose profiles make them part of it.
    :raises ValueError: a value is wrong.
    """
    addresses: list[IPInterface] = []
    routes: list[Route] = []
    servers: list[IPAddress] = []
    search: list[str] = []
    dhcp: dict[int, bool] = {}
    for version in VERSIONS:
        section = f"ipv{version}"
        dhcp[version] = profile.get(section, "method") in ("auto", "dhcp")
        found = profile.section(section)
        items = dict(found.items()) if found is not None else {}
        for key, value in items.items():
            if _ADDRESS.match(key):
                address, gateway = _fields(value, 24 if version == 4 else 64)
                addresses.append(ip_interface(address))
                routes += _default(version, gateway)
            elif _ROUTE.match(key) and _is_ours(items.get(f"{key}_options", "")):
                routes.append(_read_route(version, value, items.get(f"{key}_options", "")))
        routes += _default(version, items.get("gateway", ""))
        servers += [ip_address(server.partition("#")[0]) for server in _list(items.get("dns"))]
        search += [domain for domain in _list(items.get("dns-search")) if not _is_asked_for(domain)]
    mtu = next((profile.get(section, "mtu") for section in ETHERNET if profile.get(section, "mtu")), None)
    return Interface(
        name,
        addresses=tuple(addresses),
        routes=tuple(routes),
        dns=Dns(tuple(servers), tuple(search)),
        mtu=int(mtu) if mtu not in (None, "0") else None,  # 0: whatever the card has
        dhcp4=dhcp[4],
        dhcp6=dhcp[6],
        link=_read_link(profile, members),
    )


def _read_link(profile: SectionsFile, members: Iterable[str]) -> Vlan | Bond | None:
    kind = profile.get("connection", "type")
    if kind == "vlan":
        return Vlan(int(profile.get("vlan", "id") or 0), profile.get("vlan", "parent") or "")
    section = profile.section("bond")
    names = tuple(members)
    if kind == "bond" and names:
        options = dict(kernel_option(key, value) for key, value in (section.items() if section else ()))
        mode = options.pop("mode", MODES[0])
        return Bond(names, mode, tuple(options.items()))
    return None


def _fields(value: str, prefix: int) -> tuple[str, str]:
    """Returns an address with its prefix, and what follows: ``192.0.2.7/24,192.0.2.1`` was ``192.0.2.7;24;192.0.2.1;``.

    :param prefix: the one that NetworkManager takes where there is none.
    """
    found = _FIELDS.match(value.strip())
    if found is None:
        raise ValueError(f"{value[:100]!r} is not an address")
    return f"{found[1]}/{found[2] or prefix}", value.strip()[found.end() :].strip(";, ")


def _settings(options: str) -> dict[str, str]:
    return dict(each.strip().partition("=")[::2] for each in options.split(",") if each.strip())


def _is_ours(options: str) -> bool:
    """Whether a route is one that the model has; those of other tables and kinds are somebody's own."""
    settings = _settings(options)
    return settings.get("table") in _MAIN_TABLE and settings.get("type", "unicast") == "unicast"


def _is_asked_for(domain: str) -> bool:
    """Whether servers are only asked for names in ``domain``, and short names are not searched there."""
    return domain.startswith("~")


def _read_route(version: int, value: str, options: str) -> Route:
    destination, rest = _fields(value, 24 if version == 4 else 128)
    metric, gateway = "", ""
    for word in re.split(r"[;,]", rest):
        if word.isdigit():
            metric = word
        elif word:
            gateway = word
    settings = _settings(options)
    via = ip_address(gateway) if gateway else None
    return Route(
        ip_network(destination, strict=False),
        None if via is None or via.is_unspecified else via,
        int(metric) if metric else None,
        settings.get("onlink") == "true",
        int(settings["mtu"]) if "mtu" in settings else None,
    )


def _default(version: int, gateway: str) -> list[Route]:
    if not gateway or ip_address(gateway).is_unspecified:
        return []
    return [Route(ip_network("0.0.0.0/0" if version == 4 else "::/0"), ip_address(gateway))]


def write_profile(profile: SectionsFile, interface: Interface, versions: Iterable[int]) -> None:
    """Writes ``interface`` into ``profile``; settings that are not about addresses stay.

    :param versions: the IP versions whose sections are written.
    :raises NetworkValueError: NetworkManager has no way to say it.
    """
    link = interface.link
    if isinstance(link, Vlan):
        profile.put("vlan", lambda key: key in ("id", "parent"), (("id", str(link.id)), ("parent", link.parent)))
    elif isinstance(link, Bond):
        profile.put("bond", lambda key: True, (("mode", link.mode), *link.options))
    wired = next((name for name in ETHERNET if profile.section(name) is not None), ETHERNET[0])
    if interface.mtu is not None or profile.get(wired, "mtu") not in (None, "0"):
        profile.set(wired, "mtu", None if interface.mtu is None else str(interface.mtu))
    if link is not None and interface.mac is not None:
        profile.set(wired, "cloned-mac-address", interface.mac)
    for version in versions:
        section = profile.section(f"ipv{version}")
        before = dict(section.items()) if section is not None else {}
        asked = [domain for domain in _list(before.get("dns-search")) if _is_asked_for(domain)]
        items = _family(interface, version, asked)
        items += _routes_of_others(before, items, interface, version)
        profile.put(f"ipv{version}", lambda key: _KNOWN.match(key) is not None, items)


def _family(interface: Interface, version: int, asked: Sequence[str] = ()) -> list[tuple[str, str]]:
    addresses, routes = interface.addresses_of(version), interface.routes_of(version)
    servers = interface.dns.of(version)
    if interface.dhcp(version) or (version == 6 and interface.accept_ra):
        method = "auto"
    elif addresses:
        method = "manual"
    else:
        method = "disabled" if version == 4 else "link-local" if interface.accept_ra is False else "ignore"
        what = f"IPv{version} name servers" if servers else f"a route to {routes[0].destination}" if routes else None
        if what is not None:
            raise NetworkValueError(f"{interface.name}: NetworkManager has no place for {what} without IPv{version}")
    items = [("method", method)]
    items += [(f"address{number}", str(address)) for number, address in enumerate(addresses, 1)]
    gateway = next((route for route in routes if addresses and _is_plain(route)), None)
    if gateway is not None:
        items.append(("gateway", str(gateway.gateway)))
    for number, route in enumerate((route for route in routes if route is not gateway), 1):
        items += _route(f"route{number}", route)
    if servers:
        items.append(("dns", "".join(f"{server};" for server in servers)))
    search = [*interface.dns.search, *(asked if servers else ())]
    if search:
        if method not in ("disabled", "ignore", "link-local"):
            items.append(("dns-search", "".join(f"{domain};" for domain in search)))
        elif not (interface.addresses or interface.dhcp4 or interface.dhcp6 or interface.accept_ra):
            raise NetworkValueError(
                f"{interface.name}: NetworkManager has no place for search domains without addresses"
            )
    return items


def _routes_of_others(
    before: Mapping[str, str], items: list[tuple[str, str]], interface: Interface, version: int
) -> Iterator[tuple[str, str]]:
    """The routes of others that still lead somewhere, numbered behind those that there are."""
    if not (interface.addresses_of(version) or interface.dhcp(version)):
        return  # without an address there may be none
    number = sum(_ROUTE.match(key) is not None for key, _ in items)
    for key, value in before.items():
        options = before.get(f"{key}_options", "")
        if not _ROUTE.match(key) or _is_ours(options):
            continue
        try:
            route, settings = _read_route(version, value, options), _settings(options)
        except ValueError:
            continue  # NetworkManager does not take it either
        gateway = str(route.gateway) if route.gateway else None
        if still_leads(gateway, settings.get("src"), interface, version, on_link=route.on_link):
            number += 1
            yield f"route{number}", value
            yield f"route{number}_options", options


def _is_plain(route: Route) -> bool:
    """Whether it is what ``gateway`` says."""
    plain = route.metric is None and route.mtu is None and not route.on_link
    return plain and route.is_default and route.gateway is not None


def _route(key: str, route: Route) -> list[tuple[str, str]]:
    parts = [str(route.destination)]
    if route.gateway is not None or route.metric is not None:
        parts.append(str(route.gateway) if route.gateway is not None else _NOWHERE[route.version])
    if route.metric is not None:
        parts.append(str(route.metric))
    options = ["onlink=true"] if route.on_link else []
    options += [] if route.mtu is None else [f"mtu={route.mtu}"]
    return [(key, ",".join(parts))] + ([(f"{key}_options", ",".join(options))] if options else [])


def _list(value: str | None) -> list[str]:
    return [item for item in re.split(r"[;,]", value or "") if item]
