"""What the kernel is to show of an interface, as plain values that a record on disk can hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .model import Interface
    from .netlink import KernelLink

__all__ = ("Expectation", "ExpectedRoute", "as_it_is", "expected_of", "without_configuration")

SET_BY_SOMEBODY = frozenset((0, 3, 4))
"""Who made a route that a configuration answers for: unknown, by hand, a configuration. Neither the kernel (2), a
router (9), a lease (16) nor a routing daemon."""


class ExpectedRoute(NamedTuple):
    """A route, as text."""

    destination: str
    gateway: str | None = None
    metric: int | None = None
    """None: any."""

    def __str__(self) -> str:
        destination = "default" if self.destination in ("0.0.0.0/0", "::/0") else self.destination
        return destination + (f" via {self.gateway}" if self.gateway else "")


class Expectation(NamedTuple):
    """What one interface is to have: nothing that is missing, and nothing more."""

    interface: str
    addresses: tuple[str, ...] = ()
    """With the length of the prefix: ``192.0.2.42/24``."""
    routes: tuple[ExpectedRoute, ...] = ()
    mtu: int | None = None
    """None: any."""
    up: bool | None = True
    """None: either."""
    versions: tuple[int, ...] = (4, 6)
    """The IP versions that are looked at."""
    dhcp: tuple[int, ...] = ()
    """The IP versions whose addresses somebody else gives out; what there is of them is not looked at."""

    def to_json(self) -> dict[str, Any]:
        """Returns it as what JSON knows."""
        return {**self._asdict(), "routes": [route._asdict() for route in self.routes]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Expectation:
        """Returns what :meth:`to_json` made a value of."""
        lists = {key: tuple(value[key]) for key in ("addresses", "versions", "dhcp")}
        return cls(**{**value, **lists, "routes": tuple(ExpectedRoute(**route) for route in value["routes"])})


def expected_of(interface: Interface, versions: Iterable[int]) -> Expectation:
    """Returns what the kernel is to show when ``interface`` is configured.

    :param versions: the IP versions that are looked at.
    """
    seen = tuple(versions)
    return Expectation(
        interface.name,
        tuple(str(address) for address in interface.addresses if address.version in seen),
        tuple(
            ExpectedRoute(str(route.destination), None if route.gateway is None else str(route.gateway), route.metric)
            for route in interface.routes
            if route.version in seen
        ),
        interface.mtu,
        True,
        seen,
        tuple(version for version in seen if interface.dhcp(version)),
    )


def without_configuration(name: str) -> Expectation:
    """Returns what the kernel is to show of an interface that nobody configures any more."""
    return Expectation(name, up=None)


def as_it_is(link: KernelLink) -> Expectation:
    """Returns what makes ``link`` what it is now, to be put back."""
    return Expectation(
        link.name,
        tuple(str(address.interface) for address in link.addresses if address.configured),
        tuple(
            ExpectedRoute(
                str(route.destination), None if route.gateway is None else str(route.gateway), route.metric or None
            )
            for route in link.routes
            if route.protocol in SET_BY_SOMEBODY
        ),
        link.mtu,
        link.up,
    )
