"""The network interfaces of this machine, as the kernel has them at this moment."""

from __future__ import annotations

import fcntl
import socket
import struct

__all__ = ("ethernet_interfaces",)

_SIOCGIFFLAGS, _SIOCGIFHWADDR = 0x8913, 0x8927  # linux/sockios.h
_IFF_UP, _IFF_LOOPBACK = 0x1, 0x8  # linux/if.h
_ARPHRD_ETHER = 1  # linux/if_arp.h


def ethernet_interfaces() -> list[tuple[str, bool, str]]:
    """Returns name, whether it is administratively up, and MAC of each Ethernet interface that is no loopback.

    The kernel is asked and not ``/sys``, which may be that of another network namespace.
    """
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        for _, name in socket.if_nameindex():
            try:
                [flags] = struct.unpack_from("16xH", _ask(any_socket, _SIOCGIFFLAGS, name))
                kind, address = struct.unpack_from("16xH6s", _ask(any_socket, _SIOCGIFHWADDR, name))
            except OSError:  # it is gone again, or has no address of this layer
                continue
            if kind == _ARPHRD_ETHER and not flags & _IFF_LOOPBACK:
                found.append((name, bool(flags & _IFF_UP), address.hex(":")))
    return found


def _ask(any_socket: socket.socket, request: int, name: str) -> bytes:
    return fcntl.ioctl(any_socket, request, struct.pack("40s", name.encode()[:15]))
