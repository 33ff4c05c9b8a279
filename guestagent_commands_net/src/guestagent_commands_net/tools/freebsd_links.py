"""VLANs and bonds in FreeBSD's ``rc.conf``, where a bond is called ``lagg0``, ``lagg1`` and so on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise

from guestagent_commands_net.checks import NetworkValueError
from guestagent_commands_net.model import Bond, Interface, Vlan

__all__ = ("CLONED", "bond_words", "bonds_of", "create_args", "share_primary", "variable", "vlan_word", "vlans_of")

CLONED = "cloned_interfaces"
"""The variable that lists what is made when the machine starts, such as bonds."""

_LAGG = re.compile(r"lagg\d+")
_PROTOCOLS = {
    "802.3ad": "lacp",
    "active-backup": "failover",
    "balance-rr": "roundrobin",
    "balance-xor": "loadbalance",
    "broadcast": "broadcast",
}
_HASHES = {"layer2": "l2", "layer2+3": "l2,l3", "layer3+4": "l3,l4"}
_RATES = {"fast": "lacp_fast_timeout", "slow": "-lacp_fast_timeout"}


def variable(interface: str) -> str:
    """Returns how ``interface`` is called within names of variables."""
    return re.sub(r"[^A-Za-z0-9_]", "_", interface)


def create_args(vlan: str) -> str:
    """Returns the variable that says what the VLAN ``vlan`` is made with."""
    return f"create_args_{variable(vlan)}"


def vlan_word(name: str, vlan: Vlan) -> str:
    """Returns how a VLAN stands in the list of its parent: a number makes its name, and else the name stands there."""
    return str(vlan.id) if name == f"{vlan.parent}.{vlan.id}" else name


def vlans_of(values: Mapping[str, str], names: Iterable[str]) -> dict[str, Vlan]:
    """Returns the VLANs by their names.

    :param names: the interfaces that are known, for a variable does not say how dots are written in one.
    """
    known = {variable(name): name for name in (*names, *bonds_of(values))}
    found = {}
    for key, text in values.items():
        if not key.startswith("vlans_"):
            continue
        parent = known.get(key.removeprefix("vlans_"), key.removeprefix("vlans_"))
        for word in text.split():
            if word.isdigit():
                found[f"{parent}.{word}"] = Vlan(int(word), parent)
            else:
                arguments = values.get(create_args(word), "").split()
                number = next((after for before, after in pairwise(arguments) if before == "vlan"), "")
                if number.isdigit():
                    found[word] = Vlan(int(number), parent)
    return found


def bonds_of(values: Mapping[str, str]) -> dict[str, Bond]:
    """Returns the bonds by their names.

    :raises ValueError: one is of a kind that has no name here.
    """
    found = {}
    for word in values.get(CLONED, "").split():
        name = word.partition(":")[0]
        if _LAGG.fullmatch(name):
            words = f"{values.get(create_args(name), '')} {values.get(f'ifconfig_{name}', '')}".split()
            members = [after for before, after in pairwise(words) if before == "laggport"]
            if members:
                found[name] = _bond(name, members, words)
    return found


def _bond(name: str, members: list[str], words: list[str]) -> Bond:
    said = dict(pairwise(words))
    protocol = said.get("laggproto", "failover")
    mode = next((ours for ours, theirs in _PROTOCOLS.items() if theirs == protocol), None)
    if mode is None:
        raise NetworkValueError(f"{name}: laggproto {protocol} is not known here")
    options = [("lacp_rate", ours) for ours, theirs in _RATES.items() if theirs in words]
    options += [("xmit_hash_policy", ours) for ours, theirs in _HASHES.items() if theirs == said.get("lagghash")]
    if mode == "active-backup" and members[0] != min(members):
        options.append(("primary", members[0]))
    return Bond(tuple(members), mode, tuple(options))


def share_primary(interface: Interface) -> Interface:
    """Returns ``interface`` as the form gives it back: the first member of a bond is the primary one, named or not."""
    link = interface.link
    if not isinstance(link, Bond) or link.mode != "active-backup":
        return interface
    if ("primary", link.members[0]) in link.options:
        options = tuple(option for option in link.options if option[0] != "primary")
        return replace(interface, link=replace(link, options=options))
    return interface


def bond_words(interface: Interface, bond: Bond) -> list[str]:
    """Returns the arguments of ifconfig that make ``interface`` the bond.

    :raises NetworkValueError: FreeBSD has no such bond.
    """
    name = interface.name
    if not _LAGG.fullmatch(name):
        raise NetworkValueError(f"{name}: a bond has to be called lagg0, lagg1 or the like in FreeBSD")
    if bond.mode not in _PROTOCOLS:
        raise NetworkValueError(f"{name}: FreeBSD has no bonds of the mode {bond.mode}")
    words = []
    members = list(bond.members)
    for key, value in bond.options:
        if key == "xmit_hash_policy" and value in _HASHES:
            words += ["lagghash", _HASHES[value]]
        elif key == "lacp_rate" and value in _RATES:
            words.append(_RATES[value])
        elif key == "primary" and value in members and bond.mode == "active-backup":
            members = [value, *(member for member in members if member != value)]
        else:
            raise NetworkValueError(f"{name}: FreeBSD has no setting of bonds for {key!r} as {value!r}")
    ports = [word for member in members for word in ("laggport", member)]
    return ["laggproto", _PROTOCOLS[bond.mode], *ports, *words]
