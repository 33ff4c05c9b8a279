"""A set of interfaces made such that the kernel can hold it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .model import VERSIONS, Dns, Interface, Route

if TYPE_CHECKING:
    from .model import IPNetwork

__all__ = ("settle", "share_dns")

_BEHIND = 2048
"""The metric of the first route that stands behind another one to the same place; the kernel's own is 1024 at most."""


def settle(interfaces: Iterable[Interface], routes: Mapping[str, Sequence[Route]]) -> tuple[Interface, ...]:
    """Returns ``interfaces`` with ``routes``, by the name of the interface, made such that the kernel can hold them.

    - A gateway that no address of the interface has in its network is marked as being on the link: else nothing could
      be sent to it. With DHCP the networks are not known, and nothing is marked.
    - The kernel takes one route to a place for each metric. A further one gets a metric that puts it behind those
      before it; one that is there already is left out.
    """
    taken: set[tuple[IPNetwork, int | None]] = set()
    settled = []
    for interface in interfaces:
        kept: list[Route] = []
        for route in routes.get(interface.name, ()):
            if any(route.destination == other.destination and route.gateway == other.gateway for other in kept):
                continue
            metric = route.metric
            while (route.destination, metric) in taken:
                metric = _BEHIND if metric is None or metric < _BEHIND else metric + 1024
            taken.add((route.destination, metric))
            kept.append(replace(route, metric=metric))
        settled.append(replace(interface, routes=tuple(_reached(route, interface, kept) for route in kept)))
    return tuple(settled)


def _reached(route: Route, interface: Interface, routes: Sequence[Route]) -> Route:
    gateway = route.gateway
    if gateway is None or gateway.is_link_local or interface.dhcp(route.version):
        return route
    near = [address.network for address in interface.addresses_of(route.version)]
    near += [other.destination for other in routes if other.gateway is None and other.version == route.version]
    return route if any(gateway in each for each in near) else replace(route, on_link=True)


def share_dns(interfaces: Sequence[Interface], dns: Dns) -> tuple[Interface, ...]:
    """Returns ``interfaces`` with the name servers of the whole machine, ``dns``, given to those that lead to the
    world and have none of their own; to the first one if none does.
    """
    if not dns or not interfaces:
        return tuple(interfaces)
    leading = [each.name for each in interfaces if any(each.gateway(version) for version in VERSIONS)]
    leading = leading or [each.name for each in interfaces if each.dhcp4 or each.dhcp6] or [interfaces[0].name]
    return tuple(
        replace(each, dns=Dns(each.dns.servers or dns.servers, each.dns.search or dns.search))
        if each.name in leading
        else each
        for each in interfaces
    )
