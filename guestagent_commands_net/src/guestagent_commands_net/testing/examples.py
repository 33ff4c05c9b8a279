"""Interfaces that show each thing that the model has, named after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_interface, ip_network

from guestagent_commands_net.model import Bond, Dns, Interface, Route, Vlan

__all__ = ("Example", "examples")

_V4 = (ip_interface("192.0.2.42/24"), ip_interface("198.51.100.7/25"))
_V6 = (ip_interface("2001:db8::42/64"), ip_interface("2001:db8:5::43/80"))
_DEFAULT4 = Route(ip_network("0.0.0.0/0"), ip_address("192.0.2.1"))
_DEFAULT6 = Route(ip_network("::/0"), ip_address("fe80::def"))


@dataclass(frozen=True)
class Example:
    """An interface, and what it needs."""

    features: frozenset[str]
    """What a format has to be able to express for it, by the names that the contract uses."""
    interface: Interface

    def __str__(self) -> str:
        return "+".join(sorted(self.features)) or "nothing"


def examples(name: str = "eth0", mac: str = "bc:76:4e:20:00:42") -> tuple[Example, ...]:
    """Returns the examples, for the card ``name``; bonds and VLANs have names of their own.

    The features are ``address``, ``addresses``, ``address6``, ``addresses6``, ``default``, ``default6``, ``route``,
    ``route6``, ``link-route``, ``metric``, ``default-metric``, ``route-mtu``, ``on-link``, ``dns``, ``dns6``,
    ``search``, ``mtu``, ``dhcp4``, ``dhcp6``, ``ra-on``, ``ra-off``, ``bond``, ``vlan``, ``vlan-name``.
    """
    return tuple(_examples(name, mac))


def _examples(name: str, mac: str) -> Iterator[Example]:
    bare = Interface(name, mac)
    v4 = replace(bare, label="public", addresses=_V4[:1], routes=(_DEFAULT4,))
    v6 = replace(bare, addresses=_V6[:1], routes=(_DEFAULT6,))
    both = replace(bare, addresses=(*_V4[:1], *_V6[:1]), routes=(_DEFAULT4, _DEFAULT6))
    yield _example("", bare)
    yield _example("address default", v4)
    yield _example("address6 default6", v6)
    yield _example("address default address6 default6", both)
    yield _example("address addresses default", replace(v4, addresses=_V4))
    yield _example("address6 addresses6 default6", replace(v6, addresses=_V6))
    yield _example("address", replace(v4, addresses=(ip_interface("192.0.2.42/32"),), routes=()))
    yield _example("address dns default", replace(v4, dns=Dns((ip_address("192.0.2.2"), ip_address("192.0.2.3")))))
    yield _example("address6 dns6 default6", replace(v6, dns=Dns((ip_address("2001:db8::53"),))))
    yield _example("address dns search", replace(v4, dns=Dns((ip_address("192.0.2.2"),), ("example.org", "a.example"))))
    route = Route(ip_network("10.208.0.0/12"), ip_address("192.0.2.254"))
    route6 = Route(ip_network("2001:db8:1::/48"), ip_address("2001:db8::9"))
    yield _example("address default route", replace(v4, routes=(_DEFAULT4, route, _to("203.0.113.0/25", "192.0.2.1"))))
    yield _example("address6 default6 route6", replace(v6, routes=(_DEFAULT6, route6)))
    yield _example("address link-route", replace(v4, routes=(Route(ip_network("10.9.0.0/16")),)))
    yield _example("address metric route", replace(v4, routes=(replace(route, metric=7),)))
    yield _example("address default-metric", replace(v4, routes=(replace(_DEFAULT4, metric=50),)))
    yield _example("address route-mtu route", replace(v4, routes=(replace(route, mtu=1400),)))
    far = Route(ip_network("0.0.0.0/0"), ip_address("203.0.113.1"), on_link=True)
    yield _example("address on-link", replace(v4, routes=(far,)))
    yield _example("address default mtu", replace(v4, mtu=1400))
    yield _example("mtu", replace(bare, mtu=9000))
    yield _example("dhcp4", replace(bare, dhcp4=True))
    yield _example("dhcp6", replace(bare, dhcp6=True))
    yield _example("dhcp4 address6 default6", replace(v6, dhcp4=True))
    yield _example("address default ra-on", replace(v4, accept_ra=True))
    yield _example("address default address6 default6 ra-off", replace(both, accept_ra=False))
    bond = Bond(("eth7", "eth8"), "802.3ad", (("lacp_rate", "fast"), ("miimon", "100")))
    yield _example("bond address default", replace(v4, name="bond7", mac=None, link=bond))
    yield _example("vlan address6 default6", replace(v6, name=f"{name}.77", mac=None, link=Vlan(77, name)))
    yield _example("vlan vlan-name address", replace(v4, name="storage", mac=None, routes=(), link=Vlan(77, name)))


def _to(destination: str, gateway: str) -> Route:
    return Route(ip_network(destination), ip_address(gateway))


def _example(features: str, interface: Interface) -> Example:
    return Example(frozenset(features.split()), interface)
