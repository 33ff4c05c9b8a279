"""NetworkManager's profiles, as its keyfiles have them: which are for an interface, and by which it is configured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from .sections import SectionsFile, parsed_file

if TYPE_CHECKING:
    from guestagent_commands_net.backends import Files
    from guestagent_commands_net.model import Nic

__all__ = ("ETHERNET", "OWN_FOLDER", "Profiles", "priority_of", "uuid_of")

ETHERNET = ("ethernet", "802-3-ethernet")
"""The names of the type, and of the section, of network cards."""
OWN_FOLDER = "/etc/NetworkManager/system-connections"
"""Where profiles are written; those that lie elsewhere belong to somebody else."""
_PRIORITY = "999"  # the highest: before every profile that is for any card
_NAMES = "6f8d5a4e-1c0b-4a52-9e6f-2b7a1f3c9d10"  # what the UUIDs of our profiles are made with


class Profiles:
    """Profiles by the interface that they are for."""

    @classmethod
    def of_files(cls, files: Files, nics: Sequence[Nic]) -> Profiles:
        """Returns the profiles that files have.

        :raises CommandError: one of them cannot be read.
        """
        return cls((parsed_file(path, state.content) for path, state in files.items()), nics)

    def __init__(self, profiles: Iterable[SectionsFile], nics: Sequence[Nic]) -> None:
        self.nics = nics
        self._by_name: dict[str | None, list[SectionsFile]] = {}
        for profile in profiles:
            self._by_name.setdefault(self._interface_of(profile), []).append(profile)

    def __iter__(self) -> Iterator[SectionsFile]:
        return (profile for profiles in self._by_name.values() for profile in profiles)

    def copy(self) -> Profiles:
        """Returns the same profiles, to be changed."""
        return Profiles((profile.copy() for profile in self), self.nics)

    def names(self) -> set[str]:
        """Returns the interfaces that have profiles of their own."""
        return {name for name in self._by_name if name is not None}

    def of(self, name: str) -> list[SectionsFile]:
        """Returns the profiles that are for one interface alone."""
        return self._by_name.get(name, [])

    def remove(self, profile: SectionsFile) -> None:
        """Takes a profile out."""
        self._by_name[self._interface_of(profile)].remove(profile)

    def _interface_of(self, profile: SectionsFile) -> str | None:
        """The interface that a profile is for; None: any."""
        name = profile.get("connection", "interface-name")
        if name:
            return name
        found = (profile.get(section, "mac-address") for section in ETHERNET)
        mac = next((each.lower() for each in found if each), None)
        return next((nic.name for nic in self.nics if mac and nic.mac == mac and nic.physical), None)

    def best(self, name: str, active: str | None = None) -> SectionsFile | None:
        """The profile that an interface has, or gets when it is connected the next time."""

        def order(profile: SectionsFile) -> tuple[bool, bool, int, bool]:
            return (
                bool(active) and uuid_of(profile) == active,
                profile.get("connection", "autoconnect") != "false",
                priority_of(profile),
                profile.path.startswith(OWN_FOLDER),
            )

        return max(self.of(name), key=order, default=None)

    def members(self, name: str, bond: SectionsFile) -> list[str]:
        """The interfaces whose profiles make them part of ``bond``."""
        if bond.get("connection", "type") != "bond":
            return []
        own = {name, *(uuid_of(profile) for profile in self.of(name))}
        return [
            member
            for member, profiles in self._by_name.items()
            if member is not None and any(_master(profile) in own for profile in profiles)
        ]

    def new(self, name: str, label: str | None = None, text: str = "") -> SectionsFile:
        """A profile of our own; with a ``text``, like one that is in a folder of others."""
        import uuid  # only where there is a new one: every agent that is asked would have it in memory else

        mac = next((nic.mac for nic in self.nics if nic.name == name), "")
        profile = SectionsFile(f"{OWN_FOLDER}/guestagent-{name}.nmconnection", text)
        if label and not text:
            profile.sections[0].lines.append(f"# Label {label}\n")
        settings = {
            "id": f"guestagent-{name}",
            "uuid": str(uuid.uuid5(uuid.UUID(_NAMES), f"{name} {mac}")),
            "type": ETHERNET[0],
            "interface-name": name,
            "autoconnect-priority": _PRIORITY,
        }
        profile.put("connection", lambda key: key in settings, settings.items())
        self._by_name.setdefault(name, []).append(profile)
        return profile


def uuid_of(profile: SectionsFile | None) -> str:
    """Returns the UUID of a profile, an empty one if there is none."""
    return (profile.get("connection", "uuid") if profile is not None else None) or ""


def priority_of(profile: SectionsFile) -> int:
    """Returns the priority that a profile has among those that connect by themselves."""
    priority = profile.get("connection", "autoconnect-priority") or "0"
    return int(priority) if priority.lstrip("-").isdigit() else 0


def _master(profile: SectionsFile) -> str | None:
    return profile.get("connection", "controller") or profile.get("connection", "master")
