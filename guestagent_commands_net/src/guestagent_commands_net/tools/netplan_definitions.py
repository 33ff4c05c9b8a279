"""netplan's definitions: which interface each is about, and what is made of which."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from .netplan_form import KINDS, devices_of

if TYPE_CHECKING:
    from guestagent_commands_net.model import Nic

__all__ = ("Definitions", "interface_of")


def interface_of(kind: str, identifier: str, definition: Mapping[str, Any], nics: Sequence[Nic]) -> str | None:
    """Returns the interface that a definition is about; None if it is a pattern, or of a card that is not here."""
    if kind != "ethernets":
        return identifier
    match = definition.get("match")
    if not isinstance(match, Mapping) or not match:
        return identifier
    renamed = definition.get("set-name")
    if match.get("macaddress"):
        mac = str(match["macaddress"]).lower()
        here = next((nic.name for nic in nics if nic.mac == mac and nic.physical), None)
        return here or (str(renamed) if renamed else None if nics else identifier)
    if renamed:
        return str(renamed)
    name = match.get("name")
    if isinstance(name, str) and not any(character in name for character in "*?[") and set(match) == {"name"}:
        return name
    return None


def _references(definition: Mapping[str, Any]) -> set[str]:
    """The ids of what a device is made of."""
    members = definition.get("interfaces")
    found = [*(members if isinstance(members, list) else ()), definition.get("link")]
    return {str(each) for each in found if each is not None}


class Definitions:
    """Which definitions are about which interface."""

    def __init__(self, network: Mapping[str, Any], nics: Sequence[Nic]) -> None:
        self._network = network
        self.entries: dict[str, list[tuple[str, str]]] = {}
        """The kinds and ids of the definitions that are about an interface and no other, by its name."""
        self._patterns: list[tuple[str, Mapping[str, Any]]] = []
        for kind in KINDS:
            for identifier, definition in devices_of(network, kind).items():
                name = interface_of(kind, identifier, definition, nics)
                match = definition.get("match")
                if name is not None:
                    self.entries.setdefault(name, []).append((kind, identifier))
                elif isinstance(match, Mapping) and "macaddress" not in match:
                    self._patterns.append((identifier, match))

    def of(self, name: str) -> list[tuple[str, str]]:
        """Returns the kinds and ids of the definitions that are about an interface and no other."""
        return self.entries.get(name, [])

    def patterns(self, name: str) -> list[str]:
        """Returns the ids of definitions that fit ``name`` among others."""
        return [
            identifier
            for identifier, match in self._patterns
            if match.get("name") is None or fnmatchcase(name, str(match["name"]))
        ]

    def is_referred_to(self, identifier: str, leaving: Collection[tuple[str, str]]) -> bool:
        """Returns whether another definition than those that are ``leaving`` is made of this one: netplan refuses all
        files where what one refers to is not there.
        """
        return any(entry not in leaving and identifier in _references(definition) for entry, definition in self._all())

    def followers(self, moved: Iterable[str], ids: Mapping[str, str]) -> dict[tuple[str, str], Any]:
        """Returns the definitions that are made of those that are ``moved``, by the ids that these have now.

        netplan wants to know what a definition refers to at the end of its file, whatever later files define.
        """
        new = {each: ids[name] for name, entries in self.entries.items() if name in ids for _, each in entries}
        moved = set(moved)
        found: dict[tuple[str, str], Any] = {}
        size = -1
        while size < len(found):
            size = len(found)
            for (kind, identifier), definition in self._all():
                if (kind, identifier) not in found and moved.intersection(_references(definition)):
                    found[kind, identifier] = self.with_renderer(kind, definition)
                    moved.add(identifier)
        for definition in found.values():
            if "link" in definition:
                definition["link"] = new.get(str(definition["link"]), definition["link"])
            if isinstance(definition.get("interfaces"), list):
                definition["interfaces"] = [new.get(str(each), each) for each in definition["interfaces"]]
        return found

    def with_renderer(self, kind: str, definition: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a definition with the renderer that all of its kind have in the file that it leaves."""
        renderer = (self._network.get(kind) or {}).get("renderer")
        return {**({"renderer": renderer} if renderer else {}), **definition}

    def _all(self) -> Iterator[tuple[tuple[str, str], Mapping[str, Any]]]:
        for kind, devices in self._network.items():
            for identifier, definition in devices.items() if isinstance(devices, Mapping) else ():
                if isinstance(definition, Mapping):
                    yield (kind, str(identifier)), definition

    def profile(self, kind: str, identifier: str) -> str:
        """Returns the name that NetworkManager's profile gets: NetworkManager itself may have said which."""
        manager = devices_of(self._network, kind)[identifier].get("networkmanager")
        name = manager.get("name") if isinstance(manager, Mapping) else None
        return str(name or f"netplan-{identifier}")

    def renderer(self, name: str) -> str:
        """Returns who configures an interface: ``networkd`` or ``NetworkManager``."""
        for kind, identifier in self.of(name):
            found = (self._network[kind][identifier] or {}).get("renderer")
            found = found or (self._network.get(kind) or {}).get("renderer")
            if found:
                return str(found)
        return str(self._network.get("renderer") or "networkd")
