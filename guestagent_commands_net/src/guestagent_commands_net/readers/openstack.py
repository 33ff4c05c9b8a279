"""An OpenStack network_data.json: links, networks on them, and services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from guestagent_commands_net import bonds, conversions
from guestagent_commands_net.checks import NetworkValueError
from guestagent_commands_net.model import Bond, Change, Dns, Interface, Route, Vlan
from guestagent_commands_net.settling import settle, share_dns

if TYPE_CHECKING:
    from guestagent_commands_net.model import IPAddress, IPInterface, Nic

__all__ = ("read_network_data",)

_WHERE = "network_data"
_NOT_CARDS = ("bond", "vlan", "bridge", "tunnel", "dummy")


def read_network_data(data: Mapping[str, Any], nics: Sequence[Nic], *, hostname: str | None = None) -> Change:
    """Returns the change, of the whole set, that ``data`` asks for.

    :raises NetworkValueError: it is wrong, or has what the model has not, such as a bridge.
    """
    links = [_mapping(link) for link in conversions.items(data.get("links"), f"{_WHERE}: 'links'")]
    networks = [_mapping(each) for each in conversions.items(data.get("networks"), f"{_WHERE}: 'networks'")]
    names = _names(links, nics)
    for network in networks:
        if str(network.get("link")) not in names:
            raise NetworkValueError(f"{_WHERE}: there is no link {str(network.get('link'))[:100]!r}")
    interfaces, routes = [], {}
    for link in links:
        here = [network for network in networks if str(network.get("link")) == str(link.get("id"))]
        interface, wanted = _interface(link, here, names, nics)
        interfaces.append(interface)
        routes[interface.name] = wanted
    settled = settle(interfaces, routes)
    return Change(share_dns(settled, Dns(tuple(_servers(data)))), hostname=hostname)


def _names(links: Sequence[Mapping[str, Any]], nics: Sequence[Nic]) -> dict[str, str]:
    """The names of interfaces by the ids of links: those of cards are the machine's, the others are made up."""
    names: dict[str, str] = {}
    count = 0
    for link in links:
        kind, identifier = str(link.get("type")), str(link.get("id"))
        if kind == "bond":
            names[identifier] = str(link.get("name") or f"bond{count}")
            count += 1
        elif kind in _NOT_CARDS and kind != "vlan":
            raise NetworkValueError(f"{_WHERE}: {identifier[:100]}: a {kind} cannot be configured here")
        elif kind != "vlan":  # all others are names for a card and the way in which the host has plugged it in
            if not link.get("ethernet_mac_address"):
                raise NetworkValueError("No MAC found in config")
            names[identifier] = conversions.nic_of(link["ethernet_mac_address"], nics).name
    for link in links:
        if link.get("type") == "vlan":
            parent = str(link.get("vlan_link"))
            if parent not in names:
                raise NetworkValueError(f"{_WHERE}: there is no link {parent[:100]!r}")
            default = f"{names[parent]}.{link.get('vlan_id')}"
            names[str(link.get("id"))] = str(link.get("name") or default)
    return names


def _interface(
    link: Mapping[str, Any], networks: Sequence[Mapping[str, Any]], names: Mapping[str, str], nics: Sequence[Nic]
) -> tuple[Interface, list[Route]]:
    name = names[str(link.get("id"))]
    where = f"{_WHERE}: {name}"
    kind: Vlan | Bond | None = None
    mac = link.get("ethernet_mac_address")
    if link.get("type") == "vlan":
        kind = Vlan(conversions.number(link.get("vlan_id"), f"{where}: 'vlan_id'"), names[str(link.get("vlan_link"))])
        mac = link.get("vlan_mac_address")
    elif link.get("type") == "bond":
        kind = _bond(link, names, where)
    else:
        mac = conversions.nic_of(mac, nics).mac
    addresses: list[IPInterface] = []
    routes: list[Route] = []
    servers: list[IPAddress] = []
    search: list[str] = []
    dhcp: set[int] = set()
    accept_ra: bool | None = None
    for network in networks:
        family = str(network.get("type"))
        if family in ("ipv4_dhcp", "ipv6_dhcp", "ipv6_dhcpv6-stateful"):
            dhcp.add(int(family[3]))
        elif family in ("ipv6_slaac", "ipv6_dhcpv6-stateless"):
            accept_ra = True
        elif family in ("ipv4", "ipv6"):
            version = int(family[3])
            place = f"{where}: 'ip_address'"
            addresses.append(
                conversions.interface_address(network.get("ip_address"), network.get("netmask"), version, place)
            )
            if network.get("gateway"):
                routes.append(conversions.default_route(conversions.address(network["gateway"], version, place)))
        else:
            raise NetworkValueError(f"{where}: a network of type {family[:100]!r} is not known")
        listed = map(_mapping, conversions.items(network.get("routes"), f"{where}: 'routes'"))
        routes += [_route(route, f"{where}: 'routes'") for route in listed if route.get("gateway")]
        servers += _servers(network)
        found = conversions.items(network.get("dns_nameservers"), f"{where}: 'dns_nameservers'")
        servers += [conversions.address(each, None, f"{where}: 'dns_nameservers'") for each in found]
        search += [str(each) for each in conversions.items(network.get("dns_search"), f"{where}: 'dns_search'")]
    mtu = link.get("mtu")
    interface = Interface(
        name,
        str(mac) if mac else None,
        addresses=tuple(addresses),
        dns=Dns(tuple(servers), tuple(search)),
        mtu=None if mtu is None else conversions.number(mtu, f"{where}: 'mtu'"),
        dhcp4=4 in dhcp,
        dhcp6=6 in dhcp,
        accept_ra=accept_ra,
        link=kind,
    )
    return interface, routes


def _bond(link: Mapping[str, Any], names: Mapping[str, str], where: str) -> Bond:
    members = []
    for each in conversions.items(link.get("bond_links"), f"{where}: 'bond_links'"):
        if str(each) not in names:
            raise NetworkValueError(f"{where}: there is no link {str(each)[:100]!r}")
        members.append(names[str(each)])
    keys = (key for key in link if str(key).startswith("bond_") and key != "bond_links")
    options = dict(bonds.kernel_option(str(key), link[key]) for key in keys)
    if "hash_policy" in options:  # OpenStack's name for it
        options["xmit_hash_policy"] = options.pop("hash_policy")
    mode = options.pop("mode", bonds.MODES[0])
    return Bond(tuple(members), mode, tuple(options.items()))


def _route(route: Mapping[str, Any], where: str) -> Route:
    return Route(
        conversions.network(route.get("network"), route.get("netmask"), where),
        conversions.address(route["gateway"], None, where),
    )


def _servers(holder: Mapping[str, Any]) -> list[IPAddress]:
    services = map(_mapping, conversions.items(holder.get("services"), f"{_WHERE}: 'services'"))
    found = (service.get("address") for service in services if service.get("type") == "dns")
    return [conversions.address(each, None, f"{_WHERE}: 'services'") for each in found]


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise NetworkValueError(f"{_WHERE}: expected an object")
    return value
