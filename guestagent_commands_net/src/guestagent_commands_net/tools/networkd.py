"""systemd-networkd, where nobody writes its files but us."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from guestagent_commands_net.backends import FileChange, Plan, Snapshot, Step, Steps
from guestagent_commands_net.model import VERSIONS, Bond, Change, Interface, Nic, Vlan, merge
from guestagent_commands_net.reading import find_files, program, read_files, read_text
from guestagent_core.errors import CommandError

from .networkd_form import is_idle, make_idle, read_device, read_network, write_device, write_network
from .probing import Found, claims_of
from .sections import SectionsFile, parsed_file
from .services import networkd_facts, started_by

if TYPE_CHECKING:
    from guestagent_commands_net.backends import Evidence, Files
    from guestagent_core import Context

__all__ = ("Networkd",)

_OWN = "/etc/systemd/network"
_FOLDERS = (_OWN, "/run/systemd/network", "/usr/local/lib/systemd/network", "/usr/lib/systemd/network",
            "/lib/systemd/network")  # fmt: skip  # the strongest first
_PREFIXES = ("10-guestagent-", "00-guestagent-", "0-guestagent-", "!guestagent-")  # the first that fits is seen is used
_LINKS = "/run/systemd/netif/links"
_NETPLAN = "/run/systemd/network/10-netplan-"
_CONTAINERS = ("80-container-", "80-vm-", "80-namespace-")
_SERVICE = "systemd-networkd"
_NO_KIND = ["!*"]
"""What ``Kind`` is where a file is for cards, and for nothing that software makes."""


class Networkd:
    """The backend ``networkd``.

    The file that is for a card alone is changed where it is. A card that fits a pattern only gets a file of its own
    that is seen before the one with the pattern.
    """

    name = "networkd"
    priority = 30
    writes_resolv_conf = False
    """It hands name servers to systemd-resolved; where that runs, ``/etc/resolv.conf`` is a link."""

    def probe(self, context: Context, nics: Sequence[Nic]) -> Mapping[str, Evidence]:
        """Returns what networkd has in its hands by files that are not netplan's, and what its files name."""
        if program(context, "networkctl") is None:
            return {}
        live = networkd_facts(context).get("networkd") == "active"
        link = started_by(context, _SERVICE)
        started = "systemd-networkd runs" if live else None if link is None else f"{link} starts systemd-networkd"

        def look(found: Found) -> None:
            files = _Files(self.gather(context, nics).files, nics)
            for name in (nic.name for nic in nics):
                used = _network_file(context, name) if live else ""
                fitting = next((each for each in files.networks() if files.fits(each, name)), None)
                by = used or ("" if live or fitting is None else fitting.path)
                if by.startswith(_NETPLAN) or by.rpartition("/")[2].startswith(_CONTAINERS):
                    found.others.add(name)  # netplan's, or of containers and machines of this machine
                elif used:
                    found.holds[name] = f"systemd-networkd has it by {used}"
                elif fitting is not None and not is_idle(fitting):
                    own = files.of(name)
                    found.names[name] = f"{fitting.path} fits it" if own is None else f"{own.path} is for it"

        return claims_of(nics, look, started=started, idle=f"{_SERVICE} is not started: enable it")

    def gather(self, context: Context, nics: Sequence[Nic]) -> Snapshot:
        """Returns the ``.network`` and ``.netdev`` files of all folders, and whether networkd runs."""
        patterns = (f"{folder}/*.{end}" for folder in _FOLDERS for end in ("network", "netdev"))
        paths = (path for pattern in patterns for path in find_files(context, pattern))
        return Snapshot(read_files(context, paths), networkd_facts(context), tuple(nics))

    def read(self, files: Files, nics: Sequence[Nic] = ()) -> tuple[Interface, ...]:
        """Returns the interfaces that have a file of their own."""
        known = _Files(files, nics)
        found = (self._read_one(known, name) for name in sorted(known.names()))
        return tuple(interface for interface in found if interface is not None)

    def _read_one(self, files: _Files, name: str) -> Interface | None:
        network = files.of(name)
        if network is None or is_idle(network):
            return None
        try:
            return read_network(name, network, files.link(name))
        except ValueError as error:
            raise CommandError(f"{network.path}: {error}") from None

    def render(self, change: Change, snapshot: Snapshot) -> tuple[FileChange, ...]:
        """Returns the files of the change's interfaces, and of those that they are made of."""
        files = _Files(snapshot.files, snapshot.nics).copy()
        before = {name: files.link(name) for name in files.names()}
        bonds = {
            member: each.name
            for each in change.interfaces
            if isinstance(each.link, Bond)
            for member in each.link.members
        }
        for interface in change.interfaces:
            self._put(files, interface, bonds.get(interface.name))
        for interface in change.interfaces:
            if isinstance(interface.link, Vlan):
                parent = files.of(interface.link.parent) or files.new(interface.link.parent)
                _add(parent, "VLAN", interface.name)
            for member in interface.link.members if isinstance(interface.link, Bond) else ():
                _add(files.of(member) or files.new(member), "Bond", interface.name)
        gone: list[SectionsFile] = []
        for name in change.removed:
            gone += self._take_out(files, name, before.get(name))
        changes = [FileChange(file.path, None) for file in gone]
        for file in files.all():
            content = file.text().encode()
            there = snapshot.files.get(file.path)
            if there is None or there.content != content:
                changes.append(FileChange(file.path, content))
        return tuple(changes)

    def _put(self, files: _Files, wanted: Interface, in_bond: str | None) -> None:
        name = wanted.name
        network = files.of(name)
        try:
            current = self._read_one(files, name)
        except CommandError:
            if wanted.partial:
                raise
            current = None
        interface = merge(current, wanted)
        if interface.link is not None and (current is None or current.link != interface.link):
            write_device(files.device(name) or files.new(name, "netdev"), interface)
        if current == interface and network is not None and (in_bond is None or in_bond in _values(network, "Bond")):
            return
        if network is None or not network.path.startswith(f"{_OWN}/"):
            text = network.text() if network is not None else ""
            network = files.new(name, text=text, label=interface.label)
        versions: Sequence[int] = VERSIONS
        if wanted.partial and current is not None:
            versions = wanted.versions
        bond: str | bool = in_bond or (wanted.partial and next(iter(_values(network, "Bond")), False))
        write_network(network, interface, versions, _values(network, "VLAN"), bond)

    def _take_out(self, files: _Files, name: str, link: Vlan | Bond | None) -> Iterator[SectionsFile]:
        """Gives the files that go. A card that a pattern fits gets a file that keeps networkd away from it."""
        network, device = files.of(name), files.device(name)
        if device is not None and device.path.startswith(f"{_OWN}/"):
            yield device
            files.remove(device)
        if network is not None and network.path.startswith(f"{_OWN}/"):
            others = [each for each in files.networks() if each is not network and files.fits(each, name)]
            if link is None and others and files.is_here(name):
                make_idle(network)
            else:
                yield network
                files.remove(network)
        elif link is None and files.is_here(name) and any(files.fits(each, name) for each in files.networks()):
            make_idle(files.new(name))
        for each in files.networks():
            for key in ("VLAN", "Bond"):
                values = _values(each, key)
                if name in values:
                    left = [(key, value) for value in values if value != name]
                    each.put("Network", lambda found, key=key: found == key, left)  # type: ignore[misc]

    def validate(self, change: Change, staged: Files, folder: str) -> tuple[Step, ...]:
        """Returns nothing: networkd has no way to check a file. What is written is read back instead, by everyone."""
        return ()

    def plan(self, change: Change, snapshot: Snapshot, changes: Sequence[FileChange]) -> Plan:
        """Returns what has networkd read its files again: it touches nothing but what differs."""
        files = _Files(snapshot.files, snapshot.nics)
        before = {name for name in files.names() if (network := files.of(name)) is not None and not is_idle(network)}
        wanted = [interface.name for interface in change.interfaces]
        back = [name for name in change.names if name in before]
        made = {interface.name for interface in change.interfaces if interface.link is not None}
        made |= {name for name in before if files.link(name) is not None}
        fresh = [name for name in wanted if name not in before]
        return Plan(
            _steps(wanted, change.removed, made, snapshot.facts.get("networkd") == "active"),
            _steps(back, fresh, made, snapshot.facts.get("networkd") == "active"),
        )


def _steps(there: Iterable[str], gone: Iterable[str], made: set[str], runs: bool) -> Steps:
    again = ("networkctl", "reload") if runs else ("systemctl", "restart", "systemd-networkd.service")
    after = [Step(again, timeout=20)]
    for name in gone:
        # It lets go of what it has no file for, and leaves behind what it has put there.
        verbs = [("link", "delete", name)] if name in made else [
            ("addr", "flush", "dev", name, "scope", "global"), ("link", "set", "dev", name, "down")]  # fmt: skip
        after += [Step(("ip", *verb), name, timeout=5, check=False) for verb in verbs]
    harder = tuple(Step(("networkctl", "reconfigure", name), name, timeout=15) for name in there)
    return Steps((), tuple(after), harder)


class _Files:
    """Files by the interface that they are for, those of the strongest folder only."""

    def __init__(self, files: Files, nics: Sequence[Nic], *, parsed: Iterable[SectionsFile] = ()) -> None:
        self._nics = nics
        self._hidden: list[SectionsFile] = []
        chosen: dict[str, SectionsFile] = {}
        for folder in reversed(_FOLDERS):
            for path, state in files.items():
                if path.startswith(f"{folder}/") and path.endswith((".network", ".netdev")):
                    chosen[path.rpartition("/")[2]] = parsed_file(path, state.content)
        self._files = {**chosen, **{each.path.rpartition("/")[2]: each for each in parsed}}
        self._index()

    def _index(self) -> None:
        self._networks = [self._files[name] for name in sorted(self._files) if name.endswith(".network")]
        self._own: dict[str, SectionsFile] = {}
        for network in self._networks:
            name = self._only(network)
            if name is not None:
                self._own.setdefault(name, network)
        self._devices = {
            device.get("NetDev", "Name") or "": device
            for each, device in self._files.items()
            if each.endswith(".netdev")
        }

    def copy(self) -> _Files:
        return _Files({}, self._nics, parsed=[file.copy() for file in self._files.values()])

    def all(self) -> list[SectionsFile]:
        return list(self._files.values())

    def networks(self) -> list[SectionsFile]:
        return self._networks

    def names(self) -> list[str]:
        return list(self._own)

    def of(self, name: str) -> SectionsFile | None:
        return self._own.get(name)

    def device(self, name: str) -> SectionsFile | None:
        return self._devices.get(name)

    def is_here(self, name: str) -> bool:
        return any(nic.name == name and nic.physical for nic in self._nics)

    def remove(self, file: SectionsFile) -> None:
        self._files.pop(file.path.rpartition("/")[2], None)
        self._index()

    def link(self, name: str) -> Vlan | Bond | None:
        device = self._devices.get(name)
        if device is None:
            return None
        parents = [each for each, network in self._own.items() if name in _values(network, "VLAN")]
        members = [each for each, network in self._own.items() if name in _values(network, "Bond")]
        try:
            return read_device(device, parents, members)
        except ValueError as error:
            raise CommandError(f"{device.path}: {error}") from None

    def _only(self, network: SectionsFile) -> str | None:
        """The interface that a file is for and no other."""
        match = _match(network)
        names, macs = match.get("Name", []), _macs(match)
        if len(names) == 1 and not set(names[0]) & set("*?[!"):
            return names[0]
        if len(macs) == 1 and not names:
            return next((nic.name for nic in self._nics if nic.mac == macs[0] and nic.physical), None)
        return None

    def fits(self, network: SectionsFile, name: str) -> bool:
        """Whether a file is for an interface, be it among others."""
        match = _match(network)
        if not match or match.get("Kind", _NO_KIND) != _NO_KIND or "ether" not in match.get("Type", ["ether"]):
            return False
        if self._only(network) is not None:
            return self._only(network) == name
        macs = _macs(match)
        if macs and not any(nic.name == name and nic.mac in macs for nic in self._nics):
            return False
        patterns = match.get("Name", [])
        if patterns and patterns[0].startswith("!"):
            return not any(fnmatchcase(name, pattern.lstrip("!")) for pattern in patterns)
        return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)

    def new(self, name: str, end: str = "network", *, text: str = "", label: str | None = None) -> SectionsFile:
        """A file of our own that is seen before all others that fit the interface."""
        others = [each.path.rpartition("/")[2] for each in self._networks if self.fits(each, name)]
        prefix = next((each for each in _PREFIXES if all(f"{each}{name}" < other for other in others)), _PREFIXES[-1])
        file = SectionsFile(f"{_OWN}/{prefix}{name}.{end}", text)
        if label and not text:
            file.sections[0].lines.append(f"# Label {label}\n")
        if end == "network":
            file.put("Match", lambda key: True, (("Name", name),))
        self._files[file.path.rpartition("/")[2]] = file
        if end == "netdev":
            file.put("NetDev", lambda key: key == "Name", (("Name", name),))
        self._index()
        return file


def _match(network: SectionsFile) -> dict[str, list[str]]:
    """What a file asks of an interface: a key may stand there several times, and all of its words count."""
    found: dict[str, list[str]] = {}
    for section in network.sections:
        for key, value in section.items() if section.name == "Match" else ():
            found[key] = [*found.get(key, []), *value.split()] if value else []
    return {key: words for key, words in found.items() if words}


def _macs(match: Mapping[str, Sequence[str]]) -> list[str]:
    words = match.get("MACAddress") or match.get("PermanentMACAddress") or ()
    return [word.lower().replace("-", ":") for word in words]


def _values(network: SectionsFile, key: str) -> list[str]:
    return [
        word
        for section in network.sections
        for name, value in (section.items() if section.name == "Network" else ())
        if name == key
        for word in value.split()
    ]


def _add(network: SectionsFile, key: str, value: str) -> None:
    values = _values(network, key)
    if value not in values:
        network.put("Network", lambda name: name == key, [(key, each) for each in (*values, value)])


def _network_file(context: Context, name: str) -> str:
    index = read_text(context, f"/sys/class/net/{name}/ifindex").strip()
    state = read_text(context, f"{_LINKS}/{index}") if index else ""
    return next((line.partition("=")[2] for line in state.splitlines() if line.startswith("NETWORK_FILE=")), "")
