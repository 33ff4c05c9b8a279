"""NetworkManager, by its keyfiles."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_core.errors import CommandError

from .backends import Claim, Evidence, FileChange, FileState, Plan, Snapshot, Step, Steps
from .keyfile import ETHERNET, as_read, is_idle, read_profile, write_profile
from .model import VERSIONS, Bond, Change, Interface, Nic, Vlan, merge
from .reading import find_files, program, read_file
from .sections import SectionsFile

if TYPE_CHECKING:
    from guestagent_core import Context

    from .backends import Files

__all__ = ("NetworkManager",)

_FOLDER = "/etc/NetworkManager/system-connections"
_FOLDERS = (_FOLDER, "/run/NetworkManager/system-connections", "/usr/lib/NetworkManager/system-connections")
_TYPES = (*ETHERNET, "bond", "vlan")
_MODE = 0o600  # NetworkManager takes no file that others can read, and drops the connection that it was for
_PRIORITY = "999"  # the highest: before every profile that is for any card
_NAMES = uuid.UUID("6f8d5a4e-1c0b-4a52-9e6f-2b7a1f3c9d10")  # what the UUIDs of our profiles are made with
_NETPLAN = "netplan-"  # how netplan names the profiles that it writes


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
        if program(context, "NetworkManager") is None or program(context, "nmcli") is None:
            return {}
        snapshot = self.gather(context, nics)
        profiles = self._profiles(snapshot.files)
        found: dict[str, Evidence] = {}
        for nic in nics:
            state = snapshot.facts.get(f"state {nic.name}", "")
            profile = snapshot.facts.get(f"profile {nic.name}", "")
            of_nic = _of(profiles, nic.name, nics)
            if profile.startswith(_NETPLAN) or (of_nic and all(_is_netplans(each) for each in of_nic)):
                continue  # netplan's
            if state == "unmanaged":
                continue
            if state == "connected" or state.startswith("connecting"):
                found[nic.name] = Evidence(Claim.MANAGES, f"NetworkManager has it {state} by {profile!r}")
            elif of_nic:
                found[nic.name] = Evidence(Claim.CONFIGURED, f"{of_nic[0].path} is for it")
            else:
                found[nic.name] = Evidence(Claim.COULD, "NetworkManager is installed")
        return found

    def gather(self, context: Context, nics: Sequence[Nic]) -> Snapshot:
        """Returns the profiles of cards, bonds and VLANs, and which one each interface has at present."""
        files: dict[str, FileState] = {}
        for folder in _FOLDERS:
            for path in find_files(context, f"{folder}/*"):
                state = read_file(context, path)
                # No other kind is looked at: they may hold secrets.
                if state is not None and _type(path, state) in _TYPES:
                    files[path] = state
        facts: dict[str, str] = {}
        if context.root == Path("/") and context.path("/run/NetworkManager").is_dir():
            fields = "DEVICE,STATE,CON-UUID,CONNECTION"
            argv = ("nmcli", "--terse", "--escape", "no", "--fields", fields, "device")
            done = context.run(argv, timeout=10, check=False)
            for line in done.stdout.decode(errors="replace").splitlines():
                device, state_text, identifier, profile = (*line.split(":", 3), "", "", "", "")[:4]
                facts[f"state {device}"] = state_text
                facts[f"uuid {device}"] = identifier
                facts[f"profile {device}"] = profile
        return Snapshot(files, facts, tuple(nics))

    def read(self, files: Files, nics: Sequence[Nic] = ()) -> tuple[Interface, ...]:
        """Returns the interfaces that have profiles of their own."""
        profiles = self._profiles(files)
        names = {name for profile in profiles for name in [_interface_of(profile, nics)] if name}
        found = (self._read_one(profiles, name, nics) for name in sorted(names))
        return tuple(interface for interface in found if interface is not None)

    def _profiles(self, files: Files) -> list[SectionsFile]:
        return [SectionsFile(path, _decoded(path, state)) for path, state in files.items()]

    def _read_one(self, profiles: Sequence[SectionsFile], name: str, nics: Sequence[Nic]) -> Interface | None:
        profile = _best(profiles, name, nics, None)
        if profile is None or is_idle(profile):
            return None
        try:
            return read_profile(name, profile, _members(profiles, name, nics))
        except ValueError as error:
            raise CommandError(f"{profile.path}: {error}") from None

    def render(self, change: Change, snapshot: Snapshot) -> tuple[FileChange, ...]:
        """Returns the profiles of the change's interfaces that differ."""
        profiles = self._profiles(snapshot.files)
        nics = snapshot.nics
        masters = {
            member: interface.name
            for interface in change.interfaces
            if isinstance(interface.link, Bond)
            for member in interface.link.members
        }
        for interface in change.interfaces:
            self._put(profiles, interface, snapshot)
        for member, master in masters.items():
            profile = _best(profiles, member, nics, snapshot.facts.get(f"uuid {member}")) or _new(
                profiles, member, nics
            )
            profile.put("connection", lambda key: key in ("master", "controller"), (("master", master),))
            profile.put("connection", lambda key: key in ("slave-type", "port-type"), (("slave-type", "bond"),))
        for interface in change.interfaces:
            if interface.name not in masters and not interface.partial:
                for profile in _of(profiles, interface.name, nics):
                    profile.put("connection", lambda key: key in _PORT, ())
        gone = self._take_out(profiles, change.removed, nics)
        changes = [FileChange(profile.path, None) for profile in gone]
        for profile in profiles:
            content = profile.text().encode()
            before = snapshot.files.get(profile.path)
            if before is None or before.content != content:
                changes.append(_written(profile, content))
        return tuple(changes)

    def _put(self, profiles: list[SectionsFile], wanted: Interface, snapshot: Snapshot) -> None:
        nics, name = snapshot.nics, wanted.name
        profile = _best(profiles, name, nics, snapshot.facts.get(f"uuid {name}"))
        current: Interface | None = None
        if profile is not None and not is_idle(profile):
            try:
                current = read_profile(name, profile, _members(profiles, name, nics))
            except ValueError as error:
                if wanted.partial:
                    raise CommandError(f"{profile.path}: {error}") from None
        interface = merge(current, wanted)
        for other in _of(profiles, name, nics):
            if other is not profile and other.path.startswith(_FOLDER):
                other.set("connection", "autoconnect", "false")  # two would take turns
        if profile is not None and profile.path.startswith(_FOLDER) and current == as_read(interface):
            if profile.get("connection", "autoconnect") == "false":
                profile.set("connection", "autoconnect", None)
            return
        versions: Sequence[int] = VERSIONS
        if wanted.partial and current is not None and current.dns.search == interface.dns.search:
            versions = wanted.versions
        if profile is None or not profile.path.startswith(_FOLDER):
            text = profile.text() if profile is not None else ""
            profile = _new(profiles, name, nics, interface, text)
        profile.set("connection", "autoconnect", None)
        profile.set("connection", "type", _kind(interface, profile))
        write_profile(profile, interface, versions)

    def _take_out(
        self, profiles: list[SectionsFile], removed: Iterable[str], nics: Sequence[Nic]
    ) -> list[SectionsFile]:
        """Makes profiles idle; returns those that are gone altogether. A card without any profile would get one that
        NetworkManager makes up, with DHCP.
        """
        gone: list[SectionsFile] = []
        for name in removed:
            for profile in _of(profiles, name, nics):
                here = any(nic.name == name and nic.physical for nic in nics)
                if not profile.path.startswith(_FOLDER):
                    continue
                if not here or profile.get("connection", "type") not in ETHERNET:
                    gone.append(profile)
                    profiles.remove(profile)
                elif not is_idle(profile):
                    profile.set("connection", "autoconnect", "false")
                    profile.put("connection", lambda key: key in _PORT, ())
                    write_profile(profile, Interface(name), VERSIONS)
        return gone

    def validate(self, change: Change, staged: Files, folder: str) -> tuple[Step, ...]:
        """Returns ``nmcli --offline``, which reads each profile as NetworkManager would."""
        argv = ("nmcli", "--offline", "connection", "modify", "connection.autoconnect", "yes")
        nics = tuple(Nic(each.name, each.mac) for each in change.interfaces if each.mac)
        profiles = self._profiles(staged)
        return tuple(
            Step(argv, interface.name, staged[profile.path].content, timeout=10)
            for interface in change.interfaces
            for profile in _of(profiles, interface.name, nics)
        )

    def plan(self, change: Change, snapshot: Snapshot, changes: Sequence[FileChange]) -> Plan:
        """Returns what has the profiles read again, and applied to the interfaces of the change."""
        after = dict(snapshot.files)
        for each in changes:
            after.pop(each.path, None)
            if each.content is not None:
                after[each.path] = FileState(each.content, each.mode)
        new, old = self._profiles(after), self._profiles(snapshot.files)
        reload = Step(("nmcli", "connection", "reload"), timeout=15)
        forward: list[Step] = []
        back: list[Step] = []
        harder: list[Step] = []
        harder_back: list[Step] = []
        for name in sorted((each.name for each in change.interfaces), key=lambda name: _rank(change, name)):
            wanted = _uuid(_best(new, name, snapshot.nics, None))
            active = snapshot.facts.get(f"uuid {name}") or None
            up = Step(("nmcli", "connection", "up", "uuid", wanted, "ifname", name), name, timeout=30)
            reapply = Step(("nmcli", "device", "reapply", name), name, timeout=15, check=False)
            forward.append(reapply if active == wanted else up)
            harder.append(up)
            former = active or (_uuid(_best(old, name, snapshot.nics, None)) if _of(old, name, snapshot.nics) else None)
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


_PORT = ("master", "controller", "slave-type", "port-type")


def _rank(change: Change, name: str) -> int:
    """What others are made of comes first: cards, bonds, VLANs."""
    link = next(each.link for each in change.interfaces if each.name == name)
    return 0 if link is None else 1 if isinstance(link, Bond) else 2


def _decoded(path: str, state: FileState) -> str:
    try:
        return state.content.decode()
    except UnicodeDecodeError:
        raise CommandError(f"{path}: it is not UTF-8 text") from None


def _type(path: str, state: FileState) -> str | None:
    try:
        return SectionsFile(path, state.content.decode(errors="replace")).get("connection", "type")
    except CommandError:
        return None  # NetworkManager does not take it either


def _interface_of(profile: SectionsFile, nics: Sequence[Nic]) -> str | None:
    """The interface that a profile is for; None: any."""
    name = profile.get("connection", "interface-name")
    if name:
        return name
    mac = next(
        (profile.get(section, "mac-address") for section in ETHERNET if profile.get(section, "mac-address")), None
    )
    return next((nic.name for nic in nics if mac and nic.mac == mac.lower() and nic.physical), None)


def _of(profiles: Iterable[SectionsFile], name: str, nics: Sequence[Nic]) -> list[SectionsFile]:
    return [profile for profile in profiles if _interface_of(profile, nics) == name]


def _best(profiles: Iterable[SectionsFile], name: str, nics: Sequence[Nic], active: str | None) -> SectionsFile | None:
    """The profile that an interface has, or gets when it is connected the next time."""

    def order(profile: SectionsFile) -> tuple[bool, bool, int, bool]:
        priority = profile.get("connection", "autoconnect-priority") or "0"
        return (
            active is not None and _uuid(profile) == active,
            profile.get("connection", "autoconnect") != "false",
            int(priority) if priority.lstrip("-").isdigit() else 0,
            profile.path.startswith(_FOLDER),
        )

    return max(_of(profiles, name, nics), key=order, default=None)


def _members(profiles: Sequence[SectionsFile], name: str, nics: Sequence[Nic]) -> list[str]:
    own = {name, *(_uuid(profile) for profile in _of(profiles, name, nics))}
    found = []
    for profile in profiles:
        master = profile.get("connection", "controller") or profile.get("connection", "master")
        member = _interface_of(profile, nics)
        if master in own and member is not None and member not in found:
            found.append(member)
    return found


def _uuid(profile: SectionsFile | None) -> str:
    return (profile.get("connection", "uuid") if profile is not None else None) or ""


def _is_netplans(profile: SectionsFile) -> bool:
    return profile.path.rpartition("/")[2].startswith(_NETPLAN)


def _kind(interface: Interface, profile: SectionsFile) -> str:
    if isinstance(interface.link, Vlan):
        return "vlan"
    if isinstance(interface.link, Bond):
        return "bond"
    there = profile.get("connection", "type")
    return there if there in ETHERNET else ETHERNET[0]


def _new(
    profiles: list[SectionsFile], name: str, nics: Sequence[Nic], interface: Interface | None = None, text: str = ""
) -> SectionsFile:
    """A profile of our own, added to the others; like the one that an interface has in a folder that is not ours."""
    mac = next((nic.mac for nic in nics if nic.name == name), "")
    profile = SectionsFile(f"{_FOLDER}/guestagent-{name}.nmconnection", text)
    label = interface.label if interface is not None else None
    if label and not text:
        profile.sections[0].lines.append(f"# Label {label}\n")
    settings = (
        ("id", f"guestagent-{name}"),
        ("uuid", str(uuid.uuid5(_NAMES, f"{name} {mac}"))),
        ("type", ETHERNET[0]),
        ("interface-name", name),
        ("autoconnect-priority", _PRIORITY),
    )
    profile.put("connection", lambda key: key in dict(settings), settings)
    profiles.append(profile)
    return profile


def _written(profile: SectionsFile, content: bytes) -> FileChange:
    return FileChange(profile.path, content, _MODE)
