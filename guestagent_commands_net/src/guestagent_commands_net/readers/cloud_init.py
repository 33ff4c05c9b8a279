"""A cloud-init network-config, of version 1 or 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from guestagent_commands_net import bonds, conversions
from guestagent_commands_net.checks import NetworkValueError
from guestagent_commands_net.model import Bond, Change, Dns, Interface, Route, Vlan
from guestagent_commands_net.settling import settle, share_dns
from guestagent_commands_net.tools.netplan_form import KINDS, read_definitions

if TYPE_CHECKING:
    from guestagent_commands_net.model import IPInterface, Nic

__all__ = ("read_config",)

_WHERE = "network-config"


def read_config(config: Mapping[str, Any], nics: Sequence[Nic], *, hostname: str | None = None) -> Change:
    """Returns the change, of the whole set, that ``config`` asks for: the mapping that has the key ``version``.

    :raises NetworkValueError: it is wrong, or has what the model has not, such as a bridge.
    """
    version = str(config.get("version"))
    if version == "1":
        interfaces = _read_version_1(config, nics)
    elif version == "2":
        interfaces = _read_version_2(config, nics)
    else:
        raise NetworkValueError(f"{_WHERE}: version {version[:20]!r} is not 1 or 2")
    routes = {interface.name: interface.routes for interface in interfaces}
    return Change(settle(interfaces, routes), hostname=hostname)


def _read_version_2(config: Mapping[str, Any], nics: Sequence[Nic]) -> Sequence[Interface]:
    unknown = set(config) - {"version", "renderer", *KINDS}
    if unknown:
        raise NetworkValueError(f"{_WHERE}: {', '.join(sorted(map(str, unknown)))} cannot be configured here")

    def name_of(kind: str, identifier: str, definition: Mapping[str, Any]) -> str | None:
        if kind != "ethernets":
            return identifier
        match = definition.get("match")
        match = match if isinstance(match, Mapping) else {}
        if match.get("macaddress"):
            return conversions.nic_of(match["macaddress"], nics).name
        for name in (match.get("name"), identifier, definition.get("set-name")):
            if any(nic.name == name for nic in nics):
                return str(name)
        raise NetworkValueError(f"{_WHERE}: {identifier}: there is no such interface, and no 'match: macaddress'")

    macs = {nic.name: nic.mac for nic in nics}
    found = read_definitions(config, name_of, _WHERE)
    return [each if each.link else replace(each, mac=macs.get(each.name)) for each in found]


def _read_version_1(config: Mapping[str, Any], nics: Sequence[Nic]) -> Sequence[Interface]:
    entries = [_mapping(entry) for entry in conversions.items(config.get("config"), f"{_WHERE}: 'config'")]
    names: dict[str, str] = {}
    interfaces: list[Interface] = []
    dns, routes = Dns(), list[Route]()
    for entry in entries:
        if entry.get("type") == "physical":
            names[str(entry.get("name"))] = _nic(entry, nics).name
    for entry in entries:
        kind = entry.get("type")
        if kind in ("physical", "bond", "vlan"):
            interfaces.append(_interface(entry, names, nics))
        elif kind == "nameserver":
            servers = _listed(entry.get("address"))
            dns = Dns(
                (*dns.servers, *(conversions.address(each, None, f"{_WHERE}: nameserver") for each in servers)),
                (*dns.search, *map(str, _listed(entry.get("search")))),
            )
        elif kind == "route":
            routes.append(_route(entry, f"{_WHERE}: route"))
        elif kind != "loopback":
            raise NetworkValueError(f"{_WHERE}: {str(kind)[:100]!r} cannot be configured here")
    for route in routes:
        for number, interface in enumerate(interfaces):
            networks = [address.network for address in interface.addresses]
            if route.gateway is not None and any(route.gateway in each for each in networks):
                interfaces[number] = replace(interface, routes=(*interface.routes, route))
                break
        else:
            raise NetworkValueError(f"{_WHERE}: the route to {route.destination} leads through no interface")
    return share_dns(interfaces, dns)


def _nic(entry: Mapping[str, Any], nics: Sequence[Nic]) -> Nic:
    if entry.get("mac_address"):
        return conversions.nic_of(entry["mac_address"], nics)
    found = next((nic for nic in nics if nic.name == entry.get("name")), None)
    if found is None:
        raise NetworkValueError(
            f"{_WHERE}: there is no interface {str(entry.get('name'))[:100]!r}, and no 'mac_address'"
        )
    return found


def _interface(entry: Mapping[str, Any], names: Mapping[str, str], nics: Sequence[Nic]) -> Interface:
    name = str(entry.get("name"))
    where = f"{_WHERE}: {name}"
    link: Vlan | Bond | None = None
    mac: str | None = None
    if entry["type"] == "vlan":
        parent = str(entry.get("vlan_link"))
        link = Vlan(conversions.number(entry.get("vlan_id"), f"{where}: 'vlan_id'"), names.get(parent, parent))
    elif entry["type"] == "bond":
        members = _listed(entry.get("bond_interfaces"))
        link = _bond(tuple(names.get(str(each), str(each)) for each in members), entry.get("params"))
        mac = entry.get("mac_address")
    else:
        nic = _nic(entry, nics)
        name, mac = nic.name, nic.mac
    addresses: list[IPInterface] = []
    routes: list[Route] = []
    dhcp: set[int] = set()
    dns = Dns()
    accept_ra = entry.get("accept-ra")
    accept_ra = None if accept_ra is None else conversions.boolean(accept_ra, f"{where}: 'accept-ra'")
    for subnet in map(_mapping, conversions.items(entry.get("subnets"), f"{where}: 'subnets'")):
        kind = str(subnet.get("type"))
        if kind in ("dhcp", "dhcp4"):
            dhcp.add(4)
        elif kind in ("dhcp6", "ipv6_dhcpv6-stateful"):
            dhcp.add(6)
        elif kind in ("ipv6_slaac", "ipv6_dhcpv6-stateless"):
            accept_ra = True
        elif kind in ("static", "static6"):
            found = conversions.interface_address(subnet.get("address"), subnet.get("netmask"), None, where)
            addresses.append(found)
            if subnet.get("gateway"):
                routes.append(conversions.default_route(conversions.address(subnet["gateway"], None, where)))
        elif kind != "manual":
            raise NetworkValueError(f"{where}: a subnet of type {kind[:100]!r} is not known")
        routes += [_route(_mapping(each), where) for each in conversions.items(subnet.get("routes"), where)]
        servers = [conversions.address(each, None, where) for each in _listed(subnet.get("dns_nameservers"))]
        dns = Dns((*dns.servers, *servers), (*dns.search, *map(str, _listed(subnet.get("dns_search")))))
    mtu = entry.get("mtu")
    return Interface(
        name,
        mac,
        addresses=tuple(addresses),
        routes=settle([Interface(name, addresses=tuple(addresses))], {name: routes})[0].routes,
        dns=dns,
        mtu=None if mtu is None else conversions.number(mtu, f"{where}: 'mtu'"),
        dhcp4=4 in dhcp,
        dhcp6=6 in dhcp,
        accept_ra=accept_ra,
        link=link,
    )


def _bond(members: tuple[str, ...], params: Any) -> Bond:
    options = dict(bonds.kernel_option(str(key), value) for key, value in _mapping(params or {}).items())
    mode = options.pop("mode", bonds.MODES[0])
    return Bond(members, mode, tuple(options.items()))


def _route(entry: Mapping[str, Any], where: str) -> Route:
    destination = entry.get("destination") or entry.get("network")
    mask = entry.get("netmask") or entry.get("prefix")
    gateway, metric = entry.get("gateway"), entry.get("metric")
    return Route(
        conversions.network(destination, mask, f"{where}: 'routes'"),
        conversions.address(gateway, None, f"{where}: 'routes'") if gateway else None,
        None if metric is None else conversions.number(metric, f"{where}: 'metric'"),
    )


def _listed(value: Any) -> Sequence[Any]:
    return value.replace(",", " ").split() if isinstance(value, str) else conversions.items(value, _WHERE)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise NetworkValueError(f"{_WHERE}: expected an object")
    return value
