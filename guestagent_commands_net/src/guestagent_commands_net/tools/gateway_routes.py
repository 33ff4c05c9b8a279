"""Gateways outside the networks of the addresses, in formats that make them reachable by a route to each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network

from guestagent_commands_net.model import Interface, Route

__all__ = ("join_gateway_routes", "share_on_link")


def join_gateway_routes(routes: Sequence[Route]) -> tuple[Route, ...]:
    """Takes the routes to gateways for what they are: those that lead through such a gateway are on-link."""
    to_gateways = {
        route.destination.network_address
        for route in routes
        if route.gateway is None and route.destination.num_addresses == 1
    } & {route.gateway for route in routes}
    return tuple(
        replace(route, on_link=route.gateway in to_gateways)
        for route in routes
        if route.gateway is not None
        or route.destination.num_addresses != 1
        or route.destination.network_address not in to_gateways
    )


def share_on_link(interface: Interface) -> Interface:
    """Returns ``interface`` as such a format gives it back: one route to a gateway serves all that lead through it."""
    alone = (Route(ip_network(route.gateway)) for route in interface.routes if route.gateway and route.on_link)
    return replace(interface, routes=join_gateway_routes((*alone, *interface.routes)))
