"""Networks of all kinds for hypothesis, and what the tests of readers and renderers share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st

from guestagent_commands_net.backends import FileState
from guestagent_commands_net.model import Bond, Change, Dns, Interface, Nic, Route, Vlan

QUICK = settings(deadline=None, max_examples=60, phases=(Phase.explicit, Phase.reuse, Phase.generate))
"""Without shrinking: networks are shown whole, and searching for a smaller one takes minutes."""

VECTORS = Path(__file__).with_name("vectors")


def vectors(name: str) -> list[Any]:
    """Returns the recorded cases of the file ``name``."""
    found: list[Any] = json.loads((VECTORS / f"{name}.json").read_text())
    return found


def files_of(recorded: Mapping[str, Any], folder: str) -> dict[str, FileState]:
    """Returns the recorded files whose path begins with ``folder``, without copies that somebody kept."""
    files = {}
    for path, content in recorded.items():
        text = content.get("content") if isinstance(content, dict) else content
        if path.startswith(folder) and text is not None and not path.endswith((".bak", "~")):
            files[path] = FileState(text.encode())
    return files


class DictStore:
    """A store of values by path."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def read(self, path: str) -> bytes | None:
        return self._values[path].encode() if path in self._values else None

    def list(self, path: str) -> list[str]:
        return list(
            dict.fromkeys(key[len(path) + 1 :].split("/")[0] for key in self._values if key.startswith(f"{path}/"))
        )


def nics_of(names: Mapping[str, str]) -> tuple[Nic, ...]:
    return tuple(Nic(name, mac) for name, mac in names.items())


CARDS = tuple(Nic(f"eth{number}", f"bc:76:4e:20:00:4{number}", vif=number) for number in range(5))


def addresses(version: int) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    low = int(ip_address("10.0.0.1" if version == 4 else "2001:db8::1"))
    return st.integers(0, 2**20).map(lambda offset: ip_address(low + offset))


def interface_addresses(version: int) -> st.SearchStrategy[Any]:
    longest = 32 if version == 4 else 128
    return st.tuples(addresses(version), st.integers(8, longest)).map(lambda pair: ip_interface(f"{pair[0]}/{pair[1]}"))


def networks(version: int) -> st.SearchStrategy[Any]:
    if version == 4:
        number, longest, top = st.integers(1, 223 * 2**24 - 1), 32, 2**24
    else:
        number, longest, top = st.integers(0x2001 << 112, 0x3FFE << 112), 128, 1
    return st.tuples(number.map(lambda value: max(value, top)), st.integers(1, longest)).map(
        lambda pair: ip_network((pair[0], pair[1]), strict=False)
    )


def macs() -> st.SearchStrategy[str]:
    return st.integers(0, 2**40 - 1).map(
        lambda number: ":".join(f"02{number:010x}"[i : i + 2] for i in range(0, 12, 2))
    )


@st.composite
def routes(draw: st.DrawFn, versions: tuple[int, ...] = (4, 6), *, link_local: bool = True) -> list[Route]:
    found: dict[tuple[Any, int | None], Route] = {}
    for version in versions:
        everywhere = ip_network("0.0.0.0/0" if version == 4 else "::/0")
        gateways = addresses(version)
        if version == 6 and link_local:
            gateways |= st.just(ip_address("fe80::def"))
        metrics = st.none() | st.integers(1, 10000)
        defaults = st.builds(Route, st.just(everywhere), gateways, metrics, st.booleans())
        others = st.builds(Route, networks(version), st.none() | gateways, metrics, st.booleans())
        for route in draw(st.lists(defaults, max_size=2)) + draw(st.lists(others, max_size=3)):
            found.setdefault((route.destination, route.metric), route)
    return list(found.values())


domains = st.from_regex(r"[a-z]{1,10}(\.[a-z]{2,5}){0,2}", fullmatch=True)


@st.composite
def dns(draw: st.DrawFn) -> Dns:
    servers = draw(st.lists(addresses(4), max_size=2)) + draw(st.lists(addresses(6), max_size=2))
    return Dns(tuple(servers), tuple(draw(st.lists(domains, max_size=2))))


@st.composite
def interfaces(
    draw: st.DrawFn, name: str = "eth0", *, routed: st.SearchStrategy[list[Route]] | None = None
) -> Interface:
    found = draw(st.lists(interface_addresses(4), max_size=3)) + draw(st.lists(interface_addresses(6), max_size=3))
    return Interface(
        name,
        draw(st.none() | macs()),
        draw(st.none() | st.sampled_from(("public", "private network", "a\nb'$(x)"))),
        tuple(found),
        tuple(draw(routes() if routed is None else routed)),
        draw(dns()),
        draw(st.none() | st.integers(1280, 9000)),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.sampled_from((None, True, False))),
    )


bond_options = st.sampled_from((
    (), (("miimon", "100"),), (("lacp_rate", "fast"), ("miimon", "50"), ("xmit_hash_policy", "layer3+4")),
    (("arp_interval", "200"), ("arp_ip_target", "10.0.0.1,10.0.0.2")), (("miimon", "100"), ("primary", "eth3")),
    (("primary", "eth4"), ("primary_reselect", "failure")),
))  # fmt: skip


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """A whole set: cards, and maybe a bond of two of them and a VLAN on one or on the bond."""
    found = [draw(interfaces(f"eth{number}")) for number in range(draw(st.integers(1, 3)))]
    parent = "eth0"
    if draw(st.booleans()):
        link: Bond | Vlan = Bond(
            ("eth3", "eth4"), draw(st.sampled_from(("802.3ad", "active-backup"))), draw(bond_options)
        )
        bond = draw(interfaces("bond0"))
        found += [Interface("eth3", CARDS[3].mac), Interface("eth4", CARDS[4].mac), with_link(bond, link)]
        parent = "bond0"
    if draw(st.booleans()):
        number = draw(st.integers(1, 4094))
        vlan = draw(interfaces(draw(st.sampled_from((f"{parent}.{number}", f"vlan{number}")))))
        found.append(with_link(vlan, Vlan(number, parent)))
    return Change(tuple(found))


def with_link(interface: Interface, link: Bond | Vlan) -> Interface:
    from dataclasses import replace

    return replace(interface, link=link)
