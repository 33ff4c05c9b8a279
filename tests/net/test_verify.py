"""What is a difference between the kernel and what is expected of it, and what is not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network

import pytest

from guestagent_commands_net.expectations import (
    Expectation,
    ExpectedRoute,
    as_it_is,
    expected_of,
    without_configuration,
)
from guestagent_commands_net.model import Interface, Route
from guestagent_commands_net.netlink import KernelAddress, KernelLink, KernelRoute, KernelState
from guestagent_commands_net.transaction.verify import differences, wait_until_as_expected

PERMANENT, TENTATIVE, DUPLICATE, LEASED = 0x80, 0xC0, 0xC8, 0x00
UP, CARRIER = 0x1, 0x10000
KERNEL, BOOT, STATIC, ROUTER, DHCP, BIRD = 2, 3, 4, 9, 16, 12


def address(text: str, flags: int = PERMANENT, scope: int = 0) -> KernelAddress:
    interface = ip_interface(text)
    assert isinstance(interface, (IPv4Interface, IPv6Interface))
    return KernelAddress(interface, flags, scope)


def route(destination: str, gateway: str | None = None, protocol: int = BOOT, metric: int = 0) -> KernelRoute:
    return KernelRoute(ip_network(destination), ip_address(gateway) if gateway else None, metric, protocol, 0)


LINK = KernelLink(
    2, "eth0", "02:00:00:00:00:01", "", "", True, UP | CARRIER, 1500, 0, 0,
    (address("192.0.2.10/24"), address("2001:db8::10/64"), address("fe80::1/64", scope=253)),
    (
        route("0.0.0.0/0", "192.0.2.1"),
        route("192.0.2.0/24", protocol=KERNEL),
        route("::/0", "fe80::2", metric=1024),
    ),
)  # fmt: skip
WANTED = expected_of(
    Interface(
        "eth0",
        addresses=(IPv4Interface("192.0.2.10/24"), IPv6Interface("2001:db8::10/64")),
        routes=(
            Route(ip_network("0.0.0.0/0"), ip_address("192.0.2.1")),
            Route(ip_network("::/0"), ip_address("fe80::2")),
        ),
        mtu=1500,
    ),
    (4, 6),
)


def found(link: KernelLink, expectation: Expectation = WANTED) -> list[str]:
    return [str(difference) for difference in differences([expectation], {"eth0": link})]


def with_addresses(*more: KernelAddress) -> KernelLink:
    return replace(LINK, addresses=(*LINK.addresses, *more))


def with_routes(*more: KernelRoute) -> KernelLink:
    return replace(LINK, routes=(*LINK.routes, *more))


@pytest.mark.parametrize(
    "link",
    [
        LINK,
        with_addresses(address("2001:db8::ff/64", LEASED)),  # by a router
        with_addresses(address("192.0.2.77/24", LEASED)),  # by a lease
        with_routes(route("10.0.0.0/8", "192.0.2.9", BIRD)),
        with_routes(route("::/0", "fe80::9", ROUTER, 100)),
        with_routes(route("192.0.2.1/32")),  # to a gateway
    ],
)
def test_what_is_there_and_what_others_add_is_no_difference(link: KernelLink) -> None:
    assert found(link) == []


@pytest.mark.parametrize(
    ("link", "difference"),
    [
        (replace(LINK, addresses=LINK.addresses[1:]), "the address 192.0.2.10/24 is missing"),
        (with_addresses(address("192.0.2.11/24")), "it has the address 192.0.2.11/24, which it should not have"),
        (replace(LINK, routes=LINK.routes[1:]), "the route default via 192.0.2.1 is missing"),
        (with_routes(route("10.0.0.0/8", "192.0.2.9", STATIC)), "it has the route 10.0.0.0/8 via 192.0.2.9, which"),
        (with_routes(route("10.0.0.1/32")), "it has the route 10.0.0.1/32, which it should not have"),
        (replace(LINK, mtu=1400), "its MTU is 1400, not 1500"),
        (replace(LINK, flags=CARRIER), "it is down"),
        (replace(LINK, addresses=(address("192.0.2.10/25"), LINK.addresses[1])), "192.0.2.10/24 is missing"),
    ],
)
def test_a_difference_is_said_with_its_interface(link: KernelLink, difference: str) -> None:
    assert any(text.startswith("eth0: ") and difference in text for text in found(link)), found(link)


def test_an_interface_that_is_not_there_is_one_but_not_if_it_was_to_be_removed() -> None:
    assert [str(each) for each in differences([WANTED], {})] == ["eth0: there is no such interface"]
    assert differences([without_configuration("eth0")], {}) == []
    assert len(found(LINK, without_configuration("eth0"))) == 4  # two addresses, two routes


def test_a_metric_counts_only_if_it_is_wanted() -> None:
    wanted = WANTED._replace(routes=(*WANTED.routes, ExpectedRoute("10.0.0.0/8", "192.0.2.9", 50)))
    assert found(with_routes(route("10.0.0.0/8", "192.0.2.9", metric=50)), wanted) == []
    assert "is missing" in found(with_routes(route("10.0.0.0/8", "192.0.2.9", metric=60)), wanted)[0]


def test_without_a_cable_what_is_missing_is_not_waited_for() -> None:
    nothing = replace(LINK, flags=UP, addresses=(address("2001:db8::10/64", TENTATIVE),), routes=())
    assert found(nothing) == []
    assert found(replace(nothing, addresses=(address("192.0.2.11/24"),))) != []


def test_by_dhcp_an_address_has_to_come_and_which_is_not_looked_at() -> None:
    by_dhcp = Expectation("eth0", dhcp=(4, 6))
    bare = replace(LINK, addresses=(), routes=())
    assert found(bare, by_dhcp) == ["eth0: there is no address by DHCP"]
    assert found(replace(LINK, addresses=(address("192.0.2.77/24", LEASED),)), by_dhcp) == []


def test_one_version_of_ip_can_be_looked_at_alone() -> None:
    only = Expectation("eth0", ("2001:db8::10/64",), (ExpectedRoute("::/0", "fe80::2"),), versions=(6,))
    assert found(with_addresses(address("192.0.2.11/24")), only) == []
    assert found(with_addresses(address("2001:db8::11/64")), only) != []


def test_what_is_there_is_what_is_put_back() -> None:
    kept = as_it_is(with_routes(route("10.0.0.0/8", "192.0.2.9", BIRD), route("172.16.0.0/12", "192.0.2.9", DHCP)))
    assert kept.addresses == ("192.0.2.10/24", "2001:db8::10/64")
    assert [str(each) for each in kept.routes] == ["default via 192.0.2.1", "default via fe80::2"]
    assert (kept.mtu, kept.up) == (1500, True)
    assert Expectation.from_json(kept.to_json()) == kept


def waiting(*states: Sequence[KernelAddress]) -> list[str]:
    """Returns what is left after 0.2 s if the kernel shows one state after the other, the last one for ever."""
    shown = list(states)

    def read() -> KernelState:
        return {"eth0": replace(LINK, addresses=tuple(shown.pop(0) if len(shown) > 1 else shown[0]))}

    return [str(each) for each in wait_until_as_expected([WANTED], time.monotonic() + 0.2, read=read)]


def test_detection_of_duplicates_is_waited_for_and_its_failure_is_not() -> None:
    ready, testing, taken = (
        (LINK.addresses[0], address("2001:db8::10/64", flags)) for flags in (PERMANENT, TENTATIVE, DUPLICATE)
    )
    assert waiting(ready) == []
    assert waiting(testing) == ["eth0: the address 2001:db8::10/64 cannot be used yet"]
    started = time.monotonic()
    (text,) = wait_until_as_expected([WANTED], started + 60, read=lambda: {"eth0": replace(LINK, addresses=taken)})
    assert text.hopeless
    assert "duplicate address detection found somebody else" in str(text)
    assert time.monotonic() - started < 30
    left = wait_until_as_expected(
        [WANTED], started + 60, pending_is_enough=True, read=lambda: {"eth0": replace(LINK, addresses=testing)}
    )
    assert left[0].pending
