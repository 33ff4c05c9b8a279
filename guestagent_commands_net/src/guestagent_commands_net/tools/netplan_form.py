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

from .foreign_routes import still_leads

if TYPE_CHECKING:
    from guestagent_commands_net.model import IPInterface

__all__ = ("KINDS", "devices_of", "is_known", "keep_of_others", "read_definitions", "write_definition")

KINDS = ("ethernets", "bonds", "vlans")
"""The kinds of devices that the model has."""

_KNOWN_KEYS = frozenset({
    "accept-ra", "addresses", "dhcp4", "dhcp6", "gateway4", "gateway6", "id", "interfaces", "link", "macaddress", "mtu",
    "nameservers", "parameters", "routes",
})  # fmt: skip
_CARDS_OWN_KEYS = frozenset({"link", "macaddress"})  # of a card's virtual function, and an address in place of its own
_ROUTE_KEYS = {"to", "via", "metric", "on-link", "mtu", "from", "scope", "type", "table"}


def devices_of(config: Mapping[str, Any], kind: str, where: str = "netplan") -> dict[str, Mapping[str, Any]]:
    """Returns the definitions of a kind by their ids, without the renderer that all of the kind may be given.

    :raises NetworkValueError: one is no mapping.
    """
    devices = _mapping(config.get(kind), f"{where}: {kind}")
    return {str(each): _mapping(value, f"{where}: {each}") for each, value in devices.items() if each != "renderer"}


def read_definitions(
    config: Mapping[str, Any],
    name_of: Callable[[str, str, Mapping[str, Any]], str | None],
    where: str,
    *,
    strict: bool = True,
) -> list[Interface]:
    """Returns the interfaces that ``config`` defines, without any about which ``name_of`` says None.

    :param name_of: the name of the interface that a kind, an id and a definition are of.
    :param where: the file, for errors.
    :param strict: whether what the model has not is an error; else it is left out.
    :raises NetworkValueError: a definition is wrong, or has what the model has not; the text names the key.
    """
    names: dict[str, str] = {}
    found: list[tuple[str, str, Mapping[str, Any]]] = []
    for kind in KINDS:
        for identifier, definition in devices_of(config, kind, where).items():
            name = name_of(kind, identifier, definition)
            if name is not None:
                names[identifier] = name
                found.append((kind, identifier, definition))
    return [
        _interface(kind, names[key], definition, names, f"{where}: {key}", strict=strict)
        for kind, key, definition in found
    ]


def _interface(
    kind: str, name: str, definition: Mapping[str, Any], names: Mapping[str, str], where: str, *, strict: bool
) -> Interface:
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
    search = [str(each) for each in items(servers.get("search"), f"{where}: 'nameservers'")]
    entries = items(definition.get("routes"), f"{where}: 'routes'")
    if not strict:
        search = [each for each in search if not each.startswith("~")]  # systemd-resolved's: nothing is searched in it
        entries = [each for each in entries if not _beyond_the_model(_mapping(each, where))]
    routes = [_route(each, f"{where}: 'routes'") for each in entries]
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
            tuple(search),
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
    beyond = _beyond_the_model(entry)
    if beyond:
        raise NetworkValueError(f"{where}: a route with {', '.join(sorted(beyond))} cannot be kept")
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


def _beyond_the_model(entry: Mapping[str, Any]) -> set[str]:
    """The keys of a route that the model has no place for."""
    unknown = {str(key) for key in set(entry) - _ROUTE_KEYS}
    return unknown | {key for key in ("table", "type", "from") if entry.get(key) not in (None, "unicast", 254, "254")}


def keep_of_others(definition: dict[str, Any], before: Mapping[str, Any], interface: Interface) -> None:
    """Adds to the ``definition`` of ``interface`` what of an older one the model has not: routes of other tables,
    domains of which systemd-resolved asks these servers, and what is said of an address that stays.
    """
    routes = [*definition.get("routes", ()), *_routes_of_others(before.get("routes"), interface)]
    if routes:
        definition["routes"] = routes
    said = {next(iter(each)): each for each in before.get("addresses") or () if isinstance(each, Mapping) and each}
    if said:
        definition["addresses"] = [said.get(each, each) for each in definition.get("addresses", ())]
    domains = [each for each in (before.get("nameservers") or {}).get("search") or () if str(each).startswith("~")]
    if domains and interface.dns.servers:
        servers = definition["nameservers"]
        servers["search"] = [*servers.get("search", ()), *domains]


def _routes_of_others(entries: Any, interface: Interface) -> list[Mapping[str, Any]]:
    """Those that still lead somewhere once ``interface`` is what is configured."""
    kept: list[Mapping[str, Any]] = []
    for entry in entries or ():
        beyond = _beyond_the_model(entry)
        if not beyond or (beyond == {"from"} and _has_like(interface, _route({**entry, "from": None}, "'routes'"))):
            continue
        via, source = (entry.get(key) and str(entry[key]) for key in ("via", "from"))
        version = 6 if ":" in f"{via or entry.get('to')}" else 4
        on_link = boolean(entry.get("on-link", False), "'on-link'")
        if still_leads(via, source, interface, version, on_link=on_link):
            kept.append(entry)
    return kept


def _has_like(interface: Interface, route: Route) -> bool:
    """Whether an interface has a route that stands in the place of ``route``."""
    return any((each.destination, each.metric) == (route.destination, route.metric) for each in interface.routes)


def is_known(kind: str, key: str) -> bool:
    """Returns whether :func:`write_definition` writes ``key``; all others are somebody's own."""
    return key in _KNOWN_KEYS and not (kind == "ethernets" and key in _CARDS_OWN_KEYS)


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
