"""What the kernel knows of the network, read over netlink: links, addresses, routes; and a socket to wait for changes.

It only reads. It is small because the agent, which is idle nearly always, must not hold a whole netlink library for
the moment in which it compares; whoever has to write to the kernel uses pyroute2 (see ``rescue``).
"""

from __future__ import annotations

import errno
import ipaddress
import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

__all__ = ("Changes", "KernelAddress", "KernelLink", "KernelRoute", "KernelState", "read_state")

# linux/netlink.h, linux/rtnetlink.h
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_INTERRUPTED = 0x10  # NLM_F_DUMP_INTR
_ERROR, _DONE = 2, 3
_LINK, _ADDRESS, _ROUTE = (16, 18), (20, 22), (24, 26)  # what an answer is, what asks for it
_BODIES = {16: 16, 20: 8, 24: 12}  # bytes of the fixed part, by the type of the answer
_GROUPS = 0x1 | 0x10 | 0x100 | 0x40 | 0x400  # RTMGRP_LINK, IPV4_IFADDR, IPV6_IFADDR, IPV4_ROUTE, IPV6_ROUTE
_ALIGN = 4
_RECEIVE = 1 << 15  # bytes; the kernel makes the parts of a dump no larger than that
_TURNS = 20  # dumps that a change interrupted, before that is an error

# linux/if_link.h, linux/if_addr.h, linux/rtnetlink.h: attributes
_LINK_ADDRESS, _LINK_NAME, _LINK_MTU, _LINK_LINK, _LINK_MASTER, _LINK_INFO, _LINK_PERMANENT = 1, 3, 4, 5, 10, 18, 54
_INFO_KIND = 1
_ADDR_ADDRESS, _ADDR_LOCAL, _ADDR_FLAGS = 1, 2, 8
_ROUTE_DESTINATION, _ROUTE_INTERFACE, _ROUTE_GATEWAY, _ROUTE_METRIC, _ROUTE_MULTIPATH, _ROUTE_TABLE, _ROUTE_VIA = (
    1, 4, 5, 6, 9, 15, 18,
)  # fmt: skip

# Flags of links (linux/if.h) and of addresses (linux/if_addr.h)
_UP, _LOWER_UP, _LOOPBACK = 0x1, 0x10000, 0x8
_OPTIMISTIC, _DAD_FAILED, _TENTATIVE, _PERMANENT, _MANAGED_TEMPORARY = 0x04, 0x08, 0x40, 0x80, 0x100
_ETHERNET = 1  # ARPHRD_ETHER
_UNICAST, _MAIN = 1, 254


class KernelAddress(NamedTuple):
    """An address that a link has."""

    interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface
    flags: int
    scope: int
    """0 for the whole world, 253 for the link only."""

    @property
    def tentative(self) -> bool:
        """Whether nothing may be sent from it yet: duplicate address detection has not ended."""
        return bool(self.flags & _TENTATIVE) and not self.flags & _OPTIMISTIC

    @property
    def duplicate(self) -> bool:
        """Whether duplicate address detection found somebody else who has it."""
        return bool(self.flags & _DAD_FAILED)

    @property
    def configured(self) -> bool:
        """Whether somebody set it for good: it is neither from a router or a lease nor the link's own."""
        return bool(self.flags & _PERMANENT) and not self.flags & _MANAGED_TEMPORARY and self.scope != 253


class KernelRoute(NamedTuple):
    """A unicast route of the main table."""

    destination: ipaddress.IPv4Network | ipaddress.IPv6Network
    gateway: ipaddress.IPv4Address | ipaddress.IPv6Address | None
    metric: int
    protocol: int
    """Who made it: 2 the kernel, 3 somebody by hand, 4 a configuration, 9 a router, 16 DHCP."""
    scope: int


@dataclass(frozen=True, slots=True)
class KernelLink:
    """An interface, with its addresses and the routes that lead out of it."""

    index: int
    name: str
    mac: str
    """In lower case; empty if the link has none."""
    permanent_mac: str
    kind: str
    """``bond``, ``vlan``, ``bridge``, ``veth``; empty for hardware."""
    ethernet: bool
    flags: int
    mtu: int
    master: int
    """The index of the bond or bridge that it is a part of, 0 for none."""
    lower: int
    """The index of the link that it lies on (VLANs), 0 for none."""
    addresses: tuple[KernelAddress, ...] = ()
    routes: tuple[KernelRoute, ...] = ()

    @property
    def up(self) -> bool:
        """Whether it is switched on."""
        return bool(self.flags & _UP)

    @property
    def carrier(self) -> bool:
        """Whether a cable, or what stands for it, is there."""
        return bool(self.flags & _LOWER_UP)

    @property
    def loopback(self) -> bool:
        """Whether it is ``lo``."""
        return bool(self.flags & _LOOPBACK)


KernelState = dict[str, KernelLink]
"""The links by name."""


def read_state(*, addresses: bool = True, routes: bool = True) -> KernelState:
    """Returns what the kernel has now.

    :param addresses: whether to read the addresses.
    :param routes: whether to read the routes; those of other tables than the main one are left out.
    :raises OSError: the kernel refused, or the network changed all the time.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as asking:
        asking.bind((0, 0))
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        asking.settimeout(10)
        links = [_link(body, attributes) for body, attributes in _dump(asking, _LINK)]
        found_addresses: dict[int, list[KernelAddress]] = {}
        if addresses:
            for body, attributes in _dump(asking, _ADDRESS):
                index, address = _address(body, attributes)
                found_addresses.setdefault(index, []).append(address)
        found_routes: dict[int, list[KernelRoute]] = {}
        if routes:
            for body, attributes in _dump(asking, _ROUTE):
                for index, route in _routes(body, attributes):
                    found_routes.setdefault(index, []).append(route)
    return {
        link.name: replace(
            link,
            addresses=tuple(found_addresses.get(link.index, ())),
            routes=tuple(found_routes.get(link.index, ())),
        )
        for link in links
    }


class Changes:
    """A socket on which the kernel tells that a link, an address or a route changed; to be closed."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._socket.bind((0, _GROUPS))

    def fileno(self) -> int:
        """Returns the descriptor that is readable when something has changed, for whoever waits for more than this."""
        return self._socket.fileno()

    def wait(self, timeout: float) -> bool:
        """Returns whether something changed since the last call, or changes within ``timeout`` seconds."""
        poll = select.poll()  # a program that embeds this may have more descriptors than select takes
        poll.register(self._socket, select.POLLIN)
        readable = poll.poll(max(timeout, 0) * 1000)
        while readable:
            try:
                if not self._socket.recv(_RECEIVE):
                    break
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # more changes than fit, which says the same
                    raise
        return bool(readable)

    def close(self) -> None:
        """Gives the socket back."""
        self._socket.close()

    def __enter__(self) -> Changes:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


_Message = tuple[memoryview, dict[int, memoryview]]


def _dump(asking: socket.socket, kinds: tuple[int, int]) -> list[_Message]:
    for turn in range(_TURNS):
        try:
            return list(_dump_once(asking, kinds, turn + 1))
        except InterruptedError:
            time.sleep(0.001 * turn)
    raise OSError(errno.EAGAIN, "The network changes faster than it can be read")


def _dump_once(asking: socket.socket, kinds: tuple[int, int], sequence: int) -> Iterator[_Message]:
    answer, ask = kinds
    size = _BODIES[answer]
    asking.send(struct.pack("=IHHII", 16 + size, ask, _REQUEST_DUMP, sequence, 0) + bytes(size))
    interrupted = False
    while True:
        data = memoryview(asking.recv(_RECEIVE))
        offset = 0
        while offset + 16 <= len(data):
            length, kind, flags, number, _ = struct.unpack_from("=IHHII", data, offset)
            if length < 16:
                raise OSError(errno.EPROTO, "The kernel's answer cannot be read")
            message = data[offset + 16 : offset + length]
            offset += (length + _ALIGN - 1) & -_ALIGN
            if number != sequence:
                continue  # of a dump that was given up
            interrupted = interrupted or bool(flags & _INTERRUPTED)
            if kind == _DONE:
                if interrupted:
                    raise InterruptedError
                return
            if kind == _ERROR:
                (number,) = struct.unpack_from("=i", message)
                raise OSError(-number, os.strerror(-number))
            if kind == answer:
                yield message[:size], dict(_attributes(message[size:]))


def _attributes(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + _ALIGN - 1) & -_ALIGN


def _number(data: memoryview | None) -> int:
    return 0 if data is None else int.from_bytes(data[:4], "little" if struct.pack("=H", 1)[0] else "big")


def _text(data: memoryview | None) -> str:
    return "" if data is None else bytes(data).rstrip(b"\0").decode(errors="surrogateescape")


def _mac(data: memoryview | None) -> str:
    return "" if data is None or len(data) != 6 else bytes(data).hex(":")


def _link(body: memoryview, attributes: dict[int, memoryview]) -> KernelLink:
    kind, index, flags = struct.unpack_from("=HiI", body, 2)
    information = dict(_attributes(attributes[_LINK_INFO])) if _LINK_INFO in attributes else {}
    return KernelLink(
        index=index,
        name=_text(attributes.get(_LINK_NAME)),
        mac=_mac(attributes.get(_LINK_ADDRESS)),
        permanent_mac=_mac(attributes.get(_LINK_PERMANENT)),
        kind=_text(information.get(_INFO_KIND)),
        ethernet=kind == _ETHERNET,
        flags=flags,
        mtu=_number(attributes.get(_LINK_MTU)),
        master=_number(attributes.get(_LINK_MASTER)),
        lower=_number(attributes.get(_LINK_LINK)),
    )


def _address(body: memoryview, attributes: dict[int, memoryview]) -> tuple[int, KernelAddress]:
    family, length, flags, scope, index = struct.unpack_from("=BBBBI", body)
    if _ADDR_FLAGS in attributes:
        flags = _number(attributes[_ADDR_FLAGS])  # the one in the body has only 8 bits
    # On a point-to-point link ADDRESS is the other end.
    packed = bytes(attributes.get(_ADDR_LOCAL) or attributes[_ADDR_ADDRESS])
    if family == socket.AF_INET:
        return index, KernelAddress(ipaddress.IPv4Interface((packed, length)), flags, scope)
    return index, KernelAddress(ipaddress.IPv6Interface((packed, length)), flags, scope)


def _routes(body: memoryview, attributes: dict[int, memoryview]) -> Iterator[tuple[int, KernelRoute]]:
    family, length, _, _, table, protocol, scope, kind = struct.unpack_from("=BBBBBBBB", body)
    table = _number(attributes[_ROUTE_TABLE]) if _ROUTE_TABLE in attributes else table
    if table != _MAIN or kind != _UNICAST or family not in (socket.AF_INET, socket.AF_INET6):
        return
    packed = bytes(attributes.get(_ROUTE_DESTINATION, b"\0" * (4 if family == socket.AF_INET else 16)))
    destination: ipaddress.IPv4Network | ipaddress.IPv6Network
    if family == socket.AF_INET:
        destination = ipaddress.IPv4Network((packed, length))
    else:
        destination = ipaddress.IPv6Network((packed, length))
    metric = _number(attributes.get(_ROUTE_METRIC))
    if _ROUTE_MULTIPATH in attributes:
        for index, hop in _hops(attributes[_ROUTE_MULTIPATH]):
            yield index, KernelRoute(destination, _gateway(hop), metric, protocol, scope)
    else:
        index = _number(attributes.get(_ROUTE_INTERFACE))
        yield index, KernelRoute(destination, _gateway(attributes), metric, protocol, scope)


def _hops(data: memoryview) -> Iterator[tuple[int, dict[int, memoryview]]]:
    offset = 0
    while offset + 8 <= len(data):
        length, _, _, index = struct.unpack_from("=HBBi", data, offset)
        if length < 8:
            return
        yield index, dict(_attributes(data[offset + 8 : offset + length]))
        offset += (length + _ALIGN - 1) & -_ALIGN


def _gateway(attributes: dict[int, memoryview]) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if _ROUTE_GATEWAY in attributes:
        return ipaddress.ip_address(bytes(attributes[_ROUTE_GATEWAY]))
    if _ROUTE_VIA in attributes:  # a gateway of the other family, behind its family's number
        return ipaddress.ip_address(bytes(attributes[_ROUTE_VIA][2:]))
    return None
