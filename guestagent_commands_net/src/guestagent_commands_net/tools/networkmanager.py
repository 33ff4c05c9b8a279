"""NetworkManager, by its keyfiles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from guestagent_commands_net.backends import FileChange, FileState, Plan, Snapshot, Step, Steps, apply_changes
from guestagent_commands_net.model import VERSIONS, Bond, Change, Interface, Nic, Vlan, merge
from guestagent_commands_net.reading import find_files, read_files
from guestagent_core.errors import CommandError

from .networkmanager_others import cards_of_others
from .networkmanager_profiles import ETHERNET, OWN_FOLDER, Profiles, uuid_of
from .networkmanager_state import Manager
from .probing import Found, claims_of
from .sections import SectionsFile

if TYPE_CHECKING:
    from guestagent_commands_net.backends import Evidence, Files
    from guestagent_core import Context

__all__ = ("NetworkManager",)

_FOLDERS = (OWN_FOLDER, "/run/NetworkManager/system-connections", "/usr/lib/NetworkManager/system-connections")
_TYPES = (*ETHERNET, "bond", "vlan")
_IGNORED = re.compile(r"\.|.*(?:~|\.pem|\.der|\.swpx?|\.[A-Za-z0-9]{6})\Z")
"""What NetworkManager takes for no profile: hidden files, editors' copies, keys, and what is half-written."""
_MODE = 0o600  # NetworkManager takes no file that others can read, and drops the connection that it was for


class NetworkManager:
    """The backend ``networkmanager``.

    A card's profile is changed where it is, and keeps its UUID, so that it can be applied without taking the interface
    down. Profiles that are for any card are left alone; ours go first.
    """

    name = "networkmanager"
    priority = 20
    writes_resolv_conf = True

    def probe(self, context: Context, nics: Sequence[Nic]) -> Mapping[str, Evidence]:
        """Returns what NetworkManager has connected, what its files name, and what it would connect."""
        manager = Manager(context)
        if not manager.is_installed:
            return {}

        def look(found: Found) -> None:
            profiles = Profiles.of_files(self._files(context), nics)
            found.others |= cards_of_others(context, nics, manager, profiles)
            for name in (nic.name for nic in nics):
                device, of_nic = manager.devices.get(name), profiles.of(name)
                if device is not None and device.is_held:
                    found.holds[name] = f"NetworkManager has it {device.state} by {device.profile!r}"
                elif device is not None and device.is_unmanaged:
                    if of_nic:
                        found.unused[name] = f"{of_nic[0].path} is for it, but NetworkManager has it as unmanaged"
                    else:
                        found.others.add(name)
                elif of_nic:
                    found.names[name] = f"{of_nic[0].path} is for it"

        started = "NetworkManager is at work" if manager.at_work else None
        return claims_of(nics, look, started=started, idle="NetworkManager is not at work")

    def gather(self, context: Context, nics: Sequence[Nic]) -> Snapshot:
        """Returns the profiles of cards, bonds and VLANs, and which one each interface has at present."""
        facts: dict[str, str] = {}
        for name, device in Manager(context).devices.items():
            facts[f"state {name}"] = device.state
            facts[f"uuid {name}"] = device.uuid
            facts[f"profile {name}"] = device.profile
        return Snapshot(self._files(context), facts, tuple(nics))

    def _files(self, context: Context) -> dict[str, FileState]:
        paths = (path for folder in _FOLDERS for path in find_files(context, f"{folder}/*"))
        found = read_files(context, (path for path in paths if not _IGNORED.match(path.rpartition("/")[2])))
        # No other kind is looked at: they may hold secrets.
        return {path: state for path, state in found.items() if _type(path, state) in _TYPES}

    def read(self, files: Files, nics: Sequence[Nic] = ()) -> tuple[Interface, ...]:
        """Returns the interfaces that have profiles of their own."""
        profiles = Profiles.of_files(files, nics)
        found = (self._read_one(profiles, name) for name in sorted(profiles.names()))
        return tuple(interface for interface in found if interface is not None)

    def _read_one(self, profiles: Profiles, name: str) -> Interface | None:
        from .keyfile import is_idle, read_profile

        profile = profiles.best(name)
        if profile is None or is_idle(profile):
            return None
        try:
            return read_profile(name, profile, profiles.members(name, profile))
        except ValueError as error:
            raise CommandError(f"{profile.path}: {error}") from None

    def render(self, change: Change, snapshot: Snapshot) -> tuple[FileChange, ...]:
        """Returns the profiles of the change's interfaces that differ."""
        profiles = Profiles.of_files(snapshot.files, snapshot.nics).copy()
        masters = {
            member: interface.name
            for interface in change.interfaces
            if isinstance(interface.link, Bond)
            for member in interface.link.members
        }
        configured = {self._put(profiles, interface, snapshot).path for interface in change.interfaces}
        for member, master in masters.items():
            active = snapshot.facts.get(f"uuid {member}")
            profile = profiles.best(member, active) or profiles.new(member)
            profile.put("connection", lambda key: key in ("master", "controller"), (("master", master),))
            profile.put("connection", lambda key: key in ("slave-type", "port-type"), (("slave-type", "bond"),))
        for interface in change.interfaces:
            if interface.name not in masters and not interface.partial:
                for profile in profiles.of(interface.name):
                    _free(profile)
        changes = [FileChange(profile.path, None) for profile in self._take_out(profiles, change.removed, snapshot)]
        for profile in profiles:
            before = snapshot.files.get(profile.path)
            content = profile.text().encode()
            shown = before is not None and profile.path in configured and before.mode & 0o077
            if before is None or before.content != content or shown:
                changes.append(FileChange(profile.path, content, _MODE))
        return tuple(changes)

    def _put(self, profiles: Profiles, wanted: Interface, snapshot: Snapshot) -> SectionsFile:
        from .keyfile import as_read, is_idle, read_profile, write_profile

        name = wanted.name
        profile = profiles.best(name, snapshot.facts.get(f"uuid {name}"))
        current: Interface | None = None
        if profile is not None and not is_idle(profile):
            try:
                current = read_profile(name, profile, profiles.members(name, profile))
            except ValueError as error:
                if wanted.partial:
                    raise CommandError(f"{profile.path}: {error}") from None
        interface = merge(current, wanted)
        for other in profiles.of(name):
            copied = uuid_of(other) == uuid_of(profile)  # of copies of a file NetworkManager takes the newest
            if other is not profile and other.path.startswith(OWN_FOLDER) and not copied:
                other.set("connection", "autoconnect", "false")  # two would take turns
        if profile is not None and profile.path.startswith(OWN_FOLDER) and current == as_read(interface):
            if profile.get("connection", "autoconnect") == "false":
                profile.set("connection", "autoconnect", None)
            return profile
        versions: Sequence[int] = VERSIONS
        if wanted.partial and current is not None and current.dns.search == interface.dns.search:
            versions = wanted.versions
        if profile is None or not profile.path.startswith(OWN_FOLDER):
            profile = profiles.new(name, interface.label, profile.text() if profile is not None else "")
        profile.set("connection", "autoconnect", None)
        profile.set("connection", "type", _kind(interface, profile))
        write_profile(profile, interface, versions)
        return profile

    def _take_out(self, profiles: Profiles, removed: Iterable[str], snapshot: Snapshot) -> list[SectionsFile]:
        """Makes profiles idle; returns those that are gone altogether. A card without any profile would get one that
        NetworkManager makes up, with DHCP.
        """
        from .keyfile import is_idle, write_profile

        gone: list[SectionsFile] = []
        for name in removed:
            here = any(nic.name == name and nic.physical for nic in profiles.nics)
            own = [each for each in profiles.of(name) if each.path.startswith(OWN_FOLDER)]
            if not own and here and snapshot.facts.get(f"uuid {name}"):
                profiles.new(name)  # it has a profile that NetworkManager made up, or that is for any card
            for profile in list(profiles.of(name)):
                if not profile.path.startswith(OWN_FOLDER):
                    continue
                if not here or profile.get("connection", "type") not in ETHERNET:
                    gone.append(profile)
                    profiles.remove(profile)
                elif not is_idle(profile):
                    profile.set("connection", "autoconnect", "false")
                    _free(profile)
                    write_profile(profile, Interface(name), VERSIONS)
        return gone

    def validate(self, change: Change, staged: Files, folder: str) -> tuple[Step, ...]:
        """Returns ``nmcli --offline``, which reads each profile as NetworkManager would."""
        argv = ("nmcli", "--offline", "connection", "modify", "connection.autoconnect", "yes")
        nics = tuple(Nic(each.name, each.mac) for each in change.interfaces if each.mac)
        profiles = Profiles.of_files(staged, nics)
        return tuple(
            Step(argv, interface.name, staged[profile.path].content, timeout=10)
            for interface in change.interfaces
            for profile in profiles.of(interface.name)
        )

    def plan(self, change: Change, snapshot: Snapshot, changes: Sequence[FileChange]) -> Plan:
        """Returns what has the profiles read again, and applied to the interfaces of the change."""
        after = apply_changes(snapshot.files, changes)
        new, old = Profiles.of_files(after, snapshot.nics), Profiles.of_files(snapshot.files, snapshot.nics)
        reload = Step(("nmcli", "connection", "reload"), timeout=15)
        forward: list[Step] = []
        back: list[Step] = []
        harder: list[Step] = []
        harder_back: list[Step] = []
        for name in sorted((each.name for each in change.interfaces), key=lambda name: _rank(change, name)):
            wanted = uuid_of(new.best(name))
            active = snapshot.facts.get(f"uuid {name}") or None
            up = Step(("nmcli", "connection", "up", "uuid", wanted, "ifname", name), name, timeout=30)
            reapply = Step(("nmcli", "device", "reapply", name), name, timeout=15, check=False)
            forward.append(reapply if active == wanted else up)
            harder.append(up)
            former = active or (uuid_of(old.best(name)) if old.of(name) else None)
            if former == wanted:
                back.append(reapply)
            elif former is not None:
                back.append(replace(up, argv=("nmcli", "connection", "up", "uuid", former, "ifname", name)))
            else:
                back.append(Step(("nmcli", "device", "disconnect", name), name, timeout=15, check=False))
            harder_back.append(Step(("nmcli", "device", "connect", name), name, timeout=30))
        for name in change.removed:
            forward.append(Step(("nmcli", "device", "disconnect", name), name, timeout=15, check=False))
            back.append(Step(("nmcli", "device", "connect", name), name, timeout=30, check=False))
        return Plan(
            Steps((), (reload, *forward), tuple(harder)),
            Steps((), (reload, *back), tuple(harder_back)),
        )


def _type(path: str, state: FileState) -> str | None:
    try:
        return SectionsFile(path, state.content.decode(errors="replace")).get("connection", "type")
    except CommandError:
        return None  # NetworkManager does not take it either


def _free(profile: SectionsFile) -> None:
    """Takes a card out of the bond that its profile makes it part of."""
    profile.put("connection", lambda key: key in ("master", "controller", "slave-type", "port-type"), ())


def _rank(change: Change, name: str) -> int:
    """What others are made of comes first: cards, bonds, VLANs."""
    link = next(each.link for each in change.interfaces if each.name == name)
    return 0 if link is None else 1 if isinstance(link, Bond) else 2


def _kind(interface: Interface, profile: SectionsFile) -> str:
    if isinstance(interface.link, Vlan):
        return "vlan"
    if isinstance(interface.link, Bond):
        return "bond"
    there = profile.get("connection", "type")
    return there if there in ETHERNET else ETHERNET[0]
