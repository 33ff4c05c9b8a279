"""An interface in the form of Gentoo's ``/etc/conf.d/net``: read, and written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING

from guestagent_commands_net.bonds import MODES
from guestagent_commands_net.checks import NetworkValueError
from guestagent_commands_net.model import Bond, Dns, Interface, Route, Vlan

from .ifupdown_commands import read_command
from .route_lines import lines_of_others, read_route_line, route_line
from .shell_variables import double_quoted

if TYPE_CHECKING:
    from guestagent_commands_net.model import IPInterface

    from .shell_variables import ShellVariables

__all__ = (
    "add_vlan",
    "names_of",
    "put_interface",
    "read_interface",
    "remove_vlan",
    "variable",
    "vlans_of",
    "write_interface",
)

_KEYS = ("config", "routes", "dns_servers", "dns_search", "dns_domain", "mtu")
_BOND_KEYS = ("slaves", "mode")
_BOND_OPTIONS = frozenset((
    "ad_actor_sys_prio", "ad_actor_system", "ad_select", "ad_user_port_key", "all_slaves_active", "arp_all_targets",
    "arp_interval", "arp_ip_target", "arp_missed_max", "arp_validate", "downdelay", "fail_over_mac", "lacp_active",
    "lacp_rate", "lp_interval", "miimon", "min_links", "num_grat_arp", "num_unsol_na", "packets_per_slave",
    "peer_notif_delay", "primary", "primary_reselect", "resend_igmp", "tlb_dynamic_lb", "updelay", "use_carrier",
    "xmit_hash_policy",
))  # fmt: skip
"""The files in which the kernel has the settings of a bond: netifrc writes to each one that has a variable."""


def variable(interface: str) -> str:
    """Returns how ``interface`` is called within names of variables."""
    return re.sub(r"\W", "_", interface)


def names_of(interface: str, values: Mapping[str, str]) -> set[str]:
    """Returns the variables of ``interface`` that :func:`write_interface` writes."""
    suffix = variable(interface)
    found = {f"{key}_{suffix}" for key in (*_KEYS, *_BOND_KEYS)}
    return found | {name for name in values if _bond_option(name, suffix)}


def _bond_option(name: str, suffix: str) -> str:
    """Returns the setting of a bond that the variable ``name`` is; nothing if it is another one's or none."""
    option = name.removesuffix(f"_{suffix}")
    return option if option != name and option in _BOND_OPTIONS else ""


def vlans_of(values: Mapping[str, str]) -> dict[str, Vlan]:
    """Returns the VLANs of all interfaces, by their names."""
    found = {}
    for name, text in values.items():
        if not name.startswith("vlans_"):
            continue
        parent = name.removeprefix("vlans_")
        for number in text.split():
            if number.isdigit():
                own = values.get(f"{parent}_vlan{number}_name") or values.get(f"vlan{number}_name")
                found[own or f"{parent}.{number}"] = Vlan(int(number), parent)
    return found


def read_interface(name: str, file: ShellVariables) -> Interface | None:
    """Returns the interface that the variables configure; None if there are none of it.

    :raises ValueError: a value is wrong.
    """
    suffix = variable(name)
    values = file.values()
    link = _read_link(name, suffix, values)
    if not any(key in values for key in names_of(name, values)) and link is None:
        return None
    words = [line.strip() for line in file.items(f"config_{suffix}")]
    dhcp = {word for line in words for word in line.split() if word in ("dhcp", "dhcpv6")}
    routes = [_read_route(line, name) for line in file.items(f"routes_{suffix}")]
    mtu = values.get(f"mtu_{suffix}")
    search = values.get(f"dns_search_{suffix}") or values.get(f"dns_domain_{suffix}", "")
    return Interface(
        name,
        addresses=tuple(address for line in words for address in _read_addresses(line)),
        routes=tuple(route for route in routes if route is not None),
        dns=Dns(
            tuple(ip_address(each) for item in file.items(f"dns_servers_{suffix}") for each in item.split()),
            tuple(search.split()),
        ),
        mtu=int(mtu) if mtu else None,
        dhcp4="dhcp" in dhcp,
        dhcp6="dhcpv6" in dhcp,
        link=link,
    )


def _read_addresses(line: str) -> Iterable[IPInterface]:
    words = line.split()
    if "netmask" in words[1:-1]:
        yield ip_interface(f"{words[0]}/{words[words.index('netmask') + 1]}")
    elif words and re.match(r"[0-9a-fA-F]*[.:]", words[0]):
        for word in words:  # several on a line are as good as several lines
            if re.match(r"[0-9a-fA-F]*[.:].*/\d+\Z", word):
                yield ip_interface(word)


def _read_route(line: str, name: str) -> Route | None:
    words = line.split()
    if words[:1] in (["-net"], ["-host"]) or "netmask" in words[1:-1]:  # as net-tools have it
        words[:0] = ["-net"] if not words[0].startswith("-") else []
        said = read_command(f"route add {' '.join(words).replace(' via ', ' gw ')}", name)
        return None if said is None else said.route
    if words[:1] == ["default"] and "gw" in words[1:-1]:
        words[words.index("gw")] = "via"
    version = 6 if ":" in line else 4
    return read_route_line(" ".join(words), name, version)


def _read_link(name: str, suffix: str, values: Mapping[str, str]) -> Vlan | Bond | None:
    if values.get(f"slaves_{suffix}"):
        options = {
            option: ",".join(text.split()) for name, text in values.items() if (option := _bond_option(name, suffix))
        }
        mode = values.get(f"mode_{suffix}", MODES[0])
        members = tuple(values[f"slaves_{suffix}"].split())
        return Bond(members, MODES[int(mode)] if mode.isdigit() else mode, tuple(options.items()))
    return vlans_of(values).get(name)


def write_interface(interface: Interface, before: Iterable[str] = (), *, arrays: bool) -> dict[str, str]:
    """Returns the variables that configure ``interface``, quoted, in their order.

    :param before: the routes as they are: those of other tables stay if their gateways are still reached.
    :param arrays: whether they are arrays of bash, as before OpenRC.
    :raises NetworkValueError: the form has nothing for it.
    """
    if interface.accept_ra is not None:
        raise NetworkValueError(f"{interface.name}: netifrc has no setting for router advertisements")
    suffix = variable(interface.name)
    lines = ["dhcp"] if interface.dhcp4 else []
    lines += ["dhcpv6"] if interface.dhcp6 else []
    lines += [str(address) for address in interface.addresses]
    values = {f"config_{suffix}": _lines(lines or ["null"], arrays=arrays)}
    routes = [route_line(route, None) for route in interface.routes]
    for line in before:
        if _read_route(line, interface.name) is None:
            routes += lines_of_others([line], interface, 6 if ":" in line else 4)
    if routes:
        values[f"routes_{suffix}"] = _lines(routes, arrays=arrays)
    servers = [str(server) for server in interface.dns.servers]
    if servers:
        values[f"dns_servers_{suffix}"] = _lines(servers, arrays=arrays)
    if interface.dns.search:
        values[f"dns_search_{suffix}"] = double_quoted(" ".join(interface.dns.search))
    if interface.mtu is not None:
        values[f"mtu_{suffix}"] = double_quoted(str(interface.mtu))
    if isinstance(interface.link, Bond):
        values[f"slaves_{suffix}"] = double_quoted(" ".join(interface.link.members))
        values[f"mode_{suffix}"] = double_quoted(interface.link.mode)
        for key, value in interface.link.options:
            if key not in _BOND_OPTIONS:
                raise NetworkValueError(f"{interface.name}: netifrc has no setting of bonds for {key!r}")
            # Of several targets it hands one after the other to the kernel, which takes no list.
            values[f"{key}_{suffix}"] = double_quoted(value.replace(",", " ") if key == "arp_ip_target" else value)
    return values


def _lines(lines: Sequence[str], *, arrays: bool) -> str:
    if arrays:
        return "(\n" + "".join(f'  "{line}"\n' for line in lines) + ")"
    if len(lines) == 1:
        return double_quoted(lines[0])
    return double_quoted("\n" + "".join(f"  {line}\n" for line in lines))


def put_interface(file: ShellVariables, interface: Interface, written: Mapping[str, str]) -> None:
    """Puts the variables of one interface where they stood, with its label as a comment before the first."""
    ours = names_of(interface.name, file.values())
    is_new = not any(name in ours for name in file.values())
    if is_new:
        text = file.text()
        gap = "\n" if text.strip() and not text.endswith("\n\n") else ""
        label = f"# Label {interface.label}\n" if interface.label else ""
        file.append(f"{gap}{label}" + "".join(f"{name}={value}\n" for name, value in written.items()))
    else:
        file.replace(lambda name: name in ours, written)


def add_vlan(file: ShellVariables, name: str, vlan: Vlan) -> None:
    """Lists a VLAN with its parent, and names it if it has a name of its own."""
    values = file.values()
    if vlans_of(values).get(name) == vlan:
        return
    key = f"vlans_{variable(vlan.parent)}"
    numbers = dict.fromkeys([*values.get(key, "").split(), str(vlan.id)])
    file.set(key, double_quoted(" ".join(numbers)))
    if name != f"{vlan.parent}.{vlan.id}":
        file.set(f"{variable(vlan.parent)}_vlan{vlan.id}_name", double_quoted(name))


def remove_vlan(file: ShellVariables, vlan: Vlan) -> None:
    """Takes out what names a VLAN and what lists it with its parent."""
    key = f"vlans_{variable(vlan.parent)}"
    numbers = [number for number in file.values().get(key, "").split() if number != str(vlan.id)]
    named = f"{variable(vlan.parent)}_vlan{vlan.id}_name"
    file.remove(lambda name: name == named)
    if not numbers:
        file.remove(lambda name: name == key, evaluated=False)
    else:
        file.set(key, double_quoted(" ".join(numbers)))
