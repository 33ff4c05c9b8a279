"""The last way back: the kernel is told directly what it had, when the tool that configures it does not do so."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from guestagent_commands_net.expectations import SET_BY_SOMEBODY, Expectation, ExpectedRoute
from guestagent_commands_net.netlink import KernelLink, read_state

__all__ = ("put_back",)

_BOOT = 3  # the protocol of routes that were made by hand
_SCOPE_LINK = 253


def put_back(snapshot: Sequence[Expectation]) -> list[str]:
    """Makes each interface what ``snapshot`` says; returns what did not work, which did not stop the rest."""
    problems: list[str] = []
    with IPRoute() as kernel:
        # What an address takes along when it goes, such as others of its network, is seen by the second reading.
        for changes in (_removals, _additions):
            state = read_state()
            for expectation in snapshot:
                link = state.get(expectation.interface)
                if link is None:
                    problems.append(f"{expectation.interface}: there is no such interface")
                    continue
                for describe, change in changes(kernel, expectation, link):
                    try:
                        change()
                    except (NetlinkError, OSError) as error:
                        problems.append(f"{expectation.interface}: {describe}: {error}")
    return problems


_Change = tuple[str, Callable[[], object]]


def _removals(kernel: Any, expectation: Expectation, link: KernelLink) -> Iterator[_Change]:
    for route in link.routes:
        shown = ExpectedRoute(
            str(route.destination), str(route.gateway) if route.gateway else None, route.metric or None
        )
        if route.protocol in SET_BY_SOMEBODY and shown not in expectation.routes:
            yield str(shown), _route(kernel, "del", link.index, shown)
    for address in link.addresses:
        text = str(address.interface)
        if address.configured and text not in expectation.addresses:
            yield text, _address(kernel, "del", link.index, text)


def _additions(kernel: Any, expectation: Expectation, link: KernelLink) -> Iterator[_Change]:
    """Yields changes in an order in which they can be made: addresses before the routes that need them."""
    index = link.index
    if expectation.mtu is not None and expectation.mtu != link.mtu:
        yield "MTU", lambda: kernel.link("set", index=index, mtu=expectation.mtu)
    if expectation.up and not link.up:
        yield "up", lambda: kernel.link("set", index=index, state="up")
    present = {str(address.interface) for address in link.addresses}
    for text in expectation.addresses:
        if text not in present:
            yield text, _address(kernel, "add", index, text)
    # On-link routes first: gateways of others may lie there.
    for route in sorted(expectation.routes, key=lambda wanted: wanted.gateway is not None):
        yield str(route), _route(kernel, "replace", index, route)
    if expectation.up is False and link.up:
        yield "down", lambda: kernel.link("set", index=index, state="down")


def _address(kernel: Any, verb: str, index: int, text: str) -> Callable[[], object]:
    interface = ipaddress.ip_interface(text)
    settings = {"address": str(interface.ip), "prefixlen": interface.network.prefixlen}
    if interface.version == 4 and verb == "add" and interface.network.prefixlen < 31:
        settings["broadcast"] = str(interface.network.broadcast_address)
    return lambda: kernel.addr(verb, index=index, **settings)


def _route(kernel: Any, verb: str, index: int, route: ExpectedRoute) -> Callable[[], object]:
    network = ipaddress.ip_network(route.destination)
    settings: dict[str, Any] = {"dst": str(network), "oif": index, "proto": _BOOT}
    settings["family"] = 2 if network.version == 4 else 10
    if route.metric is not None:
        settings["priority"] = route.metric
    if route.gateway is not None:
        settings["gateway"] = route.gateway
        settings["flags"] = 4  # RTNH_F_ONLINK: it was accepted before, whatever network holds it
    elif network.version == 4:
        settings["scope"] = _SCOPE_LINK
    if verb == "del":
        settings = {key: settings[key] for key in settings if key in ("dst", "oif", "gateway", "priority", "family")}
    return lambda: kernel.route(verb, **settings)
