"""The records of XenServer and OpenStack hosts: one object for each interface, known by its MAC.

What is wrong with a record is said in the words of the original agent where it had any: hosts and their operators look
for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from guestagent_commands_net import conversions
from guestagent_commands_net.checks import NetworkValueError
from guestagent_commands_net.model import Change, Dns, Interface, Route
from guestagent_commands_net.settling import settle

if TYPE_CHECKING:
    from guestagent_commands_net.model import IPAddress, IPInterface, Nic

__all__ = ("decode_record", "read_records")

_MASKS = {str(ip_address((0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF)): length for length in range(33)}


def decode_record(data: bytes | str) -> Any:
    """Returns what the JSON text ``data`` says.

    :raises NetworkValueError: it is not JSON.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        raise NetworkValueError("No JSON object could be decoded") from None


def read_records(
    records: Iterable[Any], nics: Sequence[Nic], *, whole: bool = True, hostname: str | None = None
) -> Change:
    """Returns the change that ``records`` ask for; of two with the same MAC the later one counts.

    :param whole: whether cards without a record lose their configuration.
    :raises NetworkValueError: a record is wrong; the text is that of the original agent where it had one.
    """
    found: dict[str, Interface] = {}
    routes: dict[str, list[Route]] = {}
    for record in records:
        interface, wanted = _read_record(record, nics)
        found[interface.name] = interface
        routes[interface.name] = wanted
    return Change(settle(found.values(), routes), whole=whole, hostname=hostname)


def _read_record(record: Any, nics: Sequence[Nic]) -> tuple[Interface, list[Route]]:
    if not isinstance(record, Mapping):
        raise NetworkValueError(f"'{_python2_type(record)}' object has no attribute 'get'")
    if not record.get("mac"):
        raise NetworkValueError("No MAC found in config")
    nic = conversions.nic_of(record["mac"], nics)
    what = f"{nic.name} ({nic.mac})"
    about = _family(record.get("family"), what)
    dhcp = {
        version: conversions.boolean(record.get(f"dhcp{version}"), f"{what}: 'dhcp{version}'") for version in (4, 6)
    }
    ips = conversions.items(record.get("ips"), f"{what}: 'ips'")
    ip6s = conversions.items(record.get("ip6s"), f"{what}: 'ip6s'")
    if not (ips or ip6s or any(dhcp.values())) and len(about) == 2:
        raise NetworkValueError("No IPs found for interface")
    addresses: list[IPInterface] = [_ipv4(entry, what) for entry in _enabled(ips)]
    gateway6 = _gateway(record.get("gateway_v6"), 6, what) or _gateway(record.get("gateway6"), 6, what)
    for entry in _enabled(ip6s):
        addresses.append(_ipv6(entry, what))
        gateway6 = _gateway(entry.get("gateway"), 6, what) or gateway6  # null says nothing
    gateways = (_gateway(record.get("gateway"), 4, what), gateway6)
    routes = [conversions.default_route(gateway) for gateway in gateways if gateway is not None]
    for entry in conversions.items(record.get("routes"), f"{what}: 'routes'"):
        route = _route(entry, what)
        if route is not None:
            routes.append(route)
    label = record.get("label")
    mtu = record.get("mtu")
    interface = Interface(
        nic.name,
        nic.mac,
        label=None if label is None else str(label),
        addresses=tuple(address for address in addresses if address.version in about),
        dns=Dns(
            tuple(
                conversions.address(server, None, f"{what}: 'dns'")
                for server in conversions.items(record.get("dns"), f"{what}: 'dns'")
            ),
            tuple(str(domain) for domain in conversions.items(record.get("dns_search"), f"{what}: 'dns_search'")),
        ),
        mtu=None if mtu is None else conversions.number(mtu, f"{what}: 'mtu'"),
        dhcp4=dhcp[4],
        dhcp6=dhcp[6],
        versions=about,
    )
    return interface, [route for route in routes if route.version in about]


def _family(value: Any, what: str) -> tuple[int, ...]:
    if value is None:
        return (4, 6)
    known = {"4": (4,), "ipv4": (4,), "6": (6,), "ipv6": (6,)}
    found = known.get(str(value).lower())
    if found is None:
        raise NetworkValueError(f"{what}: 'family' is {str(value)[:100]!r}, not ipv4 or ipv6")
    return found


def _enabled(entries: Sequence[Any]) -> list[Mapping[str, Any]]:
    """The addresses that count: nothing else is looked at in those that do not."""
    kept = []
    for entry in entries:
        if not isinstance(entry, Mapping):
            raise NetworkValueError(f"'{_python2_type(entry)}' object has no attribute 'get'")
        enabled = entry.get("enabled", 0)
        if not isinstance(enabled, (str, int, float)):
            kind = _python2_type(enabled)
            raise NetworkValueError(f"int() argument must be a string or a number, not '{kind}'")
        try:
            counts = int(enabled) != 0
        except (ValueError, OverflowError):
            raise NetworkValueError(f"Invalid value {_python2_repr(enabled)} for 'enabled' key") from None
        if counts:
            kept.append(entry)
    return kept


def _ipv4(entry: Mapping[str, Any], what: str) -> IPInterface:
    for key in ("ip", "netmask"):
        if not entry.get(key):
            raise NetworkValueError(f"Missing '{key}' key for IPv4 address")
    return conversions.interface_address(entry["ip"], _mask(entry["netmask"]), 4, f"{what}: 'ips'")


def _ipv6(entry: Mapping[str, Any], what: str) -> IPInterface:
    address = entry.get("address") or entry.get("ip")
    if not address:
        raise NetworkValueError("Missing 'ip' or 'address' key for IPv6 address")
    if entry.get("netmask") in (None, ""):
        raise NetworkValueError("Missing 'netmask' key for IPv6 address")
    return conversions.interface_address(address, entry["netmask"], 6, f"{what}: 'ip6s'")


def _route(entry: Any, what: str) -> Route | None:
    if not isinstance(entry, Mapping):
        raise NetworkValueError(f"'{_python2_type(entry)}' object has no attribute 'get'")
    for key in ("route", "netmask", "gateway"):
        if key not in entry or (key != "gateway" and entry[key] in (None, "")):
            raise NetworkValueError(f"Missing '{key}' key for route")
    if not entry["gateway"]:
        return None  # Nova lists the networks on the link too
    place = f"{what}: 'routes'"
    destination = str(entry["route"]).strip()
    netmask = entry["netmask"] if ":" in destination else _mask(entry["netmask"])
    metric = entry.get("metric")
    return Route(
        conversions.network(destination, netmask, place),
        conversions.address(entry["gateway"], 6 if ":" in destination else 4, place),
        None if metric is None else conversions.number(metric, f"{place}: 'metric'"),
    )


def _mask(value: Any) -> int:
    length = _MASKS.get(value.strip()) if isinstance(value, str) else None
    if length is None:
        raise NetworkValueError(_python2_repr(value))
    return length


def _gateway(value: Any, version: int, what: str) -> IPAddress | None:
    if value is None or value == "":
        return None
    return conversions.address(value, version, f"{what}: gateway")


def _python2_repr(value: Any) -> str:
    return f"u{value!a}" if isinstance(value, str) else ascii(value)


def _python2_type(value: Any) -> str:
    return "unicode" if isinstance(value, str) else type(value).__name__
