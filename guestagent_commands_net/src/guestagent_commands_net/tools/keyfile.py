"""An interface in the form of NetworkManager's keyfiles: profiles read, and written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

from guestagent_commands_net.bonds import MODES, kernel_option
from guestagent_commands_net.checks import NetworkValueError
from guestagent_commands_net.model import VERSIONS, Bond, Dns, Interface, Route, Vlan

from .networkmanager_profiles import ETHERNET

if TYPE_CHECKING:
    from guestagent_commands_net.model import IPAddress, IPInterface

    from .sections import SectionsFile

__all__ = ("as_read", "is_idle", "read_profile", "write_profile")

_KNOWN = re.compile(
    r"(?:method|address\d+|addresses|gateway|dns|dns-search|route\d+(?:_options)?|routes|never-default)\Z"
)
_NOWHERE = {4: str(ip_address(0)), 6: "::"}  # a gateway that is none, where a metric follows
_ROUTE = re.compile(r"route\d+\Z")
_ADDRESS = re.compile(r"address\d+\Z")


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
                address, _, gateway = value.partition(",")
                addresses.append(ip_interface(address))
                routes += [_default(version, gateway)] if gateway else []
            elif _ROUTE.match(key):
                routes.append(_read_route(version, value, items.get(f"{key}_options", "")))
        if items.get("gateway"):
            routes.append(_default(version, items["gateway"]))
        servers += [ip_address(server.partition("#")[0]) for server in _list(items.get("dns"))]
        search += _list(items.get("dns-search"))
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


def _read_route(version: int, value: str, options: str) -> Route:
    destination, _, rest = value.partition(",")
    gateway, _, metric = rest.partition(",")
    settings = dict(each.partition("=")[::2] for each in options.split(",") if each)
    via = ip_address(gateway) if gateway else None
    return Route(
        ip_network(destination, strict=False),
        None if via is None or via.is_unspecified else via,
        int(metric) if metric else None,
        settings.get("onlink") == "true",
        int(settings["mtu"]) if "mtu" in settings else None,
    )


def _default(version: int, gateway: str) -> Route:
    return Route(ip_network("0.0.0.0/0" if version == 4 else "::/0"), ip_address(gateway))


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
        profile.put(f"ipv{version}", lambda key: _KNOWN.match(key) is not None, _family(interface, version))


def _family(interface: Interface, version: int) -> list[tuple[str, str]]:
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
    if interface.dns.search:
        if method not in ("disabled", "ignore", "link-local"):
            items.append(("dns-search", "".join(f"{domain};" for domain in interface.dns.search)))
        elif not (interface.addresses or interface.dhcp4 or interface.dhcp6 or interface.accept_ra):
            raise NetworkValueError(
                f"{interface.name}: NetworkManager has no place for search domains without addresses"
            )
    return items


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
