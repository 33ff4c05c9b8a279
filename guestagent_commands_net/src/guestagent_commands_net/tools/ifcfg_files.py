"""The files beside Red Hat's ``ifcfg-NAME``: of routes, of rules and of aliases."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

from guestagent_commands_net.checks import NetworkValueError
from guestagent_commands_net.model import Interface, Route

from .ifcfg_form import gateway_in_file, has_alias_files, read_values
from .route_lines import lines_of_others, read_route_line, route_line
from .shell_variables import ShellVariables, decoded

if TYPE_CHECKING:
    from guestagent_commands_net.backends import FileState
    from guestagent_commands_net.model import IPInterface

__all__ = ("read_alias", "read_routes", "without_rules", "write_aliases", "write_routes")

_NUMBERED = re.compile(r"^[ \t]*ADDRESS\d+=", re.MULTILINE)
_MOST = 256  # addresses of a range
_LONGEST = 15  # characters of a label of the kernel's


def write_routes(interface: Interface, version: int, before: str, *, by_manager: bool) -> str:
    """Returns the file of routes; in the numbered form, which the scripts read since ever, where that is enough.

    :param before: the file as it is: routes of other tables stay if their gateways are still reached.
    """
    others = [] if _NUMBERED.search(before) else lines_of_others(before.splitlines(), interface, version)
    there = gateway_in_file(interface, version, by_manager=by_manager)
    routes = [route for route in interface.routes_of(version) if route is not there]
    simple = all(
        route.gateway is not None and route.metric is None and route.mtu is None
        and not route.on_link and not route.is_default
        for route in routes
    )  # fmt: skip
    if version == 6 or not simple or others:
        lines = [route_line(route, interface.name) for route in routes]
        return "".join(f"{line}\n" for line in (*lines, *others))
    lines = []
    for index, route in enumerate(routes):
        lines.append(f"ADDRESS{index}={route.destination.network_address}\n")
        lines.append(f"NETMASK{index}={route.destination.netmask}\n")
        lines.append(f"GATEWAY{index}={route.gateway}\n")
    return "".join(lines)


def read_routes(text: str, name: str, version: int) -> list[Route]:
    """Returns the routes of a file, in either of its forms.

    :raises ValueError: a value is wrong.
    """
    if _NUMBERED.search(text):
        values = ShellVariables(text).values()
        found = []
        for key in values:
            if key.startswith("ADDRESS") and key[7:].isdigit():
                number = key[7:]
                destination = ip_network(f"{values[key]}/{values.get(f'NETMASK{number}', '32')}", strict=False)
                gateway, metric = values.get(f"GATEWAY{number}"), values.get(f"METRIC{number}")
                found.append(
                    Route(destination, ip_address(gateway) if gateway else None, int(metric) if metric else None)
                )
        return found
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    routes = [read_route_line(line, name, version) for line in lines if line]
    return [route for route in routes if route is not None]


def write_aliases(interface: Interface, *, by_manager: bool) -> dict[str, str]:
    """Returns the files of aliases by the names of these: fixed addresses beside DHCP, which the network scripts set
    from there alone.

    :raises NetworkValueError: the name of the interface leaves no room for a number.
    """
    if not has_alias_files(interface, by_manager=by_manager):
        return {}
    found = {}
    for number, address in enumerate(interface.addresses_of(4)):
        alias = f"{interface.name}:{number}"
        if len(alias) > _LONGEST:
            raise NetworkValueError(
                f"{interface.name}: fixed IPv4 addresses beside DHCP need an alias, and {alias} is too long a name"
            )
        # Without the last line the scripts would give it the gateway of /etc/sysconfig/network.
        found[alias] = f"DEVICE={alias}\nIPADDR={address.ip}\nNETMASK={address.netmask}\nNO_ALIASROUTING=yes\n"
    return found


def read_alias(path: str, state: FileState) -> tuple[IPInterface, ...]:
    """Returns the addresses of an alias, or of a range of them.

    :raises ValueError: a value is wrong.
    """
    values = ShellVariables(decoded(path, state)).values()
    if "IPADDR_START" in values:
        first, last = (ip_address(values.get(key, "")) for key in ("IPADDR_START", "IPADDR_END"))
        length = values.get("PREFIX") or values.get("NETMASK") or "32"
        count = min(int(last) - int(first) + 1, _MOST)
        return tuple(ip_interface(f"{first + number}/{length}") for number in range(count))
    ours = {key: value for key, value in values.items() if key.startswith(("IPADDR", "NETMASK", "PREFIX"))}
    return read_values(path.rpartition("-")[2].partition(":")[0], ours, ()).addresses


def without_rules(text: str, lost: set[str]) -> str | None:
    """Returns a file of rules without those that are about the addresses ``lost``; None if no rule is left."""
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if not {word.partition("/")[0] for word in line.split()} & lost]
    return "".join(kept) if any(line.strip() and line[0] != "#" for line in kept) else None
