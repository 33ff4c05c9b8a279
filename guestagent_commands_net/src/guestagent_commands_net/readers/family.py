"""One IP version of one interface, in the form in which a setting is stored and sent back later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from guestagent_commands_net import conversions
from guestagent_commands_net.checks import NetworkValueError
from guestagent_commands_net.model import Change, Dns, Interface, Route
from guestagent_commands_net.settling import settle

if TYPE_CHECKING:
    from guestagent_commands_net.model import Nic

__all__ = ("FAMILIES", "describe", "read_setting")

FAMILIES = {"ipv4": 4, "ipv6": 6}
"""The versions of IP by the names of their families."""


def read_setting(setting: Mapping[str, Any], nics: Sequence[Nic]) -> Change:
    """Returns the change that ``setting`` asks for.

    Its keys are ``family``, ``mac``, ``mode`` (``static``, ``dhcp`` or ``none``) and, where the mode is static,
    ``address`` or the list ``addresses``, with prefixes. ``gateway``, ``routes`` and ``dns`` are optional. By ``dhcp``
    an IPv6 address is whatever the routers of the network say it is.

    :raises guestagent_commands_net.checks.NetworkValueError: it is wrong; the text names the interface.
    """
    nic = conversions.nic_of(setting.get("mac"), nics)
    family = str(setting.get("family"))
    where = f"{nic.name} ({nic.mac}): {family[:100]}"
    if family not in FAMILIES:
        raise NetworkValueError(f"{nic.name} ({nic.mac}): 'family' is {family[:100]!r}, not ipv4 or ipv6")
    version = FAMILIES[family]
    mode = str(setting.get("mode"))
    if mode not in ("static", "dhcp", "none"):
        raise NetworkValueError(f"{where}: 'mode' is {mode[:100]!r}, not static, dhcp or none")
    addresses = list(conversions.items(setting.get("addresses"), f"{where}: 'addresses'"))
    if setting.get("address"):
        addresses.insert(0, setting["address"])
    if mode == "static" and not addresses:
        raise NetworkValueError(f"{where}: 'mode' is static, and there is no 'address'")
    if any("/" not in str(address) for address in addresses):
        raise NetworkValueError(f"{where}: 'address' has no prefix")
    routes = [_route(entry, version, f"{where}: 'routes'") for entry in conversions.items(setting.get("routes"), where)]
    if setting.get("gateway"):
        routes.insert(
            0, conversions.default_route(conversions.address(setting["gateway"], version, f"{where}: 'gateway'"))
        )
    servers = conversions.items(setting.get("dns"), f"{where}: 'dns'")
    interface = Interface(
        nic.name,
        nic.mac,
        addresses=tuple(conversions.interface_address(each, None, version, where) for each in addresses)
        if mode != "none"
        else (),
        dns=Dns(tuple(conversions.address(each, version, f"{where}: 'dns'") for each in servers)),
        dhcp4=mode == "dhcp" and version == 4,
        dhcp6=mode == "dhcp" and version == 6 and setting.get("dhcp6") is True,
        accept_ra=True if mode == "dhcp" and version == 6 else None,
        versions=(version,),
    )
    return Change(settle([interface], {nic.name: routes if mode != "none" else []}), whole=False)


def describe(interface: Interface | None, mac: str, family: str) -> dict[str, Any]:
    """Returns how one IP version of ``interface`` is configured, in the form that :func:`read_setting` takes.

    :param interface: None: it is not configured.
    """
    version = FAMILIES[family]
    setting: dict[str, Any] = {"family": family, "mac": mac, "mode": "none"}
    if interface is None:
        return setting
    addresses = [str(address) for address in interface.addresses_of(version)]
    if interface.dhcp(version) or (version == 6 and interface.accept_ra):
        setting["mode"] = "dhcp"
        if interface.dhcp6 and version == 6:
            setting["dhcp6"] = True
    elif addresses:
        setting["mode"] = "static"
    if addresses:
        setting["addresses"] = addresses
    routes = [_described(route) for route in interface.routes_of(version)]
    if routes:
        setting["routes"] = routes
    servers = [str(server) for server in interface.dns.of(version)]
    if servers:
        setting["dns"] = servers
    return setting


def _route(entry: Any, version: int, where: str) -> Route:
    if not isinstance(entry, Mapping):
        raise NetworkValueError(f"{where}: expected an object")
    gateway, metric, mtu = entry.get("via"), entry.get("metric"), entry.get("mtu")
    destination = conversions.network(entry.get("to"), None, where)
    if destination.version != version:
        raise NetworkValueError(f"{where}: {destination} is of another IP version")
    return Route(
        destination,
        conversions.address(gateway, version, where) if gateway else None,
        None if metric is None else conversions.number(metric, where),
        entry.get("on-link") is True,
        None if mtu is None else conversions.number(mtu, where),
    )


def _described(route: Route) -> dict[str, Any]:
    described: dict[str, Any] = {"to": str(route.destination)}
    if route.gateway is not None:
        described["via"] = str(route.gateway)
    if route.metric is not None:
        described["metric"] = route.metric
    if route.on_link:
        described["on-link"] = True
    if route.mtu is not None:
        described["mtu"] = route.mtu
    return described
