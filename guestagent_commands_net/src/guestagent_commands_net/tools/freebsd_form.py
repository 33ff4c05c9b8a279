"""An interface in the form of FreeBSD's ``rc.conf``: variables read, and written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network
from itertools import pairwise
from typing import TYPE_CHECKING

from guestagent_commands_net.checks import NetworkValueError
from guestagent_commands_net.model import Bond, Dns, Interface, Route

from .freebsd_links import bond_words, variable
from .gateway_routes import join_gateway_routes
from .shell_variables import double_quoted

if TYPE_CHECKING:
    from guestagent_commands_net.model import IPInterface, IPNetwork, Vlan

__all__ = (
    "DEFAULTS",
    "ROUTE_LISTS",
    "is_of",
    "read_interface",
    "read_routes",
    "route_names",
    "with_one_default",
    "write_interface",
    "write_routes",
)

ROUTE_LISTS = {4: ("static_routes", "route_"), 6: ("ipv6_static_routes", "ipv6_route_")}
"""Of each version of IP the list of routes, and what the variables of the routes begin with."""

DEFAULTS = {4: "defaultrouter", 6: "ipv6_defaultrouter"}
"""The default gateways, of which the machine has one for each version of IP."""

_ADDRESS = re.compile(r"[0-9a-fA-F:.]*[.:][0-9a-fA-F:.]*(/\d+)?")
_RANGE = re.compile(r"(\d+\.\d+\.\d+)\.(\d{1,3})-(\d{1,3})(/\d+)?")
_LINK_LAYER = ("ether", "lladdr", "link")  # what follows is no address of ours
_FLAGS = frozenset({
    "inet", "inet6", "alias", "up", "dhcp", "syncdhcp", "nosyncdhcp", "noauto", "accept_rtadv", "-accept_rtadv",
    "lacp_fast_timeout", "-lacp_fast_timeout",
})  # fmt: skip
_FLAGS6 = frozenset({
    "auto_linklocal", "-auto_linklocal", "-ifdisabled", "nud", "-nud", "no_dad", "no_prefer_iface",
    "-no_prefer_iface", "no_radr", "-no_radr", "defaultif", "-defaultif",
})  # fmt: skip
"""What somebody tells a card about IPv6, beside addresses."""
_AFTER_ALIASES = 1 << 32  # no alias has such a number
_PAIRS = frozenset({"netmask", "prefixlen", "broadcast", "mtu", "laggproto", "laggport", "lagghash"})
_EVERYWHERE: dict[int, IPNetwork] = {4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")}


def is_of(name: str, interface: str) -> bool:
    """Returns whether the variable ``name`` configures ``interface``, and is one that is written here."""
    suffix = re.escape(variable(interface))
    pattern = (
        rf"ifconfig_{suffix}(_ipv6|_alias\d+|_aliases)?|ipv6_ifconfig_{suffix}(_alias\d+)?|ipv4_addrs_{suffix}"
        rf"|guestagent_(dns|search)_{suffix}"
    )
    return re.fullmatch(pattern, name) is not None


def read_interface(name: str, values: Mapping[str, str], link: Vlan | Bond | None) -> Interface | None:
    """Returns the interface that the variables configure, without its routes; None if there are none of it.

    :param link: what it is, if it is no card.
    :raises ValueError: a value is wrong.
    """
    ours = {key: text for key, text in values.items() if is_of(key, name)}
    suffix = variable(name)
    if not ours and link is None:
        return None
    addresses: list[IPInterface] = []
    words: list[str] = []
    for key in sorted(ours, key=_order):
        if key.startswith(("ifconfig_", "ipv6_ifconfig_", "ipv4_addrs_")):
            version = 6 if key.startswith("ipv6_") else 4
            found = list(_without_ranges(ours[key].split()))
            addresses += _addresses(found, version)
            words += found
    mtu = next((int(after) for word, after in pairwise(words) if word == "mtu"), None)
    lowered = [word.lower() for word in words]
    accept_ra = False if "-accept_rtadv" in lowered else True if "accept_rtadv" in lowered else None
    return Interface(
        name,
        addresses=tuple(addresses),
        dns=Dns(
            tuple(ip_address(each) for each in ours.get(f"guestagent_dns_{suffix}", "").split()),
            tuple(ours.get(f"guestagent_search_{suffix}", "").split()),
        ),
        mtu=mtu,
        dhcp4=any(word in ("dhcp", "syncdhcp", "nosyncdhcp") for word in lowered),
        accept_ra=accept_ra,
        link=link,
    )


def _order(key: str) -> tuple[int, bool]:
    """The first addresses of IPv4 and IPv6, then the aliases, then those that stand together."""
    number = re.search(r"_alias(\d+)\Z", key)
    together = key.endswith("_aliases") or key.startswith("ipv4_addrs_")
    place = int(number[1]) if number else _AFTER_ALIASES if together else -1
    return place, key.endswith("_ipv6") or key.startswith("ipv6_")


def _addresses(words: Sequence[str], version: int) -> Iterable[IPInterface]:
    """Gives the addresses of one value, with masks in any of ifconfig's forms."""
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word in ("inet", "inet6"):
            version = 4 if word == "inet" else 6
            continue
        position += word in (*_LINK_LAYER, "broadcast")
        if not _ADDRESS.fullmatch(word):
            continue
        length = ""
        if "/" not in word:
            length = "/32" if version == 4 else "/64"
            if words[position : position + 1] and words[position] in ("netmask", "prefixlen"):
                mask = words[position + 1]
                length = "/" + (str(ip_address(int(mask, 16))) if mask.startswith("0x") else mask)
                position += 2
        yield ip_interface(word + length)


def _without_ranges(words: Iterable[str]) -> Iterable[str]:
    """Gives each address of ranges as in ``10.0.0.5-9/24``, of which the first one alone has the mask."""
    for word in words:
        matched = _RANGE.fullmatch(word)
        if matched is None or int(matched[3]) > 255:
            yield word
            continue
        for number in range(int(matched[2]), int(matched[3]) + 1):
            yield f"{matched[1]}.{number}" + (matched[4] or "" if number == int(matched[2]) else "/32")


def _own_words(value: str) -> list[str]:
    """Returns what somebody has told ifconfig beside what is written here, such as ``-tso`` or the kind of a medium."""
    found: list[str] = []
    words = list(_without_ranges(value.split()))
    while words:
        word = words.pop(0)
        if word in _LINK_LAYER:
            found += [word, *words[:1]]
        elif word.lower() not in _FLAGS | _PAIRS and not _ADDRESS.fullmatch(word):
            found.append(word)
        if word in _LINK_LAYER or word in _PAIRS:
            words = words[1:]
    return found


def write_interface(interface: Interface, before: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables that configure ``interface``, quoted, in their order.

    :param before: the variables that there are; what somebody has told the card itself stays.
    :raises NetworkValueError: the form has nothing for it.
    """
    if interface.dhcp6:
        raise NetworkValueError(f"{interface.name}: FreeBSD has no DHCP for IPv6 of its own")
    suffix = variable(interface.name)
    first = bond_words(interface, interface.link) if isinstance(interface.link, Bond) else []
    first += ["DHCP"] if interface.dhcp4 else []
    four, six = interface.addresses_of(4), interface.addresses_of(6)
    if four and not interface.dhcp4:
        first += ["inet", *_written(four[0])]
        four = four[1:]
    first += ["mtu", str(interface.mtu)] if interface.mtu is not None else []
    first += _own_words(before.get(f"ifconfig_{suffix}", ""))
    values = {f"ifconfig_{suffix}": " ".join([*first, *([] if interface.dhcp4 else ["up"])])}
    ipv6 = ["inet6", *_written(six[0])] if six else []
    if interface.accept_ra is not None:
        ipv6 = [*(ipv6 or ["inet6"]), "accept_rtadv" if interface.accept_ra else "-accept_rtadv"]
    kept = [word for word in before.get(f"ifconfig_{suffix}_ipv6", "").split() if word.lower() in _FLAGS6]
    if ipv6 or kept:
        ipv6 = [*(ipv6 or ["inet6"]), *kept]
        values[f"ifconfig_{suffix}_ipv6"] = " ".join(ipv6)
    aliases = [*(("inet", address) for address in four), *(("inet6", address) for address in six[1:])]
    for number, (family, address) in enumerate(aliases):
        values[f"ifconfig_{suffix}_alias{number}"] = " ".join([family, *_written(address)])
    if interface.dns.servers:
        values[f"guestagent_dns_{suffix}"] = " ".join(str(server) for server in interface.dns.servers)
    if interface.dns.search:
        values[f"guestagent_search_{suffix}"] = " ".join(interface.dns.search)
    return {name: double_quoted(value) for name, value in values.items()}


def _written(address: IPInterface) -> list[str]:
    if address.version == 6:
        return [str(address.ip), "prefixlen", str(address.network.prefixlen)]
    return [str(address.ip), "netmask", str(address.netmask)]


def route_names(interface: str, version: int, values: Mapping[str, str], networks: Iterable[IPNetwork]) -> list[str]:
    """Returns the routes of the list that lead through ``interface``: those that are named after it, also as in
    ``lan0:em0``, and those whose gateway lies in one of its networks, unless they are named after another.
    """
    listed, prefix = ROUTE_LISTS[version]
    networks = list(networks)
    found = []
    for word in values.get(listed, "").split():
        name, _, bound = word.partition(":")
        text = values.get(prefix + name, "")
        route = None
        with suppress(ValueError):  # one by the name of a host, say, is none of ours
            route = _read_route(text, version)
        through = text.split()[-2:]
        near = route is not None and route.gateway is not None and any(route.gateway in each for each in networks)
        named = name.rpartition("_")[0] if re.search(r"_\d+$", name) else None
        if (
            interface == bound
            or named == variable(interface)
            or through == ["-interface", interface]
            or (near and not bound and f"ifconfig_{named}" not in values)
        ):
            found.append(word)
    return found


def read_routes(interface: Interface, values: Mapping[str, str]) -> tuple[Route, ...]:
    """Returns the routes that lead through ``interface``, default routes included."""
    found: list[Route] = []
    for version in (4, 6):
        networks = [address.network for address in interface.addresses_of(version)]
        text = values.get(DEFAULTS[version], "")
        gateway, _, scope = text.partition("%")
        with suppress(ValueError):  # there is none, or the name of one
            router = ip_address(gateway)
            if scope == interface.name or (not scope and any(router in network for network in networks)):
                found.append(Route(_EVERYWHERE[version], router))
        _, prefix = ROUTE_LISTS[version]
        for name in route_names(interface.name, version, values, networks):
            route = _read_route(values.get(prefix + name.partition(":")[0], ""), version)
            found += [route] if route is not None else []
    return join_gateway_routes(found)


def with_one_default(interfaces: Sequence[Interface]) -> tuple[Interface, ...]:
    """Leaves the default gateway, of which nothing says through which interface it is reached, to the one that has it
    in the narrowest network.
    """
    found = {each.name: each for each in interfaces}
    for version in (4, 6):
        near = {
            (each.name, route): max(at.network.prefixlen for at in each.addresses if route.gateway in at.network)
            for each in interfaces
            for route in each.routes_of(version)
            if route.is_default and any(route.gateway in at.network for at in each.addresses)
        }
        for name, route in near.keys() - {max(near, key=near.__getitem__, default=None)}:
            found[name] = replace(found[name], routes=tuple(each for each in found[name].routes if each != route))
    return tuple(found.values())


def _read_route(text: str, version: int) -> Route | None:
    words = [word for word in text.split() if word not in ("-net", "-host", "-inet", "-inet6", "-4", "-6")]
    if not words:
        return None
    destination = words.pop(0)
    gateway: str | None = None
    mtu: str | None = None
    while words:
        word = words.pop(0)
        if (word == "-netmask" and words) or (word == "-prefixlen" and words):
            destination += "/" + words.pop(0)
        elif word == "-mtu" and words:
            mtu = words.pop(0)
        elif word == "-interface" and words:
            words.pop(0)
        elif not word.startswith("-"):
            gateway = word.partition("%")[0]
        else:
            return None
    if destination == "default":
        destination = str(_EVERYWHERE[version])
    return Route(
        ip_network(destination, strict=False),
        None if gateway is None else ip_address(gateway),
        mtu=None if mtu is None else int(mtu),
    )


def write_routes(interface: Interface, version: int) -> tuple[str | None, dict[str, str]]:
    """Returns the default gateway, if it can stand alone, and the routes by their names, in their order.

    :raises NetworkValueError: FreeBSD has no such route.
    """
    routes = interface.routes_of(version)
    default: str | None = None
    written: list[str] = []
    for route in routes:
        where = f"{interface.name}: the route to {route.destination}"
        if route.metric is not None:
            raise NetworkValueError(f"{where} has a metric, which FreeBSD does not know")
        gateway = None if route.gateway is None else str(route.gateway)
        if gateway is not None and route.gateway is not None and route.gateway.is_link_local:
            gateway += f"%{interface.name}"
        if route.is_default and gateway is not None and not route.on_link and route.mtu is None:
            default = gateway
            continue
        if route.on_link:
            written.append(f"-host {route.gateway} -interface {interface.name}")
        destination = "default" if route.is_default else f"-net {route.destination}"
        through = gateway if gateway is not None else f"-interface {interface.name}"
        mtu = "" if route.mtu is None else f" -mtu {route.mtu}"
        written.append(f"{destination} {through}{mtu}")
    if version == 6:
        written = [text.removeprefix("-net ") for text in written]
    name = variable(interface.name)
    return default, {f"{name}_{number}": text for number, text in enumerate(dict.fromkeys(written))}
