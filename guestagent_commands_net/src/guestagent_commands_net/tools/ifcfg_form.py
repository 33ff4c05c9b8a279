"""An interface in the form of Red Hat's ``ifcfg`` files: variables read, and written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface
from typing import TYPE_CHECKING

from guestagent_commands_net.bonds import MODES
from guestagent_commands_net.checks import NetworkValueError
from guestagent_commands_net.model import Bond, Dns, Interface, Route, Vlan

from .shell_variables import plain

if TYPE_CHECKING:
    from guestagent_commands_net.model import IPInterface, IPNetwork

__all__ = ("gateway_in_file", "has_alias_files", "is_known", "read_values", "write_values")

_KNOWN = re.compile(
    r"(?:DEVICE|BOOTPROTO|ONBOOT|HWADDR|VLAN|VLAN_ID|PHYSDEV|MASTER|SLAVE|TYPE|BONDING_MASTER|BONDING_OPTS|MTU|DOMAIN"
    r"|(?:IPADDR|NETMASK|PREFIX|GATEWAY|BROADCAST|NETWORK)\d*|DEFROUTE|METRIC|DNS\d+"
    r"|IPV6INIT|IPV6ADDR\d*|IPV6ADDR_SECONDARIES|IPV6_DEFAULTGW|IPV6_DEFROUTE|IPV6_AUTOCONF|IPV6_ROUTER|DHCPV6C"
    r"|IPV6_DOMAIN|IPV6_PRIVACY|NM_CONTROLLED)"
)
_YES = ("yes", "true", "1", "on", "y", "t")
_EVERYWHERE: dict[int, IPNetwork] = {4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")}


def is_known(name: str) -> bool:
    """Returns whether :func:`write_values` writes the variable ``name``; all others are somebody's own."""
    return name != "IPV6_PRIVACY" and _KNOWN.fullmatch(name) is not None


def read_values(name: str, values: Mapping[str, str], members: tuple[str, ...]) -> Interface:
    """Returns the interface that the variables of one file configure, without the routes of other files.

    :param members: the interfaces whose files name this one as their master.
    :raises ValueError: a value is wrong.
    """
    protocol = values.get("BOOTPROTO", "none").lower()
    addresses = _addresses4(values)
    routes = []
    gateway = values.get("GATEWAY") or values.get("GATEWAY0")
    if gateway and values.get("DEFROUTE", "yes").lower() in _YES:
        metric = values.get("METRIC")
        routes.append(Route(_EVERYWHERE[4], ip_address(gateway), int(metric) if metric else None))
    accept_ra: bool | None = None
    if values.get("IPV6INIT", "yes").lower() in _YES:
        texts = [values.get("IPV6ADDR", ""), *values.get("IPV6ADDR_SECONDARIES", "").split()]
        addresses += [ip_interface(text if "/" in text else f"{text}/64") for text in texts if text]
        gateway = values.get("IPV6_DEFAULTGW", "").partition("%")[0]
        if gateway and values.get("IPV6_DEFROUTE", "yes").lower() in _YES:
            routes.append(Route(_EVERYWHERE[6], ip_address(gateway)))
        if "IPV6_AUTOCONF" in values:
            accept_ra = values["IPV6_AUTOCONF"].lower() in _YES
    servers = [values[key] for key in sorted(values, key=_number) if re.fullmatch(r"DNS\d+", key) and values[key]]
    search = f"{values.get('DOMAIN', '')} {values.get('IPV6_DOMAIN', '')}"
    mtu = values.get("MTU")
    return Interface(
        name,
        values.get("HWADDR") or None,
        addresses=tuple(addresses),
        routes=tuple(routes),
        dns=Dns(tuple(ip_address(server) for server in servers), tuple(search.split())),
        mtu=int(mtu) if mtu else None,
        dhcp4=protocol in ("dhcp", "bootp"),
        dhcp6=values.get("DHCPV6C", "no").lower() in _YES,
        accept_ra=accept_ra,
        link=_read_link(name, values, members),
    )


def _addresses4(values: Mapping[str, str]) -> list[IPInterface]:
    found: list[IPInterface] = []
    for suffix in sorted(
        (key.removeprefix("IPADDR") for key in values if re.fullmatch(r"IPADDR\d*", key)), key=_number
    ):
        address = values[f"IPADDR{suffix}"]
        if address:
            length = values.get(f"PREFIX{suffix}") or values.get(f"NETMASK{suffix}") or "32"
            found.append(ip_interface(f"{address}/{length}"))
    return found


def _number(key: str) -> int:
    return int(re.sub(r"\D", "", key) or -1)


def _read_link(name: str, values: Mapping[str, str], members: tuple[str, ...]) -> Vlan | Bond | None:
    if values.get("VLAN", "no").lower() in _YES or values.get("TYPE", "").lower() == "vlan":
        parent, _, number = name.rpartition(".")
        device = values.get("PHYSDEV") or parent
        identifier = values.get("VLAN_ID") or number
        if device and identifier.isdigit():
            return Vlan(int(identifier), device)
    if members:
        options = dict(part.partition("=")[::2] for part in values.get("BONDING_OPTS", "").split())
        mode = options.pop("mode", MODES[0])
        return Bond(members, MODES[int(mode)] if mode.isdigit() else mode, tuple(options.items()))
    return None


def write_values(interface: Interface, master: str | None, *, by_manager: bool) -> dict[str, str]:
    """Returns the variables that configure ``interface``, each with the quotes that it needs, in their order.

    :param master: the bond that it is a member of.
    :param by_manager: whether NetworkManager reads the file, and not the network scripts.
    :raises NetworkValueError: the form has nothing for it.
    """
    values = {"BOOTPROTO": "dhcp" if interface.dhcp4 else "none", "DEVICE": interface.name}
    if interface.mac is not None and interface.link is None:
        values["HWADDR"] = interface.mac
    values |= _link_values(interface, master)
    if by_manager:
        _check_place(interface)
    addresses = () if has_alias_files(interface, by_manager=by_manager) else interface.addresses_of(4)
    for index, address in enumerate(addresses):
        suffix = str(index) if index else ""
        values[f"IPADDR{suffix}"] = str(address.ip)
        values[f"NETMASK{suffix}"] = str(address.netmask)
    gateway = gateway_in_file(interface, 4, by_manager=by_manager)
    if gateway is not None:
        values["DEFROUTE"] = "yes"
        values["GATEWAY"] = str(gateway.gateway)
        if gateway.metric is not None:
            values["METRIC"] = str(gateway.metric)
    values |= _values6(interface, by_manager=by_manager)
    for index, server in enumerate(interface.dns.servers, start=1):
        values[f"DNS{index}"] = str(server)
    if interface.dns.search:
        only6 = by_manager and not _has4(interface)  # NetworkManager reads nothing of a version that is not used
        values["IPV6_DOMAIN" if only6 else "DOMAIN"] = " ".join(interface.dns.search)
    if interface.mtu is not None:
        values["MTU"] = str(interface.mtu)
    values["ONBOOT"] = "yes"
    if not by_manager:
        values["NM_CONTROLLED"] = "no"
    return {name: plain(value) for name, value in values.items()}


def has_alias_files(interface: Interface, *, by_manager: bool) -> bool:
    """Returns whether the IPv4 addresses have files of their own: the network scripts take no others beside DHCP."""
    return interface.dhcp4 and not by_manager


def gateway_in_file(interface: Interface, version: int, *, by_manager: bool) -> Route | None:
    """Returns the default route that has variables of its own; all others go to the file of routes.

    The variables count beside fixed addresses alone; to the network scripts an IPv4 gateway does only in the network of
    the first one, and NetworkManager knows no metric of it.
    """
    addresses = interface.addresses_of(version)
    if not addresses or (version == 4 and interface.dhcp4):
        return None
    for route in interface.routes_of(version):
        if not route.is_default or route.gateway is None or route.mtu is not None or route.on_link:
            continue
        if route.metric is not None and (version == 6 or by_manager):
            continue
        if version == 6 or by_manager or route.gateway in addresses[0].network:
            return route
    return None


def _has4(interface: Interface) -> bool:
    return interface.dhcp4 or bool(interface.addresses_of(4))


def _has6(interface: Interface) -> bool:
    return bool(
        interface.addresses_of(6) or interface.routes_of(6) or interface.dhcp6 or interface.accept_ra is not None
    )


def _check_place(interface: Interface) -> None:
    """Makes sure that NetworkManager reads all of it: of an IP version without addresses it reads nothing.

    :raises NetworkValueError: there would be something that it leaves out.
    """
    for version, used in ((4, _has4(interface)), (6, _has6(interface))):
        servers, routes = interface.dns.of(version), interface.routes_of(version)
        if not used and (servers or routes):
            what = f"IPv{version} name servers" if servers else f"a route to {routes[0].destination}"
            raise NetworkValueError(f"{interface.name}: NetworkManager has no place for {what} without IPv{version}")
    if interface.dns.search and not _has4(interface) and not _has6(interface):
        raise NetworkValueError(f"{interface.name}: NetworkManager has no place for search domains without addresses")


def _values6(interface: Interface, *, by_manager: bool) -> dict[str, str]:
    addresses = interface.addresses_of(6)
    values = {"IPV6INIT": "yes"} if _has6(interface) else {}
    if interface.accept_ra is not None:
        values["IPV6_AUTOCONF"] = "yes" if interface.accept_ra else "no"
    if interface.dhcp6:
        values["DHCPV6C"] = "yes"
    if addresses:
        values["IPV6ADDR"] = str(addresses[0])
        if len(addresses) > 1:
            values["IPV6ADDR_SECONDARIES"] = " ".join(str(address) for address in addresses[1:])
    gateway = gateway_in_file(interface, 6, by_manager=by_manager)
    if gateway is not None and gateway.gateway is not None:
        scope = f"%{interface.name}" if gateway.gateway.is_link_local else ""
        values["IPV6_DEFAULTGW"] = f"{gateway.gateway}{scope}"
    return values


def _link_values(interface: Interface, master: str | None) -> dict[str, str]:
    link = interface.link
    if isinstance(link, Vlan):
        return {"VLAN": "yes", "TYPE": "Vlan", "PHYSDEV": link.parent, "VLAN_ID": str(link.id)}
    if isinstance(link, Bond):
        options = [f"mode={link.mode}", *(f"{key}={value}" for key, value in link.options)]
        return {"TYPE": "Bond", "BONDING_MASTER": "yes", "BONDING_OPTS": " ".join(options)}
    return {"MASTER": master, "SLAVE": "yes"} if master is not None else {}
