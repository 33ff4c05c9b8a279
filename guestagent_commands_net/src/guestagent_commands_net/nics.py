"""The network cards of this machine: which names belong to the MACs that hosts know."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .model import Nic

if TYPE_CHECKING:
    from guestagent_core import Context

    from .netlink import KernelLink

__all__ = ("local_nics",)

_SYSFS = "/sys/class/net"
_XEN = "/sys/bus/xen"
_CARDS = ("", "veth", "dummy", "netdevsim")  # kinds of links; all others lie on a card, or lead to no network
_VIRTUAL = ("bonding", "bridge", "tun_flags")  # what sysfs has for those
_VIF = re.compile(r"device/vif/(\d+)\s*\Z")


def local_nics(context: Context) -> tuple[Nic, ...]:
    """Returns the Ethernet interfaces that there are, in the order of names.

    With another root than ``/`` they are those of the ``/sys`` that lies there.

    :raises OSError: the kernel does not tell.
    """
    if context.root == Path("/"):
        from .netlink import read_state

        links = read_state(addresses=False, routes=False)
        on_xen = context.path(_XEN).exists()
        by_index = {link.index: link for link in links.values()}
        found = [
            Nic(
                link.name,
                link.permanent_mac or link.mac,
                link.up,
                _is_card(link, by_index),
                _vif(context, link.name) if on_xen else None,
                by_index[link.master].name if link.master in by_index else None,
            )
            for link in links.values()
            if link.ethernet and link.mac and not link.loopback
        ]
    else:
        found = _read_sysfs(context)
    return tuple(sorted(found, key=lambda nic: nic.name))


def _is_card(link: KernelLink, by_index: dict[int, KernelLink]) -> bool:
    """A card that another card stands in front of (as where a virtual function speeds up a virtual card) is not the
    one to configure: both have the same MAC.
    """
    master = by_index.get(link.master)
    return link.kind in _CARDS and not (master is not None and master.kind in ("", "failover"))


def _read_sysfs(context: Context) -> list[Nic]:
    found = []
    folder = context.path(_SYSFS)
    for name in sorted(path.name for path in folder.iterdir()) if folder.is_dir() else ():
        mac = _read(context, f"{name}/address").lower()
        if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", mac) or _read(context, f"{name}/type") not in ("", "1"):
            continue
        device = _read(context, f"{name}/uevent")
        virtual = "DEVTYPE=" in device and "DEVTYPE=wlan" not in device
        virtual = virtual or any(context.path(f"{_SYSFS}/{name}/{part}").exists() for part in _VIRTUAL)
        up = _read(context, f"{name}/operstate") == "up"
        found.append(Nic(name, mac, up, not virtual and name != "lo", _vif(context, name)))
    return found


def _vif(context: Context, name: str) -> int | None:
    found = _VIF.match(_read(context, f"{name}/device/nodename"))
    return int(found[1]) if found else None


def _read(context: Context, path: str) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return context.path(f"{_SYSFS}/{path}").read_text().strip()
    return ""
