"""Comparing the kernel with what is expected of it, and waiting until it agrees."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import ip_network
from typing import NamedTuple

from guestagent_commands_net.expectations import SET_BY_SOMEBODY, Expectation, ExpectedRoute
from guestagent_commands_net.netlink import Changes, KernelLink, KernelState, read_state

__all__ = ("Difference", "differences", "wait_until_as_expected")

_SETTLE = 0.01  # seconds; changes come in bursts, and reading takes its time


class Difference(NamedTuple):
    """Something about an interface that is not as expected."""

    interface: str
    text: str
    pending: bool = False
    """Whether it will go away by itself: duplicate address detection goes on."""
    hopeless: bool = False
    """Whether it will stay: duplicate address detection found somebody else."""

    def __str__(self) -> str:
        return f"{self.interface}: {self.text}"


def differences(expected: Iterable[Expectation], state: KernelState) -> list[Difference]:
    """Returns what the kernel has too little, too much or otherwise; empty if all is as expected.

    An interface without a carrier cannot have all that it is to have, which depends on the tool: what is missing there
    is no difference.
    """
    found: list[Difference] = []
    for expectation in expected:
        link = state.get(expectation.interface)
        if link is None:
            # Of an interface that has gone nothing is left, which is all that can be asked for.
            if expectation.up is not None:
                found.append(Difference(expectation.interface, "there is no such interface"))
            continue
        found += _of_link(expectation, link)
        found += _of_addresses(expectation, link)
        found += _of_routes(expectation, link)
    return found


def wait_until_as_expected(
    expected: Sequence[Expectation],
    until: float,
    *,
    pending_is_enough: bool = False,
    read: Callable[[], KernelState] = read_state,
) -> list[Difference]:
    """Waits until the kernel is as expected, or until ``until``; returns the differences that are left.

    :param until: a moment of :func:`time.monotonic`.
    :param pending_is_enough: whether to stop as soon as all that is left will go away by itself.
    """
    with Changes() as changes:
        while True:
            left = differences(expected, read())
            if not left or any(difference.hopeless for difference in left):
                return left
            if pending_is_enough and all(difference.pending for difference in left):
                return left
            remaining = until - time.monotonic()
            if remaining <= 0:
                return left
            if changes.wait(remaining):
                time.sleep(min(_SETTLE, max(until - time.monotonic(), 0)))


def _of_link(expectation: Expectation, link: KernelLink) -> Iterator[Difference]:
    if expectation.up is not None and link.up != expectation.up:
        yield Difference(link.name, "it is down" if expectation.up else "it is up")
    if expectation.mtu is not None and link.mtu != expectation.mtu:
        yield Difference(link.name, f"its MTU is {link.mtu}, not {expectation.mtu}")


def _of_addresses(expectation: Expectation, link: KernelLink) -> Iterator[Difference]:
    present = {str(address.interface): address for address in link.addresses}
    waits = link.carrier or not link.up  # else it has no cable
    for wanted in expectation.addresses:
        address = present.get(wanted)
        if address is None:
            if waits:
                yield Difference(link.name, f"the address {wanted} is missing")
        elif address.duplicate:
            text = f"the address {wanted} is taken: duplicate address detection found somebody else who has it"
            yield Difference(link.name, text, hopeless=True)
        elif address.tentative and waits:
            yield Difference(link.name, f"the address {wanted} cannot be used yet", pending=True)
    for text, address in present.items():
        version = address.interface.version
        if not address.configured or version not in expectation.versions or version in expectation.dhcp:
            continue
        if text not in expectation.addresses:
            yield Difference(link.name, f"it has the address {text}, which it should not have")
    if 4 in expectation.dhcp and waits:
        leased = [address for address in link.addresses if address.interface.version == 4 and address.scope == 0]
        if not leased:
            yield Difference(link.name, "there is no address by DHCP")


def _of_routes(expectation: Expectation, link: KernelLink) -> Iterator[Difference]:
    present = [
        (route, ExpectedRoute(str(route.destination), str(route.gateway) if route.gateway else None, route.metric))
        for route in link.routes
        if route.destination.version in expectation.versions
    ]
    for wanted in expectation.routes:
        if not any(_same(wanted, shown) for _, shown in present) and (link.carrier or not link.up):
            yield Difference(link.name, f"the route {wanted} is missing")
    gateways = {wanted.gateway for wanted in expectation.routes}
    for route, shown in present:
        if route.protocol not in SET_BY_SOMEBODY or route.destination.version in expectation.dhcp:
            continue
        if any(_same(wanted, shown) for wanted in expectation.routes):
            continue
        # Some tools add a route to a gateway that is in no network of the interface.
        to_gateway = route.destination.num_addresses == 1 and str(route.destination.network_address) in gateways
        if shown.gateway is None and to_gateway:
            continue
        yield Difference(link.name, f"it has the route {shown}, which it should not have")


def _same(wanted: ExpectedRoute, shown: ExpectedRoute) -> bool:
    return (
        ip_network(wanted.destination) == ip_network(shown.destination)
        and wanted.gateway == shown.gateway
        and wanted.metric in (None, shown.metric)
    )
