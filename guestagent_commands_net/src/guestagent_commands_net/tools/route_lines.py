"""Routes as the arguments of ``ip route add``: ``10.0.0.0/8 via 192.0.2.1 dev eth0 metric 7``, a form of many files."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from guestagent_commands_net.model import Interface, Route

from .foreign_routes import still_leads
from .ifupdown_commands import read_command

__all__ = ("lines_of_others", "read_route_line", "route_line")


def route_line(route: Route, interface: str | None) -> str:
    """Returns the arguments that make ``route``.

    :param interface: through which it leads; None: whoever reads the line knows.
    """
    words = ["default" if route.is_default else str(route.destination)]
    if route.gateway is not None:
        words += ["via", str(route.gateway)]
    if interface is not None:
        words += ["dev", interface]
    if route.metric is not None:
        words += ["metric", str(route.metric)]
    if route.mtu is not None:
        words += ["mtu", str(route.mtu)]
    if route.on_link:
        words.append("onlink")
    return " ".join(words)


def read_route_line(line: str, interface: str, version: int) -> Route | None:
    """Returns the route of ``interface`` that the arguments ``line`` make; None if they make another or do more."""
    said = read_command(f"ip -{version} route add {line}", interface)
    return None if said is None else said.route


def lines_of_others(lines: Iterable[str], interface: Interface, version: int) -> list[str]:
    """Returns the lines that are no routes of the model, such as those of other tables, and still lead somewhere."""
    kept = []
    for line in lines:
        words = line.partition("#")[0].split()
        if words and read_route_line(" ".join(words), interface.name, version) is None:
            said = dict(pairwise(words))
            if still_leads(said.get("via"), said.get("src"), interface, version, on_link="onlink" in words):
                kept.append(line)
    return kept
