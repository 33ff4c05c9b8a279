"""An interface in the form of netctl's profiles, which are read by bash: read, and written line by line."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

from guestagent_commands_net.bonds import MODES
from guestagent_commands_net.model import VERSIONS, Bond, Dns, Interface, Route, Vlan

from .ifupdown_commands import read_command, route_words
from .route_lines import lines_of_others, read_route_line

if TYPE_CHECKING:
    from guestagent_commands_net.model import IPAddress, IPInterface

    from .netctl_profiles import Profile

__all__ = ("as_read", "read_profile", "write_profile")

_LINK_KEYS = ("BindsToInterfaces", "LinkOptions", "MACAddress", "Mode", "VLANID")
_VERSION_KEYS = {4: ("IP", "Address", "Gateway", "Routes"), 6: ("IP6", "Address6", "Gateway6", "Routes6")}


def as_read(interface: Interface) -> Interface:
    """Returns ``interface`` as it is read back: netctl listens to routers with DHCPv6, and never beside addresses of
    its own unless it is told to.
    """
    quiet = interface.dhcp6 or (interface.accept_ra is False and interface.addresses_of(6))
    return replace(interface, accept_ra=None) if quiet else interface


def read_profile(profile: Profile) -> Interface:
    """Returns the interface that ``profile`` configures.

    :raises ValueError: a value is wrong.
    """
    name = profile.get("Interface")
    addresses: list[IPInterface] = []
    routes: list[Route] = []
    for version, (method, address, gateway, listed) in _VERSION_KEYS.items():
        kind = profile.get(method)
        if kind in ("static", "stateless"):
            addresses += [ip_interface(each) for each in profile.values(address)]
            if profile.get(gateway):
                routes.append(_default(profile.get(gateway)))
        if kind not in ("", "no"):
            found = (read_route_line(each, name, version) for each in profile.values(listed))
            routes += [route for route in found if route is not None]
    mtu: int | None = None
    for command in profile.values("IPCustom"):
        said = read_command(f"ip {command}", name)
        if said is not None:
            routes += [said.route] if said.route else []
            addresses += [said.address] if said.address else []
            mtu = said.mtu or mtu
    accept_ra: bool | None = None
    if profile.get("IP6") == "stateless":
        accept_ra = True
    elif profile.get("IP6") == "static" and not profile.values("Address6"):
        accept_ra = False
    servers: list[IPAddress] = [ip_address(each) for each in profile.values("DNS")]
    return Interface(
        name,
        addresses=tuple(addresses),
        routes=tuple(routes),
        dns=Dns(tuple(servers), tuple(profile.get("DNSSearch").split())),
        mtu=mtu,
        dhcp4=profile.get("IP") == "dhcp",
        dhcp6=profile.get("IP6").startswith("dhcp"),
        accept_ra=accept_ra,
        link=_read_link(profile),
    )


def _read_link(profile: Profile) -> Vlan | Bond | None:
    members = profile.values("BindsToInterfaces")
    if len(members) == 1 and " " in members[0]:
        members = members[0].split()
    if profile.get("Connection") == "vlan" and members:
        return Vlan(int(profile.get("VLANID") or 0), members[0])
    if profile.get("Connection") == "bond" and members:
        words = profile.get("LinkOptions").split()
        return Bond(tuple(members), profile.get("Mode") or MODES[0], tuple(zip(words[::2], words[1::2], strict=False)))
    return None


def _default(gateway: str) -> Route:
    via = ip_address(gateway)
    return Route(ip_network("0.0.0.0/0" if via.version == 4 else "::/0"), via)


def write_profile(profile: Profile, interface: Interface, versions: Iterable[int]) -> None:
    """Writes ``interface`` into ``profile``; settings that are not about addresses stay.

    :param versions: the IP versions whose settings are written.
    """
    link = interface.link
    kind = "vlan" if isinstance(link, Vlan) else "bond" if isinstance(link, Bond) else "ethernet"
    profile.put(("Connection", "Interface"), (("Connection", kind), ("Interface", interface.name)))
    made: list[tuple[str, str]] = []
    if isinstance(link, Vlan):
        made = [("BindsToInterfaces", f"({link.parent})"), ("VLANID", str(link.id))]
    elif isinstance(link, Bond):
        made = [("BindsToInterfaces", f"({' '.join(link.members)})"), ("Mode", link.mode)]
        options = " ".join(f"{key} {value}" for key, value in link.options)
        made += [("LinkOptions", f"'{options}'")] if options else []
    if link is not None:
        profile.put(_LINK_KEYS, [*made, *([("MACAddress", interface.mac)] if interface.mac else [])])
    for version in versions:
        others = lines_of_others(profile.values(_VERSION_KEYS[version][-1]), interface, version)
        profile.put(_VERSION_KEYS[version], _family(interface, version, others))
    custom = [command for version in VERSIONS for command in _custom(interface, version)]
    if interface.mtu is not None:
        custom.insert(0, f"link set dev {interface.name} mtu {interface.mtu}")
    custom += [each for each in profile.values("IPCustom") if read_command(f"ip {each}", interface.name) is None]
    profile.put(("IPCustom",), [("IPCustom", _list(custom))] if custom else [])
    dns = interface.dns
    profile.put(("DNS",), [("DNS", _list(str(server) for server in dns.servers))] if dns.servers else [])
    profile.put(("DNSSearch",), [("DNSSearch", f"'{' '.join(dns.search)}'")] if dns.search else [])


def _family(interface: Interface, version: int, others: Iterable[str]) -> list[tuple[str, str]]:
    method, address, gateway, listed = _VERSION_KEYS[version]
    kind = _method(interface, version)
    items = [(method, kind)] if kind else []
    if kind in ("static", "stateless"):
        addresses = interface.addresses_of(version)
        items += [(address, _list(str(each) for each in addresses))] if addresses else []
        via = _gateway(interface, version)
        items += [(gateway, str(via.gateway))] if via is not None else []
    routes = [route for route in interface.routes_of(version) if route is not _gateway(interface, version)]
    written = [*(" ".join(route_words(route)) for route in routes), *others]
    if written and kind not in ("", "no"):
        items.append((listed, _list(written)))
    return items


def _method(interface: Interface, version: int) -> str:
    if interface.dhcp(version):
        return "dhcp"
    if version == 6 and interface.accept_ra:
        return "stateless"
    if interface.addresses_of(version) or (version == 6 and interface.accept_ra is False):
        return "static"
    return "no" if version == 4 else ""  # without a value for IPv6 it is as the kernel has it


def _gateway(interface: Interface, version: int) -> Route | None:
    if _method(interface, version) not in ("static", "stateless"):
        return None
    for route in interface.routes_of(version):
        plain = route.metric is None and route.mtu is None and not route.on_link
        if route.is_default and plain and route.gateway is not None:
            return route
    return None


def _custom(interface: Interface, version: int) -> list[str]:
    """What the settings of an IP version have no place for: addresses beside DHCP, and routes without addresses."""
    method = _method(interface, version)
    commands: list[str] = []
    if method == "dhcp":
        added = (f"-{version} addr add {address} dev {interface.name}" for address in interface.addresses_of(version))
        commands += added
    if method in ("", "no"):
        words = (route_words(route) for route in interface.routes_of(version))
        commands += [f"-{version} route add {' '.join(each)} dev {interface.name}" for each in words]
    return commands


def _list(items: Iterable[str]) -> str:
    return f"({' '.join(item if item.isalnum() else _quoted(item) for item in items)})"


def _quoted(item: str) -> str:
    return shlex.quote(item) if "'" in item else f"'{item}'"
