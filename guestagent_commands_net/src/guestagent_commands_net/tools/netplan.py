"""netplan, which writes the files of systemd-networkd or NetworkManager."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from guestagent_commands_net.backends import FileChange, FileState, Plan, Snapshot, Step, Steps, apply_changes
from guestagent_commands_net.model import Bond, Change, Interface, Nic, Vlan, merge
from guestagent_commands_net.reading import find_files, program, read_files, read_text
from guestagent_core.errors import CommandError

from .netplan_definitions import Definitions, interface_of
from .netplan_files import dump, in_order, merged, parse, without_entries
from .netplan_form import is_known, keep_of_others, read_definitions, write_definition
from .networkmanager_state import Manager
from .probing import Found, claims_of
from .services import is_masked, networkd_facts

if TYPE_CHECKING:
    from guestagent_commands_net.backends import Evidence, Files
    from guestagent_core import Context

__all__ = ("Netplan",)

_OWN = "/etc/netplan/90-guestagent.yaml"
_PREDECESSOR = "/etc/netplan/rackspace-cloud.yaml"
_MODE = 0o600  # netplan warns of files that others can read
_HEADER = """\
# What the host wants, written by guestagent. Settings of your own below an interface stay, comments do not.
"""
_FIRST = "0-guestagent-"  # sorts before every name that netplan gives to a file for a pattern
_LINKS = "/run/systemd/netif/links"
_NETWORKS = "/run/systemd/network/10-netplan-"
_RENDERERS = {"networkd": ("systemd-networkd", "networkctl"), "NetworkManager": ("NetworkManager", "nmcli")}
"""The service and the program of each."""


class Netplan:
    """The backend ``netplan``.

    Interfaces of the change are defined in a file of our own, and no longer in any other: netplan adds lists of several
    files up, and would give an interface its old addresses beside the new ones. Keys that are not about addresses move
    along. Nothing but ``netplan generate`` and the renderer's own way to reload is run: ``netplan apply`` takes every
    interface of the machine down for a moment.
    """

    name = "netplan"
    priority = 10
    writes_resolv_conf = True

    def probe(self, context: Context, nics: Sequence[Nic]) -> Mapping[str, Evidence]:
        """Returns what netplan's files name, and what its renderer has in its hands because of them.

        Nobody has to start netplan, which has its renderer started itself.
        """
        if program(context, "netplan") is None:
            return {}
        snapshot = self.gather(context, ())
        if not snapshot.files:
            return {}
        renderers = _Renderers(context, snapshot)

        def look(found: Found) -> None:
            known = Definitions(self._network(snapshot.files), nics)
            for nic in nics:
                ids = [each for _, each in known.of(nic.name)] + known.patterns(nic.name)
                why = renderers.why_not(known.renderer(nic.name))
                profiles = [known.profile(*entry) for entry in known.of(nic.name)]
                manager = renderers.manager_of(nic, ids, profiles)
                if manager is not None:
                    found.holds[nic.name] = f"{manager} has it by netplan's {ids[0]!r}"
                elif why is not None and ids:
                    found.unused[nic.name] = f"netplan's files name it, by {ids[0]!r}, but {why}"
                elif why is not None:
                    found.others.add(nic.name)
                elif ids:
                    found.names[nic.name] = f"netplan's files name it, by {ids[0]!r}"

        return claims_of(nics, look, started="netplan is installed, and has files")

    def gather(self, context: Context, nics: Sequence[Nic]) -> Snapshot:
        """Returns netplan's files from all of its folders, and which renderers run."""
        folders = ("/lib", "/usr/lib", "/run", "/etc")
        paths = (path for folder in folders for path in find_files(context, f"{folder}/netplan/*.yaml"))
        return Snapshot(read_files(context, paths), networkd_facts(context), tuple(nics))

    def read(self, files: Files, nics: Sequence[Nic] = ()) -> tuple[Interface, ...]:
        """Returns the interfaces that all files together define, without those that are known by a pattern only."""
        return self._read(self._network(files), nics)

    def _read(self, network: Mapping[str, Any], nics: Sequence[Nic]) -> tuple[Interface, ...]:
        def name_of(kind: str, identifier: str, definition: Mapping[str, Any]) -> str | None:
            return interface_of(kind, identifier, definition, nics)

        try:
            found = read_definitions(network, name_of, "netplan", strict=False)
        except ValueError as error:
            raise CommandError(str(error)) from None
        return tuple(sorted(found, key=lambda interface: interface.name))

    def _network(self, files: Files) -> dict[str, Any]:
        return merged([parse(path, _decoded(path, files[path])) for path in in_order(files)])

    def render(self, change: Change, snapshot: Snapshot) -> tuple[FileChange, ...]:
        """Returns the file of our own with the change's interfaces, and others without them."""
        files, nics = snapshot.files, snapshot.nics
        network = self._network(files)
        known = Definitions(network, nics)
        current = self._current(network, known, change, nics)
        # What a pattern would go on to configure needs a definition that says: nothing. So does what others refer to.
        leaving = {entry for name in change.names for entry in known.of(name)}
        emptied = [
            Interface(name)
            for name in change.removed
            if known.patterns(name) or any(known.is_referred_to(each, leaving) for _, each in known.of(name))
        ]
        interfaces = [*change.interfaces, *emptied]
        removed = set(change.removed) - {interface.name for interface in emptied}
        before = parse(_OWN, _decoded(_OWN, files[_OWN])) if _OWN in files else {}
        own = {kind: dict(value) if isinstance(value, dict) else value for kind, value in before.items()}
        ids = {name: entries[0][1] for name, entries in known.entries.items() if name not in removed}
        for interface in interfaces:
            if interface.link is None and known.patterns(interface.name):
                ids[interface.name] = f"{_FIRST}{interface.name}"
            ids.setdefault(interface.name, interface.name)
        taken = {entry for name in removed for entry in known.of(name)}
        for kind, identifier in taken:
            (own.get(kind) or {}).pop(identifier, None)
        for interface in interfaces:
            entries = known.of(interface.name)
            wanted = merge(current.get(interface.name), interface)
            kind, identifier = _kind(wanted), ids[interface.name]
            if current.get(interface.name) == wanted and entries == [(kind, identifier)]:
                continue
            taken |= {*entries, (kind, identifier)}
            for old_kind, old in entries:
                (own.get(old_kind) or {}).pop(old, None)
            own[kind] = own.get(kind) or {}
            definition = self._definition(network, entries, wanted, identifier, ids, is_read=interface.name in current)
            own[kind][identifier] = known.with_renderer(entries[0][0] if entries else kind, definition)
        followers = known.followers({each for _, each in taken}, ids)
        for kind, identifier in followers.keys() - taken:
            own[kind] = {**(own.get(kind) or {}), identifier: followers[kind, identifier]}
        taken |= followers.keys()
        return tuple(self._changes(files, before, own, taken))

    def _current(
        self, network: Mapping[str, Any], known: Definitions, change: Change, nics: Sequence[Nic]
    ) -> dict[str, Interface]:
        """The interfaces as they are defined; without those that are replaced, or left alone, whatever they are."""
        try:
            return {interface.name: interface for interface in self._read(network, nics)}
        except CommandError:
            pass
        found: dict[str, Interface] = {}
        for wanted in (*change.interfaces, *map(Interface, change.removed)):
            entries = known.of(wanted.name)
            only = {kind: {each: network[kind][each] for k, each in entries if k == kind} for kind, _ in entries}
            try:
                found.update({each.name: each for each in self._read(only, nics)})
            except CommandError:
                if wanted.partial:
                    raise
        return found

    def _definition(
        self,
        network: Mapping[str, Any],
        entries: Sequence[tuple[str, str]],
        wanted: Interface,
        identifier: str,
        ids: Mapping[str, str],
        *,
        is_read: bool,
    ) -> dict[str, Any]:
        before = merged([network[kind][each] or {} for kind, each in entries])
        kind = entries[0][0] if entries else ""
        definition = {key: value for key, value in before.items() if not is_known(kind, key)}
        servers = before.get("nameservers")
        definition.update(write_definition(wanted))
        if is_read:
            keep_of_others(definition, before, wanted)
        if isinstance(servers, dict) and "nameservers" not in definition:
            others = {key: value for key, value in servers.items() if key not in ("addresses", "search")}
            definition.update({"nameservers": others} if others else {})
        if isinstance(wanted.link, Vlan):
            definition["link"] = ids.get(wanted.link.parent, wanted.link.parent)
        elif isinstance(wanted.link, Bond):
            definition["interfaces"] = [ids.get(member, member) for member in wanted.link.members]
        elif identifier != wanted.name and "match" not in definition:
            definition["match"] = {"name": wanted.name}
        return definition

    def _changes(
        self, files: Files, before: Mapping[str, Any], own: Mapping[str, Any], taken: set[tuple[str, str]]
    ) -> Iterable[FileChange]:
        for path in in_order(files):
            text = _decoded(path, files[path])
            there = parse(path, text)
            entries = {(kind, each) for kind, each in taken if each in (there.get(kind) or {})}
            if path == _OWN or not entries:
                continue
            left = without_entries(path, text, entries)
            if path == _PREDECESSOR and not set(parse(path, left)) - {"version", "renderer"}:
                yield FileChange(path, None)
                continue
            # A file of the same name in /etc stands in for one that is not ours to change.
            place = path if path.startswith("/etc/") else f"/etc/netplan/{path.rpartition('/')[2]}"
            yield FileChange(place, left.encode(), _MODE if place != path else files[path].mode)
        content = {"version": 2, **{key: value for key, value in own.items() if value not in ({}, None)}}
        empty = not set(content) - {"version", "renderer"}
        if empty and _OWN in files:
            yield FileChange(_OWN, None)
        elif not empty and content != {key: value for key, value in before.items() if value not in ({}, None)}:
            yield FileChange(_OWN, dump(content, _HEADER).encode(), _MODE)

    def validate(self, change: Change, staged: Files, folder: str) -> tuple[Step, ...]:
        """Returns ``netplan generate``, which says the line and the column of a mistake."""
        return (Step(("netplan", "generate", "--root-dir", folder), timeout=15),)

    def plan(self, change: Change, snapshot: Snapshot, changes: Sequence[FileChange]) -> Plan:
        """Returns ``netplan generate`` and what makes the renderer read its files again."""
        after = apply_changes(snapshot.files, changes)
        old, new = self._network(snapshot.files), self._network(after)
        before = self._current(old, Definitions(old, snapshot.nics), change, snapshot.nics)
        wanted = list(change.interfaces)
        gone = [before.get(name, Interface(name)) for name in change.removed]
        back = [before[name] for name in change.names if name in before]
        fresh = [interface for interface in wanted if interface.name not in before]
        return Plan(
            self._steps(new, wanted, gone, snapshot),
            self._steps(old, back, fresh, snapshot),
        )

    def _steps(
        self, network: Mapping[str, Any], there: Sequence[Interface], gone: Sequence[Interface], snapshot: Snapshot
    ) -> Steps:
        known = Definitions(network, snapshot.nics)
        by_manager = [each for each in there if known.renderer(each.name) == "NetworkManager"]
        by_networkd = [each for each in there if each not in by_manager]
        after = [Step(("netplan", "generate"), timeout=15)]
        harder: list[Step] = []
        if by_networkd or gone:
            if snapshot.facts.get("networkd") == "inactive":
                after.append(Step(("systemctl", "start", "systemd-networkd.service"), timeout=20))
            else:
                after.append(Step(("networkctl", "reload"), timeout=15))
            harder += [Step(("networkctl", "reconfigure", each.name), each.name, timeout=15) for each in by_networkd]
        if by_manager:
            after.append(Step(("nmcli", "connection", "reload"), timeout=15))
        for each in by_manager:
            entries = known.of(each.name)
            profile = known.profile(*entries[0]) if entries else f"netplan-{each.name}"
            after.append(Step(("nmcli", "device", "reapply", each.name), each.name, timeout=15, check=False))
            harder.append(Step(("nmcli", "connection", "up", profile, "ifname", each.name), each.name, timeout=30))
        for each in gone:
            # Whoever had it lets go of it, and leaves behind what it has put there.
            if each.link is not None:
                after.append(Step(("ip", "link", "delete", each.name), each.name, timeout=5, check=False))
                continue
            after.append(
                Step(("ip", "addr", "flush", "dev", each.name, "scope", "global"), each.name, timeout=5, check=False)
            )
            if any(known.is_referred_to(identifier, ()) for _, identifier in known.of(each.name)):
                continue  # a bridge has it, or a VLAN is on it
            after.append(Step(("ip", "link", "set", "dev", each.name, "down"), each.name, timeout=5, check=False))
        if any(each.link is not None for each in there):
            # Devices that are made of others: only here the whole of it is needed at times.
            made = next(each.name for each in there if each.link is not None)
            harder.append(Step(("netplan", "apply"), made, timeout=40))
        return Steps((), tuple(after), tuple(harder))


class _Renderers:
    """What the renderers have of interfaces, and whether they can be had."""

    def __init__(self, context: Context, snapshot: Snapshot) -> None:
        self._context = context
        self._networkd_runs = snapshot.facts.get("networkd") == "active"
        self._manager = Manager(context)

    def manager_of(self, nic: Nic, ids: Sequence[str], profiles: Sequence[str]) -> str | None:
        """Returns the renderer that has an interface in its hands because of one of the definitions ``ids``, or as one
        of NetworkManager's ``profiles``.
        """
        index = read_text(self._context, f"/sys/class/net/{nic.name}/ifindex").strip() if self._networkd_runs else ""
        state = read_text(self._context, f"{_LINKS}/{index}") if index else ""
        if any(f"NETWORK_FILE={_NETWORKS}{each}.network\n" in state for each in ids):
            return "systemd-networkd"
        device = self._manager.devices.get(nic.name)
        named = {*profiles, *(f"netplan-{each}" for each in ids)}
        return "NetworkManager" if device is not None and device.is_held and device.profile in named else None

    def why_not(self, renderer: str) -> str | None:
        """Returns why nothing comes of a definition for ``renderer``; None: something does."""
        service, tool = _RENDERERS.get(renderer, (renderer, renderer))
        if is_masked(self._context, service):
            return f"the service {service} is masked"
        return f"{service} is not installed" if program(self._context, tool) is None else None


def _decoded(path: str, state: FileState) -> str:
    try:
        return state.content.decode()
    except UnicodeDecodeError:
        raise CommandError(f"{path}: it is not UTF-8 text") from None


def _kind(interface: Interface) -> str:
    if isinstance(interface.link, Vlan):
        return "vlans"
    return "bonds" if isinstance(interface.link, Bond) else "ethernets"
