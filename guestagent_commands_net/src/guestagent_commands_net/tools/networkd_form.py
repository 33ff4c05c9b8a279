"""An interface in the form of systemd-networkd's files: ``.network`` and ``.netdev`` read, and written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

from guestagent_commands_net.bonds import MODES
from guestagent_commands_net.checks import NetworkValueError
from guestagent_commands_net.model import VERSIONS, Bond, Dns, Interface, Route, Vlan

from .sections import Section

if TYPE_CHECKING:
    from guestagent_commands_net.model import IPAddress, IPInterface

    from .sections import SectionsFile

__all__ = ("is_idle", "make_idle", "read_device", "read_network", "write_device", "write_network")

_DHCP = {
    **dict.fromkeys(("yes", "true", "on", "1", "both"), (4, 6)),
    **dict.fromkeys(("ipv4", "v4"), (4,)),
    **dict.fromkeys(("ipv6", "v6"), (6,)),
}
_LEARNT = ("_dhcp4", "_dhcp", "_ipv6ra", "dhcp")  # gateways that somebody else tells
_ROUTE_KEYS = {"Destination", "Gateway", "GatewayOnLink", "Metric", "MTUBytes", "Scope"}
_SAME_NAMES = {
    "ad_select": "AdSelect",
    "all_slaves_active": "AllSlavesActive",
    "arp_all_targets": "ARPAllTargets",
    "arp_interval": "ARPIntervalSec",
    "arp_ip_target": "ARPIPTargets",
    "arp_validate": "ARPValidate",
    "downdelay": "DownDelaySec",
    "fail_over_mac": "FailOverMACPolicy",
    "lacp_rate": "LACPTransmitRate",
    "lp_interval": "LearnPacketIntervalSec",
    "miimon": "MIIMonitorSec",
    "min_links": "MinLinks",
    "num_grat_arp": "GratuitousARP",
    "packets_per_slave": "PacketsPerSlave",
    "primary_reselect": "PrimaryReselectPolicy",
    "resend_igmp": "ResendIGMP",
    "updelay": "UpDelaySec",
    "xmit_hash_policy": "TransmitHashPolicy",
}
_MILLISECONDS = {"arp_interval", "downdelay", "miimon", "updelay"}  # the kernel's unit; networkd's is the second
_KERNEL_NAMES = {theirs: ours for ours, theirs in _SAME_NAMES.items()}


def is_idle(network: SectionsFile) -> bool:
    """Returns whether the file keeps networkd away from what it is for."""
    return network.get("Link", "Unmanaged") in ("yes", "true")


def make_idle(network: SectionsFile) -> None:
    """Has networkd keep away from what the file is for."""
    write_network(network, Interface("x"), VERSIONS, (), False)
    network.put("Link", lambda key: key in ("Unmanaged", "MTUBytes"), (("Unmanaged", "yes"),))


def read_network(name: str, network: SectionsFile, link: Vlan | Bond | None) -> Interface:
    """Returns the interface ``name`` as a ``.network`` file configures it.

    :raises ValueError: a value is wrong.
    """
    addresses: list[IPInterface] = []
    routes: list[Route] = []
    servers: list[IPAddress] = []
    search: list[str] = []
    for section in network.sections:
        for key, value in section.items() if section.name in ("Network", "Address") else ():
            if key == "Address" and value:
                addresses.append(ip_interface(value))
            elif key == "Gateway" and value and value.lower() not in _LEARNT and section.name == "Network":
                routes.append(_default(value))
            elif key == "DNS":
                servers += [ip_address(_server(server)) for server in value.split()]
            elif key == "Domains":
                search += value.split()
        if section.name == "Route" and _is_ours(section):
            routes.append(_read_route(section))
    dhcp = _DHCP.get((network.get("Network", "DHCP") or "").lower(), ())
    accept_ra, mtu = network.get("Network", "IPv6AcceptRA"), network.get("Link", "MTUBytes")
    return Interface(
        name,
        addresses=tuple(addresses),
        routes=tuple(routes),
        dns=Dns(tuple(servers), tuple(domain for domain in search if not domain.startswith("~"))),
        mtu=int(mtu) if mtu else None,
        dhcp4=4 in dhcp,
        dhcp6=6 in dhcp,
        accept_ra=None if not accept_ra else accept_ra.lower() in ("yes", "true", "on", "1"),
        link=link,
    )


def _server(text: str) -> str:
    """Returns the address of a name server, behind which may stand its port, the way to it and its name."""
    text = text.partition("#")[0]
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text if text.count(":") > 1 else text.partition("%")[0].partition(":")[0]


def _is_ours(section: Section) -> bool:
    """Whether a route is one that the model has; those of other tables and kinds, and by gateways that are learnt, are
    somebody's own.
    """
    learnt = (section.get("Gateway") or "").lower() in _LEARNT
    return not learnt and {key for key, _ in section.items()} <= _ROUTE_KEYS


def _read_route(section: Section) -> Route:
    gateway, metric, mtu = section.get("Gateway"), section.get("Metric"), section.get("MTUBytes")
    via = ip_address(gateway) if gateway else None
    destination = section.get("Destination")
    if destination is None:
        destination = "::/0" if via is not None and via.version == 6 else "0.0.0.0/0"
    return Route(
        ip_network(destination, strict=False),
        via,
        int(metric) if metric else None,
        section.get("GatewayOnLink") in ("yes", "true"),
        int(mtu) if mtu else None,
    )


def _default(gateway: str) -> Route:
    via = ip_address(gateway)
    return Route(ip_network("0.0.0.0/0" if via.version == 4 else "::/0"), via)


def write_network(
    network: SectionsFile, interface: Interface, versions: Iterable[int], vlans: Sequence[str], in_bond: str | bool
) -> None:
    """Writes ``interface`` into a ``.network`` file; settings that are not about addresses stay.

    :param versions: the IP versions that are written.
    :param vlans: the VLANs that it carries.
    :param in_bond: the bond that it is part of; False: none.
    """
    versions = tuple(versions)
    mtu = () if interface.mtu is None else (("MTUBytes", str(interface.mtu)),)
    network.put("Link", lambda key: key in ("MTUBytes", "Unmanaged"), mtu)
    kept = [
        (key, value)
        for section in network.sections
        for key, value in (section.items() if section.name == "Network" else ())
        if key in ("Address", "Gateway") and _version(value) not in (None, *versions)
    ]
    servers = [str(server) for server in interface.dns.servers]
    plain = [route for route in interface.routes if route.version in versions and _is_plain(route)]
    items = [("DHCP", {(True, True): "yes", (True, False): "ipv4", (False, True): "ipv6"}.get(
        (interface.dhcp4, interface.dhcp6), "no"))]  # fmt: skip
    if interface.accept_ra is not None:
        items.append(("IPv6AcceptRA", "yes" if interface.accept_ra else "no"))
    items += [("Address", str(address)) for address in interface.addresses if address.version in versions]
    items += [("Gateway", str(route.gateway)) for route in plain]
    items += [("DNS", server) for server in servers]
    if interface.dns.search:
        items.append(("Domains", " ".join(interface.dns.search)))
    items += [("VLAN", name) for name in vlans]
    items += [("Bond", str(in_bond))] if in_bond else []
    known = {key for key, _ in items} | {"Address", "Gateway", "DNS", "Domains", "DHCP", "VLAN", "Bond", "IPv6AcceptRA"}
    network.put("Network", lambda key: key in known, [*_in_order(items, kept)])
    network.sections = [section for section in network.sections if not _is_replaced(section, versions)]
    for route in interface.routes:
        if route.version in versions and route not in plain:
            network.sections.append(Section("Route", ["\n", "[Route]\n", *_route(route)]))


def _in_order(items: list[tuple[str, str]], kept: list[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    for key in dict.fromkeys(key for key, _ in (*items, *kept)):
        yield from (each for each in kept if each[0] == key)
        yield from (each for each in items if each[0] == key)


def _is_replaced(section: Section, versions: Sequence[int]) -> bool:
    if section.name == "Address":
        return _version(section.get("Address") or "") in versions
    if section.name != "Route" or not _is_ours(section):
        return False
    try:
        return _read_route(section).version in versions
    except ValueError:
        return True  # nothing is kept of what cannot be understood: else nothing would have come here


def _version(value: str) -> int | None:
    try:
        return ip_interface(value.split()[0].partition("#")[0]).version
    except (ValueError, IndexError):
        return None


def _is_plain(route: Route) -> bool:
    plain = route.metric is None and route.mtu is None and not route.on_link
    return plain and route.is_default and route.gateway is not None


def _route(route: Route) -> list[str]:
    lines = [f"Destination={route.destination}\n"]
    lines += [f"Gateway={route.gateway}\n"] if route.gateway is not None else ["Scope=link\n"] * (route.version == 4)
    lines += ["GatewayOnLink=yes\n"] if route.on_link else []
    lines += [] if route.metric is None else [f"Metric={route.metric}\n"]
    return lines + ([] if route.mtu is None else [f"MTUBytes={route.mtu}\n"])


def read_device(device: SectionsFile, parents: Sequence[str], members: Sequence[str]) -> Vlan | Bond | None:
    """Returns what a ``.netdev`` file makes; None if it is something that the model has not.

    :param parents: the interfaces whose files name it as a VLAN of theirs.
    :param members: those whose files name it as their bond.
    """
    kind = device.get("NetDev", "Kind")
    if kind == "vlan" and parents:
        return Vlan(int(device.get("VLAN", "Id") or 0), parents[0])
    if kind != "bond" or not members:
        return None
    section = device.section("Bond")
    options: list[tuple[str, str]] = []
    for key, value in section.items() if section is not None else ():
        name = _KERNEL_NAMES.get(key)
        if name == "arp_ip_target":
            value = ",".join(value.split())
        elif name in _MILLISECONDS:
            value = (
                value.removesuffix("ms") if value.endswith("ms") else str(round(float(value.removesuffix("s")) * 1000))
            )
        elif name == "all_slaves_active":
            value = "1" if value in ("yes", "true") else "0"
        options += [(name, value)] if name is not None else []
    return Bond(tuple(members), device.get("Bond", "Mode") or MODES[0], tuple(options))


def write_device(device: SectionsFile, interface: Interface) -> None:
    """Writes what makes ``interface`` into a ``.netdev`` file.

    :raises NetworkValueError: networkd has no such setting.
    """
    link = interface.link
    head = [("Name", interface.name), ("Kind", "vlan" if isinstance(link, Vlan) else "bond")]
    head += [("MACAddress", interface.mac)] if interface.mac is not None else []
    device.put("NetDev", lambda key: key in ("Name", "Kind", "MACAddress"), head)
    if isinstance(link, Vlan):
        device.put("VLAN", lambda key: key == "Id", (("Id", str(link.id)),))
    elif isinstance(link, Bond):
        items = [("Mode", link.mode)]
        for name, value in link.options:
            if name not in _SAME_NAMES:
                raise NetworkValueError(f"{interface.name}: systemd-networkd has no setting of bonds for {name!r}")
            if name == "arp_ip_target":
                value = value.replace(",", " ")
            elif name in _MILLISECONDS:
                value = f"{value}ms"
            elif name == "all_slaves_active":
                value = "yes" if value == "1" else "no"
            items.append((_SAME_NAMES[name], value))
        device.put("Bond", lambda key: key == "Mode" or key in _KERNEL_NAMES, items)
