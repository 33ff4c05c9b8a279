"""An interface in the form of SUSE's ``ifcfg`` and ``ifroute`` files: read, and written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

from guestagent_commands_net.bonds import MODES
from guestagent_commands_net.model import Bond, Dns, Interface, Route, Vlan

from .foreign_routes import still_leads
from .gateway_routes import join_gateway_routes
from .shell_variables import single_quoted

if TYPE_CHECKING:
    from guestagent_commands_net.model import IPInterface

__all__ = ("DNS", "SEARCH", "is_known", "read_routes", "read_values", "without_routes_of", "write_routes",
           "write_values")  # fmt: skip

DNS, SEARCH = "GUESTAGENT_DNS", "GUESTAGENT_DNS_SEARCH"
"""Variables of our own, which wicked does not look at: what of the machine's name servers belongs to an interface."""

_KNOWN = re.compile(
    r"(?:BOOTPROTO|STARTMODE|USERCONTROL|(?:IPADDR|NETMASK|PREFIXLEN|BROADCAST|NETWORK|LABEL)\w*|MTU|ETHERDEVICE"
    rf"|VLAN_ID|BONDING_(?:MASTER|SLAVE_?\d+|MODULE_OPTS)|{DNS}|{SEARCH})"
)
_DHCP = {(True, True): "dhcp", (True, False): "dhcp4", (False, True): "dhcp6"}


def is_known(name: str) -> bool:
    """Returns whether :func:`write_values` writes the variable ``name``; all others are somebody's own."""
    return _KNOWN.fullmatch(name) is not None


def read_values(name: str, values: Mapping[str, str]) -> Interface:
    """Returns the interface that the variables of one file configure.

    :raises ValueError: a value is wrong.
    """
    protocol = values.get("BOOTPROTO", "static").lower()
    servers = tuple(ip_address(server) for server in values.get(DNS, "").split())
    mtu = values.get("MTU")
    return Interface(
        name,
        addresses=tuple(_addresses(values)) if protocol != "none" else (),
        dns=Dns(servers, tuple(values.get(SEARCH, "").split())),
        mtu=int(mtu) if mtu else None,
        dhcp4=protocol in ("dhcp", "dhcp4", "dhcp+autoip", "dhcp4+autoip"),
        dhcp6=protocol in ("dhcp", "dhcp6", "dhcp+autoip"),
        link=_read_link(name, values),
    )


def _addresses(values: Mapping[str, str]) -> Iterable[IPInterface]:
    for key, text in values.items():
        if not key.startswith("IPADDR") or not text:
            continue
        suffix = key.removeprefix("IPADDR")  # whatever it is: cloud-init writes IPADDR1, IPADDR6 and IPADDR6_1
        length = values.get(f"PREFIXLEN{suffix}") or values.get(f"NETMASK{suffix}")
        yield ip_interface(text if "/" in text or not length else f"{text}/{length}")


def _read_link(name: str, values: Mapping[str, str]) -> Vlan | Bond | None:
    parent, _, number = name.rpartition(".")
    if values.get("ETHERDEVICE"):
        identifier = values.get("VLAN_ID") or (number if parent else name.removeprefix("vlan"))
        if identifier.isdigit():
            return Vlan(int(identifier), values["ETHERDEVICE"])
    if values.get("BONDING_MASTER", "no").lower() == "yes":
        members = tuple(values[key] for key in values if re.fullmatch(r"BONDING_SLAVE_?\d+", key) and values[key])
        options = dict(part.partition("=")[::2] for part in values.get("BONDING_MODULE_OPTS", "").split())
        mode = options.pop("mode", MODES[0])
        return Bond(members, MODES[int(mode)] if mode.isdigit() else mode, tuple(options.items()))
    return None


def write_values(interface: Interface) -> dict[str, str]:
    """Returns the variables that configure ``interface``, quoted, in their order.

    Beside DHCP, fixed addresses are additional ones, which have a suffix, as YaST writes them.
    """
    dhcp = (interface.dhcp4, interface.dhcp6)
    values = {"BOOTPROTO": _DHCP[dhcp] if any(dhcp) else "static"}
    for index, address in enumerate(interface.addresses, start=int(any(dhcp))):
        suffix = f"_{index - 1}" if index else ""
        values[f"IPADDR{suffix}"] = str(address.ip)
        values[f"PREFIXLEN{suffix}"] = str(address.network.prefixlen)
    if interface.mtu is not None:
        values["MTU"] = str(interface.mtu)
    link = interface.link
    if isinstance(link, Vlan):
        values |= {"ETHERDEVICE": link.parent, "VLAN_ID": str(link.id)}
    if isinstance(link, Bond):
        options = [f"mode={link.mode}", *(f"{key}={value}" for key, value in link.options)]
        values |= {"BONDING_MASTER": "yes", "BONDING_MODULE_OPTS": " ".join(options)}
        values |= {f"BONDING_SLAVE{index}": member for index, member in enumerate(link.members)}
    if interface.dns.servers:
        values[DNS] = " ".join(str(server) for server in interface.dns.servers)
    if interface.dns.search:
        values[SEARCH] = " ".join(interface.dns.search)
    values |= {"STARTMODE": "auto", "USERCONTROL": "no"}
    return {name: single_quoted(value) for name, value in values.items()}


def write_routes(interface: Interface, before: str = "") -> str:
    """Returns the lines of the interface's file of routes.

    A gateway that is on the link although no address's network has it gets a route of its own before it.

    :param before: the file as it is: what the model has not, such as routes of other tables, stays if its gateway is
        still reached.
    """
    lines = []
    for route in interface.routes:
        if route.on_link and route.gateway is not None:
            lines.append(_line(Route(ip_network(route.gateway)), interface.name))
        lines.append(_line(route, interface.name))
    for line in before.splitlines():
        words = _words(line)
        if words and _is_foreign(words, interface.name) and _still_leads(words, interface):
            lines.append(line)
    return "".join(f"{line}\n" for line in dict.fromkeys(lines))


def _words(line: str) -> list[str]:
    """Returns the five fields of a line, then the options; none if there is no route in it."""
    words = line.partition("#")[0].split()
    return [*words, "-", "-", "-"][: max(5, len(words))] if len(words) > 1 else []


def _is_foreign(words: Sequence[str], name: str) -> bool:
    device, kind, *options = words[3:]
    return device not in ("-", name) or kind not in ("-", "unicast") or not set(options[::2]) <= {"metric", "mtu"}


def _still_leads(words: Sequence[str], interface: Interface) -> bool:
    gateway = None if words[1] == "-" else words[1]
    options = dict(zip(words[5::2], words[6::2], strict=False))
    version = 6 if ":" in f"{words[0]}{words[1]}" else 4
    return words[3] not in ("-", interface.name) or still_leads(gateway, options.get("src"), interface, version)


def _line(route: Route, name: str) -> str:
    options = [] if route.metric is None else [f"metric {route.metric}"]
    options += [] if route.mtu is None else [f"mtu {route.mtu}"]
    destination = str(route.destination)
    if route.is_default and route.gateway is not None:
        destination = "default"
    words = [destination, str(route.gateway or "-"), "-", name, *(["-"] if options else []), *options]
    return " ".join(words)


def read_routes(name: str, text: str) -> tuple[Route, ...]:
    """Returns the routes of the interface ``name`` among the lines of a file of routes.

    :raises ValueError: a line is wrong.
    """
    found: list[Route] = []
    for line in text.splitlines():
        words = _words(line)
        if words and not _is_foreign(words, name):
            destination, gateway, mask = words[:3]
            found.append(_route(destination, gateway, mask, words[5:]))
    return join_gateway_routes(found)


def _route(destination: str, gateway: str, mask: str, options: Sequence[str]) -> Route:
    settings = dict(zip(options[::2], options[1::2], strict=False))
    if destination == "default":
        destination = "::/0" if ":" in gateway else "0.0.0.0/0"
    elif mask != "-":
        destination = f"{destination}/{mask.removeprefix('/')}"
    return Route(
        ip_network(destination, strict=False),
        None if gateway == "-" or ip_address(gateway).is_unspecified else ip_address(gateway),
        int(settings["metric"]) if "metric" in settings else None,
        mtu=int(settings["mtu"]) if "mtu" in settings else None,
    )


def without_routes_of(lost: Mapping[str, Sequence[int]], interfaces: Iterable[Interface], text: str) -> str:
    """Returns the machine's file of routes without those that lead through the interfaces ``lost`` and no other: these
    are named, or have the gateway in a network of theirs.

    :param lost: the versions of IP whose routes go, by the names of interfaces.
    :param interfaces: all that there are so far.
    """
    near = [(each.name, address.network) for each in interfaces for address in each.addresses]
    kept = []
    for line in text.splitlines(keepends=True):
        words = _words(line)
        names = {words[3]} - {"-"} if words else set()
        if words and not names:
            with suppress(ValueError):  # there is none, or it is none
                gateway = ip_address(words[1])
                names = {name for name, network in near if gateway in network}
        version = 6 if words and ":" in f"{words[0]}{words[1]}" else 4
        if not names or any(version not in lost.get(name, ()) for name in names):
            kept.append(line)
    return "".join(kept)
