"""An interface in the form of ``/etc/network/interfaces``: stanzas read, and written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network
from itertools import pairwise
from typing import TYPE_CHECKING

from guestagent_commands_net.bonds import MODES, kernel_option
from guestagent_commands_net.checks import NetworkValueError
from guestagent_commands_net.model import Bond, Dns, Interface, Route, Vlan

from .foreign_routes import still_leads
from .ifupdown_commands import read_command, route_commands, router_command
from .ifupdown_dialects import DEBIAN, Dialect

if TYPE_CHECKING:
    from guestagent_commands_net.model import IPInterface

    from .ifupdown_file import Block, Option

__all__ = ("FAMILIES", "is_known", "is_void", "read_stanzas", "write_stanzas")

FAMILIES = {4: "inet", 6: "inet6"}
"""The families of stanzas by the version of IP."""

_INDENT = "    "
_ROUTER = "ipv6-ra"  # ifupdown-ng's executor for router advertisements
_EXECUTORS = (_ROUTER, "apipa", "dhcp", "static")  # those that give addresses
_METHODS = ("static", "dhcp", "auto", "manual")
_KNOWN = frozenset({
    "accept_ra", "address", "autoconf", "broadcast", "dns-nameserver", "dns-nameservers", "dns-search", "gateway",
    "metric", "mtu", "netmask", "network", "pointopoint", "preferred-lifetime", "vlan-id", "vlan-raw-device",
    "vlan_id", "vlan_raw_device",
})  # fmt: skip
_COMMANDS = ("up", "post-up", "pre-up", "down", "pre-down", "post-down")


def is_known(option: Option, interface: str) -> bool:
    """Returns whether ``option`` is one that :func:`write_stanzas` writes; all others are somebody's own."""
    if option.key in _COMMANDS:
        return read_command(option.value, interface) is not None
    executor = option.key == "use" and option.value in _EXECUTORS
    return executor or option.key in _KNOWN or option.key.startswith(("bond-", "bond_"))


def is_void(option: Option, interface: Interface) -> bool:
    """Returns whether ``option`` is a command for a route, such as one of another table, that leads nowhere once
    ``interface`` is what is configured: ``ifup`` would fail by it.
    """
    words = option.value.split()
    if option.key not in _COMMANDS or "route" not in words or words[0].rpartition("/")[2] != "ip":
        return False
    said = dict(pairwise(words))
    via, source = said.get("via"), said.get("src")
    version = 6 if "-6" in words or ":" in f"{via or source}" else 4
    return not still_leads(via, source, interface, version, on_link="onlink" in words)


def read_stanzas(name: str, stanzas: Sequence[Block], dialect: Dialect = DEBIAN) -> Interface | None:
    """Returns the interface that ``stanzas`` configure; None if they do it in a way that the model has not.

    :raises NetworkValueError: a value is wrong.
    """
    addresses: list[IPInterface] = []
    routes: list[Route] = []
    gateways: list[Route] = []
    servers: list[IPv4Address | IPv6Address] = []
    search: list[str] = []
    dhcp: set[int] = set()
    mtu: int | None = None
    accept_ra: bool | None = None
    link: dict[str, str] = {}
    for stanza in stanzas:
        bare = dialect.bare and not stanza.family
        version = {"inet": 4, "inet6": 6}.get(stanza.family)
        if not bare and (version is None or stanza.method not in _METHODS):
            return None
        values = {option.key: option.value for option in stanza.options}
        if bare and any((option.key, option.value) == ("use", "dhcp") for option in stanza.options):
            dhcp.add(4)
        if version is not None and stanza.method == "dhcp":
            dhcp.add(version)
        if stanza.method == "auto":
            accept_ra = values.get("accept_ra") != "0"
        elif "accept_ra" in values and version == 6:
            accept_ra = values["accept_ra"] != "0"
        for each in FAMILIES if bare else (version,) if version is not None and stanza.method == "static" else ():
            found, gateway = _static(each, [option for option in stanza.options if not bare or _is_of(each, option)])
            addresses += found
            gateways += gateway
        for option in stanza.options:
            said = read_command(option.value, name) if option.key in _COMMANDS else None
            if said is not None and option.key in ("up", "post-up", "pre-up"):
                routes += [said.route] if said.route else []
                addresses += [said.address] if said.address else []
                mtu = said.mtu or mtu
                accept_ra = accept_ra if said.accept_ra is None else said.accept_ra
            elif option.key in ("dns-nameservers", "dns-nameserver"):
                servers += [ip_address(word) for word in option.value.replace(",", " ").split()]
            elif option.key == "dns-search":
                search += option.value.split()
            elif option.key == "use" and option.value == _ROUTER:
                accept_ra = True
            elif option.key == "mtu":
                mtu = int(option.value)
            elif option.key.startswith(("bond", "vlan")):
                link[option.key.replace("_", "-")] = option.value
    return Interface(
        name,
        addresses=tuple(addresses),
        routes=_merged(gateways, routes, addresses if dialect.gateway_on_link else None),
        dns=Dns(tuple(servers), tuple(search)),
        mtu=mtu,
        dhcp4=4 in dhcp,
        dhcp6=6 in dhcp,
        accept_ra=accept_ra,
        link=_read_link(name, link),
    )


def _is_of(version: int, option: Option) -> bool:
    """Whether an option is about an IP version, or about none."""
    return option.key not in ("address", "gateway") or (":" in option.value) == (version == 6)


def _static(version: int, options: Sequence[Option]) -> tuple[list[IPInterface], list[Route]]:
    values = {option.key: option.value for option in options}
    mask = values.get("netmask", "32" if version == 4 else "64")
    texts = [option.value for option in options if option.key == "address"]
    addresses = [ip_interface(text if "/" in text else f"{text}/{mask}") for text in texts]
    gateway, metric = values.get("gateway"), values.get("metric")
    if gateway is None:
        return addresses, []
    everywhere = ip_network("0.0.0.0/0" if version == 4 else "::/0")
    return addresses, [Route(everywhere, ip_address(gateway), int(metric) if metric else None)]


def _merged(
    gateways: Iterable[Route], routes: Iterable[Route], addresses: Sequence[IPInterface] | None
) -> tuple[Route, ...]:
    """Takes every ``gateway`` for one on the link, if ``addresses`` are given; the model says so only where that is not
    plain.
    """
    found: dict[tuple[object, int | None], Route] = {}
    for route in gateways:
        found.setdefault(
            (route.destination, route.metric),
            replace(route, on_link=_on_link_needed(route, addresses or ())) if addresses is not None else route,
        )
    for route in routes:
        found.setdefault((route.destination, route.metric), route)
    return tuple(found.values())


def _on_link_needed(route: Route, addresses: Iterable[IPInterface]) -> bool:
    gateway = route.gateway
    if gateway is None or gateway.is_link_local:
        return False
    return not any(gateway in address.network for address in addresses if address.version == route.version)


def _read_link(name: str, options: dict[str, str]) -> Vlan | Bond | None:
    members = options.pop("bond-slaves", options.pop("bond-members", ""))
    parent, _, number = name.rpartition(".")
    identifier = options.get("vlan-id") or (number if parent and number.isdigit() else None)
    device = options.get("vlan-raw-device") or parent
    if identifier and device:
        return Vlan(int(identifier), device)
    if members and members != "none":
        settings = dict(kernel_option(key, value) for key, value in options.items() if key.startswith("bond-"))
        settings.pop("master", None)
        mode = settings.pop("mode", MODES[0])
        return Bond(tuple(members.split()), mode, tuple(settings.items()))
    return None


def write_stanzas(
    interface: Interface,
    versions: Iterable[int],
    kept: dict[str, list[Option]],
    *,
    starter: str | None,
    alone: bool = True,
    dialect: Dialect = DEBIAN,
) -> str:
    """Returns the stanzas of ``interface``.

    :param versions: the IP versions of which stanzas are written.
    :param kept: options of somebody else's, by the family of the stanza that they belong to.
    :param starter: the keyword of the line that has it brought up; None: there is such a line already.
    :param alone: whether there are no stanzas but these, so that there has to be one.
    :raises NetworkValueError: the program has no way to say it.
    """
    stanzas: list[tuple[str, list[str]]] = []
    for version in sorted(versions):
        stanzas += _family(interface, version, dialect, [line.lines for line in kept.get(FAMILIES[version], ())])
    rest = [line.lines for family, lines in kept.items() if family not in FAMILIES.values() for line in lines]
    if not stanzas and (alone or rest):
        stanzas.append((f"iface {interface.name} inet manual\n", []))
    if stanzas:
        stanzas[0][1][0:0] = _lines(_link(interface, dialect) + _mtu(interface, stanzas[0][0], dialect))
        stanzas[0][1].extend(rest)
    for _, options in stanzas if dialect.dns_in_each else stanzas[:1]:
        options.extend(_lines(_dns(interface.dns)))
    text = f"# Label {interface.label}\n" if interface.label else ""
    text += f"{starter} {interface.name}\n" if starter and stanzas else ""
    return text + "".join(header + "".join(options) for header, options in stanzas)


def _family(interface: Interface, version: int, dialect: Dialect, kept: list[str]) -> list[tuple[str, list[str]]]:
    family = f"iface {interface.name} {FAMILIES[version]}"
    addresses = list(interface.addresses_of(version))
    stanzas, router = _automatic(interface, version, dialect, family)
    gateway = next((route for route in interface.routes_of(version) if _is_gateway(route, interface, dialect)), None)
    if stanzas and addresses and dialect.further == "command":
        gateway = None  # one stanza for each family: there is none to put it into
        stanzas[0][1].extend(_lines(_address_commands(interface, addresses)))
    elif addresses:
        stanzas += _static_stanzas(interface, addresses, gateway, router, family, dialect)
    routes = [route for route in interface.routes_of(version) if not (addresses and route is gateway)]
    if (routes or kept) and not stanzas:
        stanzas.append((f"{family} manual\n", []))
    if kept:
        stanzas[0][1].extend(kept)
    for route in routes:
        # With the last address: a gateway may be in the network of any of them.
        up, down = route_commands(route, interface.name)
        stanzas[-1][1].extend(_lines([f"post-up {up}", f"pre-down {down}"]))
    return stanzas


def _automatic(
    interface: Interface, version: int, dialect: Dialect, family: str
) -> tuple[list[tuple[str, list[str]]], list[str]]:
    """The stanza by which addresses come from others, and what a static one has to say about routers."""
    router: list[str] = []
    accept_ra = interface.accept_ra if version == 6 else None
    if accept_ra is not None:
        if dialect.router == "option":
            router.append(f"accept_ra {int(accept_ra)}")
        elif dialect.router == "executor" and accept_ra:
            router.append(f"use {_ROUTER}")
        else:
            router.append(f"pre-up {router_command(interface.name, accept=accept_ra)}")
    if interface.dhcp(version):
        if version == 6 and not dialect.dhcp6:
            raise NetworkValueError(f"{interface.name}: this program has no DHCPv6")
        return [(f"{family} dhcp\n", _lines(router))], []
    if router and not interface.addresses_of(version):
        if router[0].startswith("pre-up "):
            return [(f"{family} manual\n", _lines(router))], []
        return [(f"{family} auto\n", _lines([] if accept_ra else router))], []
    return [], [*router, "autoconf 1"] if router and accept_ra and dialect.router == "option" else router


def _static_stanzas(
    interface: Interface,
    addresses: Sequence[IPInterface],
    gateway: Route | None,
    router: Sequence[str],
    family: str,
    dialect: Dialect,
) -> list[tuple[str, list[str]]]:
    first = addresses[0]
    options = [f"address {first.ip}", f"netmask {_mask(first)}"] if dialect.netmask else [f"address {first}"]
    if dialect.further == "line":
        options += [f"address {address}" for address in addresses[1:]]
    if gateway is not None:
        options.append(f"gateway {gateway.gateway}")
        options += [] if gateway.metric is None else [f"metric {gateway.metric}"]
    options += router
    if dialect.further == "command":
        options += _address_commands(interface, addresses[1:])
    stanzas = [(f"{family} static\n", _lines(options))]
    if dialect.further == "stanza":
        stanzas += [(f"{family} static\n", _lines([f"address {address}"])) for address in addresses[1:]]
    return stanzas


def _mask(address: IPInterface) -> str:
    return str(address.netmask) if address.version == 4 else str(address.network.prefixlen)


def _address_commands(interface: Interface, addresses: Iterable[IPInterface]) -> list[str]:
    lines = []
    for address in addresses:
        lines.append(f"post-up ip -{address.version} addr add {address} dev {interface.name}")
        lines.append(f"pre-down ip -{address.version} addr del {address} dev {interface.name} || true")
    return lines


def _is_gateway(route: Route, interface: Interface, dialect: Dialect) -> bool:
    """Whether ``gateway`` says it."""
    plain = route.is_default and route.gateway is not None and route.mtu is None
    if dialect.gateway_on_link:
        reached = route.on_link == _on_link_needed(route, interface.addresses)
    else:
        reached = not route.on_link
    return plain and reached and (dialect.gateway_metric or route.metric is None)


def _dns(dns: Dns) -> list[str]:
    lines = [f"dns-nameservers {' '.join(str(server) for server in dns.servers)}"] if dns.servers else []
    return lines + ([f"dns-search {' '.join(dns.search)}"] if dns.search else [])


def _mtu(interface: Interface, header: str, dialect: Dialect) -> list[str]:
    if interface.mtu is None:
        return []
    if " ".join(header.split()[2:]) in dialect.mtu:
        return [f"mtu {interface.mtu}"]
    return [f"pre-up ip link set dev {interface.name} mtu {interface.mtu}"]  # these methods have no option for it


def _link(interface: Interface, dialect: Dialect) -> list[str]:
    link = interface.link
    if isinstance(link, Vlan):
        return [f"vlan-raw-device {link.parent}", f"vlan-id {link.id}"]
    if isinstance(link, Bond):
        options = [f"bond-{key.replace('_', '-')} {value.replace(',', ' ')}" for key, value in link.options]
        return [f"{dialect.members} {' '.join(link.members)}", f"bond-mode {link.mode}", *options]
    return []


def _lines(options: Iterable[str]) -> list[str]:
    for option in options:
        if "\n" in option or "\\" in option:
            raise NetworkValueError(f"{option!r} cannot stand in a line of its own")
    return [f"{_INDENT}{option}\n" for option in options]
