"""The form of netplan's files, which is that of cloud-init's network-config version 2 too: read, and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any

from guestagent_commands_net.bonds import netplan_parameters, options_of_netplan
from guestagent_commands_net.checks import NetworkValueError
from guestagent_commands_net.conversions import (
    address,
    boolean,
    default_route,
    interface_address,
    items,
    network,
    number,
)
from guestagent_commands_net.model import Bond, Dns, Interface, Route, Vlan

if TYPE_CHECKING:
    from guestagent_commands_net.model import IPInterface

__all__ = ("KINDS", "KNOWN_KEYS", "read_definitions", "write_definition")

KINDS = ("ethernets", "bonds", "vlans")
"""The kinds of devices that the model has."""

KNOWN_KEYS = frozenset({
    "accept-ra", "addresses", "dhcp4", "dhcp6", "gateway4", "gateway6", "id", "interfaces", "link", "macaddress", "mtu",
    "nameservers", "parameters", "routes",
})  # fmt: skip
"""The keys of a device that :func:`write_definition` writes; all others are somebody's own."""

_ROUTE_KEYS = {"to", "via", "metric", "on-link", "mtu", "from", "scope", "type", "table"}


def read_definitions(
    config: Mapping[str, Any], name_of: Callable[[str, str, Mapping[str, Any]], str | None], where: str
) -> list[Interface]:
    """Returns the interfaces that ``config`` defines, without any about which ``name_of`` says None.

    :param name_of: the name of the interface that a kind, an id and a definition are of.
    :param where: the file, for errors.
    :raises NetworkValueError: a definition is wrong, or has what the model has not; the text names the key.
    """
    names: dict[str, str] = {}
    found: list[tuple[str, str, Mapping[str, Any]]] = []
    for kind in KINDS:
        for identifier, definition in _mapping(config.get(kind), f"{where}: {kind}").items():
            definition = _mapping(definition, f"{where}: {identifier}")
            name = name_of(kind, str(identifier), definition)
            if name is not None:
                names[str(identifier)] = name
                found.append((kind, str(identifier), definition))
    return [_interface(kind, names[key], definition, names, f"{where}: {key}") for kind, key, definition in found]


def _interface(kind: str, name: str, definition: Mapping[str, Any], names: Mapping[str, str], where: str) -> Interface:
    link: Vlan | Bond | None = None
    if kind == "vlans":
        parent = str(definition.get("link"))
        link = Vlan(number(definition.get("id"), f"{where}: 'id'"), names.get(parent, parent))
    elif kind == "bonds":
        members = tuple(names.get(str(each), str(each)) for each in items(definition.get("interfaces"), where))
        link = Bond(members, *options_of_netplan(dict(_mapping(definition.get("parameters"), where))))
    match = _mapping(definition.get("match"), f"{where}: 'match'")
    mac = match.get("macaddress") if kind == "ethernets" else definition.get("macaddress")
    servers = _mapping(definition.get("nameservers"), f"{where}: 'nameservers'")
    mtu, accept_ra = definition.get("mtu"), definition.get("accept-ra")
    routes = [_route(each, f"{where}: 'routes'") for each in items(definition.get("routes"), f"{where}: 'routes'")]
    for version in (4, 6):
        gateway = definition.get(f"gateway{version}")
        if gateway:
            routes.append(default_route(address(gateway, version, f"{where}: 'gateway{version}'")))
    return Interface(
        name,
        str(mac) if mac else None,
        addresses=tuple(_address(each, where) for each in items(definition.get("addresses"), f"{where}: 'addresses'")),
        routes=tuple(routes),
        dns=Dns(
            tuple(
                address(each, None, f"{where}: 'nameservers'")
                for each in items(servers.get("addresses"), f"{where}: 'nameservers'")
            ),
            tuple(str(each) for each in items(servers.get("search"), f"{where}: 'nameservers'")),
        ),
        mtu=None if mtu is None else number(mtu, f"{where}: 'mtu'"),
        dhcp4=boolean(definition.get("dhcp4", False), f"{where}: 'dhcp4'"),
        dhcp6=boolean(definition.get("dhcp6", False), f"{where}: 'dhcp6'"),
        accept_ra=None if accept_ra is None else boolean(accept_ra, f"{where}: 'accept-ra'"),
        link=link,
    )


def _address(entry: Any, where: str) -> IPInterface:
    if isinstance(entry, Mapping) and len(entry) == 1:  # an address with a label or a lifetime
        entry = next(iter(entry))
    return interface_address(entry, None, None, f"{where}: 'addresses'")


def _route(entry: Any, where: str) -> Route:
    entry = _mapping(entry, where)
    unknown = set(entry) - _ROUTE_KEYS
    kept = {key for key in ("table", "type", "from") if entry.get(key) not in (None, "unicast", 254, "254")}
    if unknown or kept:
        raise NetworkValueError(f"{where}: a route with {', '.join(sorted(unknown | kept))} cannot be kept")
    gateway = entry.get("via")
    via = None if gateway in (None, "") else address(gateway, None, f"{where}: 'via'")
    to = str(entry.get("to"))
    destination: IPv4Network | IPv6Network
    if to == "default":
        if via is None:
            raise NetworkValueError(f"{where}: a default route needs 'via', or 'to' as 0.0.0.0/0 or ::/0")
        destination = ip_network("0.0.0.0/0" if via.version == 4 else "::/0")
    else:
        destination = network(to, None, f"{where}: 'to'")
    metric, mtu = entry.get("metric"), entry.get("mtu")
    return Route(
        destination,
        via,
        None if metric is None else number(metric, f"{where}: 'metric'"),
        boolean(entry.get("on-link", False), f"{where}: 'on-link'"),
        None if mtu is None else number(mtu, f"{where}: 'mtu'"),
    )


def write_definition(interface: Interface) -> dict[str, Any]:
    """Returns the definition of ``interface``, with its known keys alone."""
    definition: dict[str, Any] = {}
    if isinstance(interface.link, Vlan):
        definition.update(id=interface.link.id, link=interface.link.parent)
    elif isinstance(interface.link, Bond):
        definition["interfaces"] = list(interface.link.members)
        try:
            definition["parameters"] = netplan_parameters(interface.link.mode, interface.link.options)
        except NetworkValueError as error:
            raise NetworkValueError(f"{interface.name}: {error}") from None
    if interface.link is not None and interface.mac is not None:
        definition["macaddress"] = interface.mac
    if interface.addresses:
        definition["addresses"] = [str(each) for each in interface.addresses]
    # Said in any case: another file may say the contrary of it for the same interface.
    definition["dhcp4"] = interface.dhcp4
    definition["dhcp6"] = interface.dhcp6
    if interface.accept_ra is not None:
        definition["accept-ra"] = interface.accept_ra
    if interface.mtu is not None:
        definition["mtu"] = interface.mtu
    if interface.routes:
        definition["routes"] = [_written_route(route) for route in interface.routes]
    if interface.dns:
        servers: dict[str, Any] = {}
        if interface.dns.servers:
            servers["addresses"] = [str(server) for server in interface.dns.servers]
        if interface.dns.search:
            servers["search"] = list(interface.dns.search)
        definition["nameservers"] = servers
    return definition


def _written_route(route: Route) -> dict[str, Any]:
    written: dict[str, Any] = {"to": "default" if route.is_default and route.gateway else str(route.destination)}
    if route.gateway is not None:
        written["via"] = str(route.gateway)
    else:
        written["scope"] = "link"
    if route.metric is not None:
        written["metric"] = route.metric
    if route.on_link:
        written["on-link"] = True
    if route.mtu is not None:
        written["mtu"] = route.mtu
    return written


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise NetworkValueError(f"{where}: expected a mapping")
    return value
