"""An interface in the form of ``/etc/network/interfaces``: stanzas read, and written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

from .bonds import MODES, kernel_option
from .checks import NetworkValueError
from .ifupdown_commands import read_command, route_commands
from .model import Bond, Dns, Interface, Route, Vlan

if TYPE_CHECKING:
    from .ifupdown_file import Block, Option
    from .model import IPInterface

__all__ = ("FAMILIES", "is_known", "read_stanzas", "write_stanzas")

FAMILIES = {4: "inet", 6: "inet6"}
"""The families of stanzas by the version of IP."""

_INDENT = "    "
_METHODS = ("static", "dhcp", "auto", "manual")
_KNOWN = frozenset({
    "accept_ra", "address", "autoconf", "broadcast", "dns-nameserver", "dns-nameservers", "dns-search", "gateway",
    "metric", "mtu", "netmask", "network", "pointopoint", "vlan-id", "vlan-raw-device", "vlan_id", "vlan_raw_device",
})  # fmt: skip
_COMMANDS = ("up", "post-up", "pre-up", "down", "pre-down", "post-down")


def is_known(option: Option, interface: str) -> bool:
    """Returns whether ``option`` is one that :func:`write_stanzas` writes; all others are somebody's own."""
    if option.key in _COMMANDS:
        return read_command(option.value, interface) is not None
    return option.key in _KNOWN or option.key.startswith(("bond-", "bond_"))


def read_stanzas(name: str, stanzas: Sequence[Block]) -> Interface | None:
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
        version = {"inet": 4, "inet6": 6}.get(stanza.family)
        if version is None or stanza.method not in _METHODS:
            return None
        values = {option.key: option.value for option in stanza.options}
        if stanza.method == "dhcp":
            dhcp.add(version)
        if stanza.method == "auto":
            accept_ra = values.get("accept_ra") != "0"
        elif "accept_ra" in values and version == 6:
            accept_ra = values["accept_ra"] != "0"
        if stanza.method == "static":
            found, gateway = _static(version, values)
            addresses += found
            gateways += gateway
        for option in stanza.options:
            said = read_command(option.value, name) if option.key in _COMMANDS else None
            if said is not None and option.key in ("up", "post-up", "pre-up"):
                routes += [said.route] if said.route else []
                addresses += [said.address] if said.address else []
                mtu = said.mtu or mtu
            elif option.key in ("dns-nameservers", "dns-nameserver"):
                servers += [ip_address(word) for word in option.value.split()]
            elif option.key == "dns-search":
                search += option.value.split()
            elif option.key == "mtu":
                mtu = int(option.value)
            elif option.key.startswith(("bond", "vlan")):
                link[option.key.replace("_", "-")] = option.value
    return Interface(
        name,
        addresses=tuple(addresses),
        routes=_merged(gateways, routes, addresses),
        dns=Dns(tuple(servers), tuple(search)),
        mtu=mtu,
        dhcp4=4 in dhcp,
        dhcp6=6 in dhcp,
        accept_ra=accept_ra,
        link=_read_link(name, link),
    )


def _static(version: int, values: dict[str, str]) -> tuple[list[IPInterface], list[Route]]:
    text = values.get("address")
    if text is None:
        return [], []
    if "/" not in text:
        text += "/" + values.get("netmask", "32" if version == 4 else "64")
    gateway = values.get("gateway")
    if gateway is None:
        return [ip_interface(text)], []
    metric = values.get("metric")
    everywhere = ip_network("0.0.0.0/0" if version == 4 else "::/0")
    route = Route(everywhere, ip_address(gateway), int(metric) if metric else None)
    return [ip_interface(text)], [route]


def _merged(gateways: Iterable[Route], routes: Iterable[Route], addresses: Sequence[IPInterface]) -> tuple[Route, ...]:
    """Ifupdown takes every ``gateway`` for one on the link; the model says so only where that is not plain."""
    found: dict[tuple[object, int | None], Route] = {}
    for route in gateways:
        found.setdefault((route.destination, route.metric), replace(route, on_link=_on_link_needed(route, addresses)))
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
) -> str:
    """Returns the stanzas of ``interface``.

    :param versions: the IP versions of which stanzas are written.
    :param kept: options of somebody else's, by the family of the stanza that they belong to.
    :param starter: the keyword of the line that has it brought up; None: there is such a line already.
    :param alone: whether there are no stanzas but these, so that there has to be one.
    """
    stanzas: list[tuple[str, list[str]]] = []
    for version in sorted(versions):
        stanzas += _family(interface, version, [line.lines for line in kept.get(FAMILIES[version], ())])
    rest = [line.lines for family, lines in kept.items() if family not in FAMILIES.values() for line in lines]
    if not stanzas and (alone or rest):
        stanzas.append((f"iface {interface.name} inet manual\n", []))
    if stanzas:
        stanzas[0][1][0:0] = _lines(_link(interface) + _mtu(interface, stanzas[0][0]))
        stanzas[0][1].extend(rest)
    for header, options in stanzas:
        del header
        options.extend(_lines(_dns(interface.dns)))
    text = f"# Label {interface.label}\n" if interface.label else ""
    text += f"{starter} {interface.name}\n" if starter and stanzas else ""
    return text + "".join(header + "".join(options) for header, options in stanzas)


def _family(interface: Interface, version: int, kept: list[str]) -> list[tuple[str, list[str]]]:
    family = f"iface {interface.name} {FAMILIES[version]}"
    addresses = interface.addresses_of(version)
    stanzas: list[tuple[str, list[str]]] = []
    router: list[str] = []
    if version == 6 and interface.accept_ra is not None:
        router.append(f"accept_ra {int(interface.accept_ra)}")
    if interface.dhcp(version):
        stanzas.append((f"{family} dhcp\n", _lines(router)))
    elif router and not addresses:
        stanzas.append((f"{family} auto\n", _lines([] if interface.accept_ra else router)))
    elif router:
        router += ["autoconf 1"] if interface.accept_ra else []
    gateway = next(
        (
            route
            for route in interface.routes_of(version)
            if route.is_default
            and route.gateway is not None
            and route.mtu is None
            and route.on_link == _on_link_needed(route, interface.addresses)
        ),
        None,
    )
    for index, address in enumerate(addresses):
        options = [f"address {address}"]
        if index == 0:
            if gateway is not None:
                options.append(f"gateway {gateway.gateway}")
                options += [] if gateway.metric is None else [f"metric {gateway.metric}"]
            options += router if not interface.dhcp(version) else []
        stanzas.append((f"{family} static\n", _lines(options)))
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


def _dns(dns: Dns) -> list[str]:
    """In every stanza: each hands its own to resolvconf, and undoes what the one before it of its family has said."""
    lines = [f"dns-nameservers {' '.join(str(server) for server in dns.servers)}"] if dns.servers else []
    return lines + ([f"dns-search {' '.join(dns.search)}"] if dns.search else [])


def _mtu(interface: Interface, header: str) -> list[str]:
    if interface.mtu is None:
        return []
    if header.split()[2:] in (["inet", "static"], ["inet", "manual"]):
        return [f"mtu {interface.mtu}"]
    return [f"pre-up ip link set dev {interface.name} mtu {interface.mtu}"]  # these methods have no option for it


def _link(interface: Interface) -> list[str]:
    link = interface.link
    if isinstance(link, Vlan):
        return [f"vlan-raw-device {link.parent}", f"vlan-id {link.id}"]
    if isinstance(link, Bond):
        options = [f"bond-{key.replace('_', '-')} {value.replace(',', ' ')}" for key, value in link.options]
        return [f"bond-slaves {' '.join(link.members)}", f"bond-mode {link.mode}", *options]
    return []


def _lines(options: Iterable[str]) -> list[str]:
    for option in options:
        if "\n" in option or "\\" in option:
            raise NetworkValueError(f"{option!r} cannot stand in a line of its own")
    return [f"{_INDENT}{option}\n" for option in options]
