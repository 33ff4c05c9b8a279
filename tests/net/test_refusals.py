"""What a form cannot express is refused, in words that name the interface and what it is that cannot be.

Everything else each form can express: the properties of the round trips are about that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import NamedTuple

import pytest
from tests.net.models import CARDS

from guestagent_commands_net.backends import BACKENDS, NetworkBackend, Snapshot
from guestagent_commands_net.checks import NetworkValueError
from guestagent_commands_net.model import Bond, Change, Dns, Interface, Route, Vlan
from guestagent_core import discovery


class Refusal(NamedTuple):
    backend: str
    what: str
    """What the error says beside the name of the interface."""
    interface: Interface
    facts: Mapping[str, str] = {}


V4, V6 = ip_interface("192.0.2.42/24"), ip_interface("2001:db8::42/64")
BARE = Interface("eth0", CARDS[0].mac)
FIXED = replace(BARE, addresses=(V4, V6))
ROUTE = Route(ip_network("10.0.0.0/8"), ip_address("192.0.2.1"))
DEFAULT = Route(ip_network("0.0.0.0/0"), ip_address("192.0.2.1"))
SERVERS = Dns((ip_address("192.0.2.2"), ip_address("2001:db8::53")))
MANAGER = {"manager": "NetworkManager"}


def bond(mode: str = "active-backup", options: tuple[tuple[str, str], ...] = (), name: str = "bond0") -> Interface:
    return Interface(name, addresses=(V4,), link=Bond(("eth3", "eth4"), mode, options))


def refusals() -> Iterator[Refusal]:
    for name, facts in (("ifcfg", MANAGER), ("networkmanager", {})):
        yield Refusal(name, "IPv4 name servers", replace(BARE, addresses=(V6,), dns=SERVERS), facts)
        yield Refusal(name, "IPv6 name servers", replace(BARE, addresses=(V4,), dns=SERVERS), facts)
        yield Refusal(name, "a route to 10.0.0.0/8", replace(BARE, addresses=(V6,), routes=(ROUTE,)), facts)
        yield Refusal(name, "search domains", replace(BARE, dns=Dns((), ("example.org",))), facts)
    long = Interface("enp0s31f6np000", addresses=(V4,), dhcp4=True)
    yield Refusal("ifcfg", "an alias, and enp0s31f6np000:0 is too long a name", long, {"manager": "network"})
    for order in (True, False):
        yield Refusal("netifrc", "router advertisements", replace(FIXED, accept_ra=order))
    for name in ("ifupdown-ng", "busybox"):
        yield Refusal(name, "DHCPv6", replace(BARE, dhcp6=True))
    for name in ("netifrc", "netplan", "networkd", "freebsd"):
        yield Refusal(name, "'no_such'", bond(options=(("no_such", "1"),), name="lagg0"))
    yield Refusal("networkd", "'primary'", bond(options=(("primary", "eth3"),)))
    yield Refusal("freebsd", "'miimon'", bond(options=(("miimon", "100"),), name="lagg0"))
    yield Refusal("freebsd", "'primary' as 'eth7'", bond(options=(("primary", "eth7"),), name="lagg0"))
    yield Refusal("freebsd", "has to be called lagg0", bond())
    yield Refusal("freebsd", "the mode balance-alb", bond("balance-alb", name="lagg0"))
    yield Refusal("freebsd", "DHCP for IPv6", replace(BARE, dhcp6=True))
    yield Refusal("freebsd", "10.0.0.0/8 has a metric", replace(FIXED, routes=(replace(ROUTE, metric=7),)))
    yield Refusal("freebsd", "0.0.0.0/0 has a metric", replace(FIXED, routes=(replace(DEFAULT, metric=7),)))
    second = replace(DEFAULT, gateway=ip_address("192.0.2.9"), metric=2048)
    yield Refusal("freebsd", "Multiple IPv4 default routes", replace(FIXED, routes=(DEFAULT, second)))


REFUSALS = tuple(refusals())
EXPRESS_ALL = {"ifupdown", "netctl", "wicked"}
"""The backends that refuse nothing: their properties are about networks of all kinds."""


def backends() -> dict[str, NetworkBackend]:
    plugins = discovery.Catalogue.installed().plugins(BACKENDS)
    return {plugin.name: discovery.load(plugin)() for plugin in plugins}


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda each: f"{each.backend}: {each.what}")
def test_what_cannot_be_expressed_is_named_and_whose_it_is(refusal: Refusal) -> None:
    backend, change = backends()[refusal.backend], Change((refusal.interface,), whole=False)
    with pytest.raises(NetworkValueError) as caught:
        backend.render(change, Snapshot(facts=refusal.facts, nics=CARDS))
    text = str(caught.value)
    assert refusal.interface.name in text
    assert refusal.what in text


def test_each_backend_is_asked_for_what_it_cannot_express() -> None:
    ours = {name for name, backend in backends().items() if type(backend).__module__.startswith("guestagent_")}
    assert ours == {refusal.backend for refusal in REFUSALS} | EXPRESS_ALL


@pytest.mark.parametrize("name", sorted(EXPRESS_ALL))
def test_who_refuses_nothing_takes_what_others_refuse(name: str) -> None:
    backend = backends()[name]
    for refusal in REFUSALS:
        if not isinstance(refusal.interface.link, Bond):  # a setting that no kernel has is the host's own mistake
            backend.render(Change((refusal.interface,), whole=False), Snapshot(nics=CARDS))
    named = Interface("storage", addresses=(V4,), link=Vlan(77, "eth0"))
    backend.render(Change((named,), whole=False), Snapshot(nics=CARDS))
