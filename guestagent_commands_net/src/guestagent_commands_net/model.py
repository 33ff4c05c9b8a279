"""What a network is to be like: values that every reader produces and every backend renders.

A value that exists is valid: each class checks what it is made of, and raises
:class:`~guestagent_commands_net.checks.NetworkValueError`, so that renderers cannot meet bad data. Two values are equal
if they mean the same network.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import TYPE_CHECKING

from .bonds import MODES
from .checks import (
    NetworkValueError,
    check_domain,
    check_hostname,
    check_mac,
    check_mtu,
    check_name,
    check_option,
    safe_label,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

__all__ = (
    "VERSIONS",
    "Bond",
    "Change",
    "Dns",
    "Interface",
    "Nic",
    "Route",
    "Vlan",
    "merge",
)

IPAddress: TypeAlias = "IPv4Address | IPv6Address"
IPInterface: TypeAlias = "IPv4Interface | IPv6Interface"
IPNetwork: TypeAlias = "IPv4Network | IPv6Network"

VERSIONS = (4, 6)
"""The versions of IP, as the classes of ``ipaddress`` call them."""


@dataclass(frozen=True, slots=True)
class Nic:
    """A network interface that this machine has."""

    name: str
    mac: str
    """In lower case with colons; what the card itself says where the kernel tells (a bond's members share one)."""
    up: bool = False
    physical: bool = True
    """Whether it stands for a network card; false for bonds, bridges, VLANs, tunnels and the like."""
    vif: int | None = None
    """The number of the virtual interface by which a Xen host knows it."""
    master: str | None = None
    """The bridge or bond that it is part of."""


@dataclass(frozen=True, slots=True)
class Route:
    """A way to a network; one to ``0.0.0.0/0`` or ``::/0`` is a default route, and names a default gateway."""

    destination: IPNetwork
    gateway: IPAddress | None = None
    """None: the network is on the link itself."""
    metric: int | None = None
    """None: the tool's own default."""
    on_link: bool = False
    """Whether the gateway is to be taken as being on the link although no address's network holds it."""
    mtu: int | None = None

    def __post_init__(self) -> None:
        if self.gateway is not None and self.gateway.version != self.destination.version:
            raise NetworkValueError(f"Route to {self.destination}: {self.gateway} is of another IP version")
        if self.gateway is not None and (self.gateway.is_unspecified or self.gateway.is_multicast):
            raise NetworkValueError(f"Route to {self.destination}: {self.gateway} cannot be a gateway")
        if self.gateway is None and self.on_link:
            object.__setattr__(self, "on_link", False)  # says nothing without a gateway
        if self.metric is not None and not 0 <= self.metric < 2**32:
            raise NetworkValueError(f"Route to {self.destination}: metric {self.metric} is not in 0-4294967295")
        check_mtu(self.mtu, f"Route to {self.destination}")

    @property
    def version(self) -> int:
        """The version of IP, 4 or 6."""
        return self.destination.version

    @property
    def is_default(self) -> bool:
        """Whether it leads everywhere."""
        return self.destination.prefixlen == 0


@dataclass(frozen=True, slots=True)
class Dns:
    """Name servers and the domains that short names are searched in, each in the order of preference."""

    servers: tuple[IPAddress, ...] = ()
    search: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for server in self.servers:
            if server.is_unspecified or server.is_multicast:
                raise NetworkValueError(f"{server} cannot be a name server")
        for domain in self.search:
            check_domain(domain)
        object.__setattr__(self, "servers", tuple(dict.fromkeys(self.servers)))
        object.__setattr__(self, "search", tuple(dict.fromkeys(self.search)))

    def of(self, version: int) -> tuple[IPAddress, ...]:
        """Returns the servers that are reached by the IP version ``version``."""
        return tuple(server for server in self.servers if server.version == version)

    def __bool__(self) -> bool:
        return bool(self.servers or self.search)


@dataclass(frozen=True, slots=True)
class Vlan:
    """What makes an interface a VLAN of another one."""

    id: int
    parent: str
    """The name of the interface that carries it."""

    def __post_init__(self) -> None:
        if not 0 < self.id < 4095:
            raise NetworkValueError(f"VLAN {self.id} is not in 1-4094")
        check_name(self.parent)


@dataclass(frozen=True, slots=True)
class Bond:
    """What makes an interface a bond of others."""

    members: tuple[str, ...]
    """The names of the interfaces; they carry no addresses of their own."""
    mode: str = "balance-rr"
    """The kernel's name of the mode, such as ``active-backup``."""
    options: tuple[tuple[str, str], ...] = ()
    """Further settings by the kernel's names, such as ``("miimon", "100")``, in the order of names."""

    def __post_init__(self) -> None:
        for member in self.members:
            check_name(member)
        if len(set(self.members)) != len(self.members) or not self.members:
            raise NetworkValueError(f"A bond needs members, each once, not {', '.join(self.members) or 'none'}")
        if self.mode not in MODES:
            raise NetworkValueError(f"{self.mode!r} is not a mode of bonds (known: {', '.join(MODES)})")
        for key, value in self.options:
            check_option(key, value)
        object.__setattr__(self, "members", tuple(sorted(self.members)))
        object.__setattr__(self, "options", tuple(sorted(self.options)))


@dataclass(frozen=True, slots=True)
class Interface:
    """How one interface is to be configured; with no addresses and no DHCP it is up and has none."""

    name: str
    mac: str | None = field(default=None, compare=False)
    """In lower case with colons: by which a card is known, and what a bond or a VLAN is given."""
    label: str | None = field(default=None, compare=False)
    """The host's name for the network; only a comment in what is generated."""
    addresses: tuple[IPInterface, ...] = ()
    """Addresses with the length of their network's prefix; of each IP version the first is the main one."""
    routes: tuple[Route, ...] = ()
    """Default routes first, in the order of metrics."""
    dns: Dns = Dns()
    mtu: int | None = None
    """None: left as it is."""
    dhcp4: bool = False
    dhcp6: bool = False
    accept_ra: bool | None = None
    """Whether router advertisements are listened to; None: left as it is."""
    link: Vlan | Bond | None = None
    """None: a network card."""
    versions: tuple[int, ...] = VERSIONS
    """The IP versions that this is about; everything of the others stays as it is."""

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.mac is not None:
            object.__setattr__(self, "mac", check_mac(self.mac))
        if self.label is not None:
            object.__setattr__(self, "label", safe_label(self.label))
        for address in self.addresses:
            if address.ip.is_unspecified or address.ip.is_multicast or address.ip.is_loopback:
                raise NetworkValueError(f"{self.name}: {address} cannot be an address of an interface")
        check_mtu(self.mtu, self.name)
        object.__setattr__(self, "versions", tuple(sorted(set(self.versions))))
        if not self.versions or set(self.versions) - set(VERSIONS):
            raise NetworkValueError(f"{self.name}: {self.versions!r} are not versions of IP")
        if any(part.version not in self.versions for part in (*self.addresses, *self.routes)):
            raise NetworkValueError(f"{self.name}: addresses and routes have to be of IPv{self.versions[0]} only")
        if isinstance(self.link, Vlan) and self.link.parent == self.name:
            raise NetworkValueError(f"{self.name} cannot be a VLAN of itself")
        if isinstance(self.link, Bond) and self.name in self.link.members:
            raise NetworkValueError(f"{self.name} cannot be a member of itself")
        # One order for everything, so that equal networks are equal values.
        addresses = sorted(dict.fromkeys(self.addresses), key=lambda address: address.version)
        routes = sorted(dict.fromkeys(self.routes), key=_place)
        object.__setattr__(self, "addresses", tuple(addresses))
        object.__setattr__(self, "routes", tuple(routes))
        seen: dict[tuple[IPNetwork, int | None], Route] = {}
        for route in routes:
            other = seen.setdefault((route.destination, route.metric), route)
            if other is not route:
                kind = f"IPv{route.version} default routes" if route.is_default else f"routes to {route.destination}"
                raise NetworkValueError(f"Multiple {kind} specified for {self.name}: {other.gateway}, {route.gateway}")

    @property
    def partial(self) -> bool:
        """Whether it is about one IP version only."""
        return self.versions != VERSIONS

    def addresses_of(self, version: int) -> tuple[IPInterface, ...]:
        """Returns the addresses of the IP version ``version``."""
        return tuple(address for address in self.addresses if address.version == version)

    def routes_of(self, version: int) -> tuple[Route, ...]:
        """Returns the routes of the IP version ``version``."""
        return tuple(route for route in self.routes if route.version == version)

    def dhcp(self, version: int) -> bool:
        """Returns whether addresses of the IP version ``version`` come by DHCP."""
        return self.dhcp4 if version == 4 else self.dhcp6

    def gateway(self, version: int) -> IPAddress | None:
        """Returns the gateway of the first default route of the IP version ``version``."""
        return next((route.gateway for route in self.routes_of(version) if route.is_default), None)


@dataclass(frozen=True, slots=True)
class Change:
    """What a host asks for: a whole set of interfaces, some of them, or one IP version of some of them."""

    interfaces: tuple[Interface, ...] = ()
    whole: bool = True
    """Whether interfaces that are not named are to lose their configuration."""
    removed: tuple[str, ...] = ()
    """The names of interfaces that lose their configuration; of a whole set, known only once the machine is."""
    hostname: str | None = None
    """None: left as it is."""

    def __post_init__(self) -> None:
        names = [interface.name for interface in self.interfaces]
        for name in self.removed:
            check_name(name)
        twice = [name for name in names if names.count(name) > 1 or name in self.removed]
        if twice:
            raise NetworkValueError(f"{twice[0]} is configured twice")
        if self.hostname is not None:
            check_hostname(self.hostname)
        masters = {
            member: interface.name
            for interface in self.interfaces
            if isinstance(interface.link, Bond)
            for member in interface.link.members
        }
        for interface in self.interfaces:
            if interface.name in masters and (
                interface.addresses or interface.routes or interface.dhcp4 or interface.dhcp6
            ):
                raise NetworkValueError(
                    f"{interface.name} is a member of {masters[interface.name]}: no addresses there"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """Every interface that the change is about."""
        return (*(interface.name for interface in self.interfaces), *self.removed)

    def only(self, names: Iterable[str]) -> Change:
        """Returns the part of the change that is about ``names``, without the host name."""
        kept = frozenset(names)
        return replace(
            self,
            interfaces=tuple(interface for interface in self.interfaces if interface.name in kept),
            removed=tuple(name for name in self.removed if name in kept),
            hostname=None,
        )


def _place(route: Route) -> tuple[int, bool, int]:
    preference = (-1 if route.metric is None else route.metric) if route.is_default else 0
    return route.version, not route.is_default, preference


def merge(current: Interface | None, wanted: Interface) -> Interface:
    """Returns all of an interface that is ``current`` now, once ``wanted`` holds.

    What ``wanted`` is not about stays: the other IP version, where it is about one. An MTU that it does not name stays
    too, and so does an order not to listen to router advertisements; of an interface that is about one IP version, name
    servers, search domains and the label stay as well where it has none.
    """
    if current is None:
        return replace(wanted, versions=VERSIONS)
    mtu = current.mtu if wanted.mtu is None else wanted.mtu
    accept_ra = wanted.accept_ra
    if accept_ra is None and (current.accept_ra is False or 6 not in wanted.versions):
        accept_ra = current.accept_ra
    if not wanted.partial:
        return replace(wanted, mtu=mtu, accept_ra=accept_ra)
    about = wanted.versions

    def of(version: int) -> Interface:
        return wanted if version in about else current

    servers = [
        server
        for version in VERSIONS
        for server in (version in about and wanted.dns.of(version)) or current.dns.of(version)
    ]
    return replace(
        current,
        mac=wanted.mac or current.mac,
        label=wanted.label or current.label,
        addresses=tuple(address for version in VERSIONS for address in of(version).addresses_of(version)),
        routes=tuple(route for version in VERSIONS for route in of(version).routes_of(version)),
        dns=Dns(tuple(servers), wanted.dns.search or current.dns.search),
        mtu=mtu,
        dhcp4=of(4).dhcp4,
        dhcp6=of(6).dhcp6,
        accept_ra=accept_ra,
        link=wanted.link or current.link,
    )
