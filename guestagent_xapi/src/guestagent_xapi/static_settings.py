"""What a host sets of one address family of one of a guest's network devices, as it stands in XenStore."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from guestagent_xen.watching import Watcher

__all__ = ("FAMILIES", "FOLDERS", "StaticSetting", "read_settings")

FOLDERS = {"vif": "xenserver/device/vif", "net-sriov-vf": "xenserver/device/net-sriov-vf"}
"""Where the devices of each kind are."""

FAMILIES = {"ipv4": "", "ipv6": "6"}
"""What ends the names of each family's keys."""

_KEYS = ("enabled", "address", "gateway")


@dataclass(frozen=True)
class StaticSetting:
    """An order of the host, not checked in any way."""

    device: str
    """Kind and number, such as ``vif/0``."""
    family: str
    """``ipv4`` or ``ipv6``."""
    mac: str
    enabled: str
    """``1``: the address below. ``2``: DHCP or autoconfiguration. ``0``: what was before the host set anything."""
    address: str | None = None
    """With its prefix length."""
    gateway: str | None = None
    dns: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """The node of the order."""
        kind, _, number = self.device.partition("/")
        return f"{FOLDERS[kind]}/{number}/static-ip-setting"

    def encode(self) -> bytes:
        """Returns it as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: Any) -> StaticSetting:
        """Returns what :meth:`encode` was given.

        :raises ValueError: it is something else.
        """
        try:
            fields = json.loads(data)
            return cls(**{**fields, "dns": tuple(fields["dns"])})
        except (TypeError, KeyError) as error:
            raise ValueError("This is no static setting") from error


def read_settings(watcher: Watcher, kind: str, number: str, transaction: int = 0) -> Iterator[StaticSetting]:
    """Gives the orders for one device: none, one, or one for each family.

    :raises ExchangeError: the store cannot be reached.
    """
    folder = f"{FOLDERS[kind]}/{number}/static-ip-setting"
    names = [f"{key}{suffix}" for suffix in FAMILIES.values() for key in _KEYS]
    paths = [f"{folder}/mac", f"{FOLDERS[kind]}/{number}/mac", *(f"{folder}/{name}" for name in names)]
    mac, other_mac, *values = [_text(value) for value in watcher.read_all(paths, transaction)]
    for position, (family, suffix) in enumerate(FAMILIES.items()):
        enabled, address, gateway = values[position * len(_KEYS) : (position + 1) * len(_KEYS)]
        if not enabled:
            continue
        dns = _servers(watcher, f"{folder}/dns{suffix}", transaction) if enabled != "0" else ()
        yield StaticSetting(
            f"{kind}/{number}", family, (mac or other_mac or "").lower(), enabled, address or None, gateway or None, dns
        )


def _servers(watcher: Watcher, folder: str, transaction: int) -> tuple[str, ...]:
    numbers = sorted((name for name in watcher.children(folder) if name.isdigit()), key=int)
    found = watcher.read_all((f"{folder}/{number}" for number in numbers), transaction)
    return tuple(text for text in map(_text, found) if text)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace").strip()
