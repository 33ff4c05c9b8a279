"""NetworkManager, by its keyfiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from guestagent_commands_net.backends import FileChange, FileState, Plan, Snapshot, Step, Steps
from guestagent_commands_net.model import VERSIONS, Bond, Change, Interface, Nic, Vlan, merge
from guestagent_commands_net.reading import find_files, read_files
from guestagent_core.errors import CommandError

from .keyfile import ETHERNET, as_read, is_idle, read_profile, write_profile
from .networkmanager_state import IFCFG_PLUGIN, KEYFILE_PLUGIN, Manager
from .probing import Found, claims_of
from .sections import SectionsFile

if TYPE_CHECKING:
    from guestagent_commands_net.backends import Evidence, Files
    from guestagent_core import Context

    from .ifcfg_readers import IfcfgProfile

__all__ = ("NetworkManager",)

_FOLDER = "/etc/NetworkManager/system-connections"
_FOLDERS = (_FOLDER, "/run/NetworkManager/system-connections", "/usr/lib/NetworkManager/system-connections")
_TYPES = (*ETHERNET, "bond", "vlan")
_IFCFG_FOLDER = "/etc/sysconfig/network-scripts"
_MODE = 0o600  # NetworkManager takes no file that others can read, and drops the connection that it was for
_PRIORITY = "999"  # the highest: before every profile that is for any card
_NAMES = "6f8d5a4e-1c0b-4a52-9e6f-2b7a1f3c9d10"  # what the UUIDs of our profiles are made with
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
        manager = Manager(context)
        if not manager.is_installed:
            return {}

        def look(found: Found) -> None:
            profiles = self._profiles(self._files(context), nics)
            found.others |= _of_others(context, nics, manager, profiles)
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
        found = read_files(context, (path for folder in _FOLDERS for path in find_files(context, f"{folder}/*")))
        # No other kind is looked at: they may hold secrets.
        return {path: state for path, state in found.items() if _type(path, state) in _TYPES}

    def read(self, files: Files, nics: Sequence[Nic] = ()) -> tuple[Interface, ...]:
        """Returns the interfaces that have profiles of their own."""
        profiles = self._profiles(files, nics)
        found = (self._read_one(profiles, name) for name in sorted(profiles.names()))
        return tuple(interface for interface in found if interface is not None)

    def _profiles(self, files: Files, nics: Sequence[Nic]) -> _Profiles:
        return _Profiles((_parsed(path, state.content) for path, state in files.items()), nics)

    def _read_one(self, profiles: _Profiles, name: str) -> Interface | None:
        profile = profiles.best(name)
        if profile is None or is_idle(profile):
            return None
        try:
            return read_profile(name, profile, profiles.members(name, profile))
        except ValueError as error:
            raise CommandError(f"{profile.path}: {error}") from None

    def render(self, change: Change, snapshot: Snapshot) -> tuple[FileChange, ...]:
        """Returns the profiles of the change's interfaces that differ."""
        profiles = self._profiles(snapshot.files, snapshot.nics).copy()
        masters = {
            member: interface.name
            for interface in change.interfaces
            if isinstance(interface.link, Bond)
            for member in interface.link.members
        }
        for interface in change.interfaces:
            self._put(profiles, interface, snapshot)
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
            if before is None or before.content != content:
                changes.append(FileChange(profile.path, content, _MODE))
        return tuple(changes)

    def _put(self, profiles: _Profiles, wanted: Interface, snapshot: Snapshot) -> None:
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
            profile = profiles.new(name, interface.label, profile.text() if profile is not None else "")
        profile.set("connection", "autoconnect", None)
        profile.set("connection", "type", _kind(interface, profile))
        write_profile(profile, interface, versions)

    def _take_out(self, profiles: _Profiles, removed: Iterable[str], snapshot: Snapshot) -> list[SectionsFile]:
        """Makes profiles idle; returns those that are gone altogether. A card without any profile would get one that
        NetworkManager makes up, with DHCP.
        """
        gone: list[SectionsFile] = []
        for name in removed:
            here = any(nic.name == name and nic.physical for nic in profiles.nics)
            own = [each for each in profiles.of(name) if each.path.startswith(_FOLDER)]
            if not own and here and snapshot.facts.get(f"uuid {name}"):
                profiles.new(name)  # it has a profile that NetworkManager made up, or that is for any card
            for profile in list(profiles.of(name)):
                if not profile.path.startswith(_FOLDER):
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
        profiles = self._profiles(staged, nics)
        return tuple(
            Step(argv, interface.name, staged[profile.path].content, timeout=10)
            for interface in change.interfaces
            for profile in profiles.of(interface.name)
        )

    def plan(self, change: Change, snapshot: Snapshot, changes: Sequence[FileChange]) -> Plan:
        """Returns what has the profiles read again, and applied to the interfaces of the change."""
        after = dict(snapshot.files)
        for each in changes:
            after.pop(each.path, None)
            if each.content is not None:
                after[each.path] = FileState(each.content, each.mode)
        new, old = self._profiles(after, snapshot.nics), self._profiles(snapshot.files, snapshot.nics)
        reload = Step(("nmcli", "connection", "reload"), timeout=15)
        forward: list[Step] = []
        back: list[Step] = []
        harder: list[Step] = []
        harder_back: list[Step] = []
        for name in sorted((each.name for each in change.interfaces), key=lambda name: _rank(change, name)):
            wanted = _uuid(new.best(name))
            active = snapshot.facts.get(f"uuid {name}") or None
            up = Step(("nmcli", "connection", "up", "uuid", wanted, "ifname", name), name, timeout=30)
            reapply = Step(("nmcli", "device", "reapply", name), name, timeout=15, check=False)
            forward.append(reapply if active == wanted else up)
            harder.append(up)
            former = active or (_uuid(old.best(name)) if old.of(name) else None)
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


def _of_others(context: Context, nics: Sequence[Nic], manager: Manager, profiles: _Profiles) -> set[str]:
    """Returns the cards that NetworkManager leaves to other tools, or knows by the files of another backend."""
    ifcfg = _read_from_ifcfg(context, nics, manager)
    left = _left_to_ifupdown(context, manager)

    def is_of_others(name: str) -> bool:
        device = manager.devices.get(name)
        of_ifcfg = name in ifcfg and _is_preferred(ifcfg[name], profiles.best(name), manager)
        if device is not None and device.is_held:
            path = manager.file_of(name) if ifcfg else ""
            # An old one does not tell by which file.
            by_ifcfg = of_ifcfg if path is None else path.startswith(f"{_IFCFG_FOLDER}/")
            return by_ifcfg or device.profile.startswith(_NETPLAN)
        of_netplan = [_is_netplans(each) for each in profiles.of(name)]
        return of_ifcfg or (bool(of_netplan) and all(of_netplan)) or (name in left and device is None)

    return {nic.name for nic in nics if is_of_others(nic.name)}


def _read_from_ifcfg(context: Context, nics: Sequence[Nic], manager: Manager) -> Mapping[str, IfcfgProfile]:
    """Returns the cards whose profiles it reads from Red Hat's old files, which are another backend's."""
    if not context.path(_IFCFG_FOLDER).is_dir() or IFCFG_PLUGIN not in manager.plugins:
        return {}
    from .ifcfg import Ifcfg

    return Ifcfg().profiles(context, nics)


def _is_preferred(file: IfcfgProfile, profile: SectionsFile | None, manager: Manager) -> bool:
    """Whether it goes by one of Red Hat's files, and not by a profile of its own: the one that is to connect by itself,
    of two the one with the higher priority, of equal ones that of the part which is named first.
    """
    if file.is_left or profile is None:
        return True
    autoconnect = profile.get("connection", "autoconnect") != "false"
    first = manager.plugins.index(IFCFG_PLUGIN) < manager.plugins.index(KEYFILE_PLUGIN)
    return (file.autoconnect, file.priority, first) > (autoconnect, _priority(profile), not first)


def _left_to_ifupdown(context: Context, manager: Manager) -> set[str]:
    """Returns the cards that it keeps its hands off because Debian's file names them; where it runs it says so."""
    if manager.devices or not manager.leaves_to_ifupdown:
        return set()
    from .ifupdown import Ifupdown

    backend = Ifupdown()
    try:
        files = backend.parse(backend.gather(context, ()).files)
    except CommandError:
        return set()  # whoever is to configure a card by it says so
    return {name for file in files.values() for name in file.names()}


class _Profiles:
    """Profiles by the interface that they are for."""

    def __init__(self, profiles: Iterable[SectionsFile], nics: Sequence[Nic]) -> None:
        self.nics = nics
        self._by_name: dict[str | None, list[SectionsFile]] = {}
        for profile in profiles:
            self._by_name.setdefault(self._interface_of(profile), []).append(profile)

    def __iter__(self) -> Iterator[SectionsFile]:
        return (profile for profiles in self._by_name.values() for profile in profiles)

    def copy(self) -> _Profiles:
        return _Profiles((profile.copy() for profile in self), self.nics)

    def names(self) -> set[str]:
        return {name for name in self._by_name if name is not None}

    def of(self, name: str) -> list[SectionsFile]:
        return self._by_name.get(name, [])

    def remove(self, profile: SectionsFile) -> None:
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
                bool(active) and _uuid(profile) == active,
                profile.get("connection", "autoconnect") != "false",
                _priority(profile),
                profile.path.startswith(_FOLDER),
            )

        return max(self.of(name), key=order, default=None)

    def members(self, name: str, bond: SectionsFile) -> list[str]:
        """The interfaces whose profiles make them part of ``bond``."""
        if bond.get("connection", "type") != "bond":
            return []
        own = {name, *(_uuid(profile) for profile in self.of(name))}
        return [
            member
            for member, profiles in self._by_name.items()
            if member is not None and any(_master(profile) in own for profile in profiles)
        ]

    def new(self, name: str, label: str | None = None, text: str = "") -> SectionsFile:
        """A profile of our own; with a ``text``, like one that is in a folder of others."""
        import uuid  # only where there is a new one: every agent that is asked would have it in memory else

        mac = next((nic.mac for nic in self.nics if nic.name == name), "")
        profile = SectionsFile(f"{_FOLDER}/guestagent-{name}.nmconnection", text)
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


@lru_cache(maxsize=256)  # profiles; each step of a change asks for the same ones
def _parsed(path: str, content: bytes) -> SectionsFile:
    try:
        return SectionsFile(path, content.decode())
    except UnicodeDecodeError:
        raise CommandError(f"{path}: it is not UTF-8 text") from None


def _type(path: str, state: FileState) -> str | None:
    try:
        return SectionsFile(path, state.content.decode(errors="replace")).get("connection", "type")
    except CommandError:
        return None  # NetworkManager does not take it either


def _master(profile: SectionsFile) -> str | None:
    return profile.get("connection", "controller") or profile.get("connection", "master")


def _free(profile: SectionsFile) -> None:
    """Takes a card out of the bond that its profile makes it part of."""
    profile.put("connection", lambda key: key in ("master", "controller", "slave-type", "port-type"), ())


def _rank(change: Change, name: str) -> int:
    """What others are made of comes first: cards, bonds, VLANs."""
    link = next(each.link for each in change.interfaces if each.name == name)
    return 0 if link is None else 1 if isinstance(link, Bond) else 2


def _priority(profile: SectionsFile) -> int:
    priority = profile.get("connection", "autoconnect-priority") or "0"
    return int(priority) if priority.lstrip("-").isdigit() else 0


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
