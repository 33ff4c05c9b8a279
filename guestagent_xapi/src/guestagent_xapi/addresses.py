"""Which addresses the host shows for which of its virtual network interfaces (VIFs)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from guestagent_commands_net.netlink import KernelAddress, KernelLink, KernelState

from .facts import GuestPath

__all__ = ("AddressKeys", "VifNode", "vif_of_links")

_FAMILIES = {4: "ipv4", 6: "ipv6"}
_BORROWING = ("bond", "bridge", "vlan", "macvlan", "team", "ovs")  # kinds of links that have the MAC of another one


@dataclass(frozen=True, order=True)
class VifNode:
    """One of the host's network devices, by the node under which its addresses go."""

    kind: str
    """``vif``, or ``net-sriov-vf`` for a virtual function of a physical card."""
    number: str
    """The device's number, as the host names its nodes."""

    @property
    def folder(self) -> str:
        """Where the host looks for the addresses."""
        return f"attr/vif/{self.number}" if self.kind == "vif" else f"xenserver/attr/net-sriov-vf/{self.number}"


def vif_of_links(state: KernelState, by_mac: Mapping[str, VifNode], path: GuestPath) -> dict[str, VifNode]:
    """Returns the device of each link that is one, by the link's name.

    The driver tells the number (the device's ``nodename``); what it does not tell is known by its MAC.

    :param by_mac: what the host says of its devices, with MACs in lower case.
    """
    found = {}
    for name, link in state.items():
        node = _by_driver(name, path)
        if node is None and link.kind not in _BORROWING:
            node = by_mac.get(link.permanent_mac) or by_mac.get(link.mac)
        if node is not None:
            found[name] = node
    return found


def _by_driver(name: str, path: GuestPath) -> VifNode | None:
    with suppress(OSError):
        first, kind, number = path(f"/sys/class/net/{name}/device/nodename").read_text().strip().split("/")
        if (first, kind) == ("device", "vif") and number.isdigit():
            return VifNode("vif", number)
    return None


@dataclass
class AddressKeys:
    """Turns addresses into keys. An address keeps its index as long as it is there, whatever becomes of the others."""

    _indices: dict[tuple[VifNode, str], dict[str, int]] = field(default_factory=dict)

    def recall(self, node: VifNode, family: str, index: int, text: str) -> None:
        """Takes an index over that an earlier run gave away."""
        self._indices.setdefault((node, family), {})[text] = index

    def keys(self, state: KernelState, vifs: Mapping[str, VifNode]) -> dict[str, str]:
        """Returns the keys and values of all addresses that can be used."""
        found: dict[str, str] = {}
        seen = set()
        for name, node in sorted(vifs.items(), key=lambda item: item[1]):
            for family in _FAMILIES.values():
                usable = [address for address in _usable(state, state[name]) if _family(address) == family]
                seen.add((node, family))
                for index, text in self._numbered(node, family, usable):
                    found[f"{node.folder}/{family}/{index}"] = text
        for gone in self._indices.keys() - seen:
            del self._indices[gone]
        return found

    def _numbered(self, node: VifNode, family: str, addresses: Iterable[KernelAddress]) -> list[tuple[int, str]]:
        """Gives each address its index: the one it has, else the lowest that is free."""
        texts = list(dict.fromkeys(str(address.interface.ip) for address in sorted(addresses, key=_order)))
        kept = self._indices.get((node, family), {})
        kept = {text: index for text, index in kept.items() if text in texts}
        for text in texts:
            if text not in kept:
                kept[text] = next(index for index in range(len(kept) + 1) if index not in kept.values())
        self._indices[node, family] = kept
        return sorted((index, text) for text, index in kept.items())


def _usable(state: KernelState, link: KernelLink) -> Iterable[KernelAddress]:
    """Gives the addresses of a link, or those of the bond or bridge that it is a part of."""
    above = [other for other in state.values() if link.master and other.index == link.master]
    for each in (link, *above):
        for address in each.addresses:
            if not address.tentative and not address.duplicate and not address.interface.ip.is_loopback:
                yield address


def _family(address: KernelAddress) -> str:
    return _FAMILIES[address.interface.version]


def _order(address: KernelAddress) -> tuple[bool, int]:
    """The addresses of the link alone come last, for hosts show the first of each family."""
    return address.interface.ip.is_link_local, int(address.interface.ip)
