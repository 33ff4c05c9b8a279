"""Red Hat's ``ifcfg`` files, read by the network scripts or by NetworkManager."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_commands_net.backends import FileChange, FileState, Plan, Snapshot, Step, Steps, apply_changes
from guestagent_commands_net.model import Bond, Change, Interface, Route, merge
from guestagent_commands_net.reading import all_readable, check_kept, find_files, read_files
from guestagent_core.errors import CommandError

from .ifcfg_readers import NETWORK_MANAGER, NETWORK_SCRIPTS, IfcfgProfile, Readers, is_false
from .probing import Found, claims_of
from .shell_variables import ShellVariables, decoded

if TYPE_CHECKING:
    from guestagent_commands_net.backends import Evidence, Files
    from guestagent_commands_net.model import Nic
    from guestagent_core import Context

__all__ = ("Ifcfg",)

_FOLDER = "/etc/sysconfig/network-scripts"
_HEADER = "# Automatically generated, do not edit"
_MANAGER = "manager"
"""The fact that says who reads the files, and with an interface's name behind it, who reads that one's."""
_FILE = re.compile(rf"{_FOLDER}/(ifcfg|route6?|rule6?)-([^/]+)")
_RANGE = re.compile(r"-range[^-/]*\Z")  # aliases that differ in the number alone
_LEFT_OVER = re.compile(r"(?:~|\.(?:bak|orig|old|save|swp|tmp|rpm(?:save|new|orig)))$")


class Ifcfg:
    """The backend ``ifcfg``.

    Its files are ``ifcfg-NAME``, ``route-NAME`` and ``route6-NAME``. Where NetworkManager reads them, it is told to
    load and apply them; else ``ifdown`` and ``ifup`` take the interface down and up.
    """

    name = "ifcfg"
    priority = 50
    writes_resolv_conf = True

    def probe(self, context: Context, nics: Sequence[Nic]) -> Mapping[str, Evidence]:
        """Returns what was configured by the files, what they name, and what they could name.

        Where NetworkManager runs it knows by which file it has configured an interface: one that is only left over does
        not count then.
        """
        if not context.path(_FOLDER).is_dir():
            return {}
        readers = Readers(context)

        def look(found: Found) -> None:
            files = self._values(self._in_use(context, nics, readers), nics)
            for name in (nic.name for nic in nics):
                active = readers.manager.file_of(name) or ""
                if active.startswith(f"{_FOLDER}/"):
                    found.holds[name] = f"NetworkManager has it by {active}"
                elif name in files:
                    path, values = files[name]
                    why = readers.why_unused(name, values)
                    if why is not None:
                        found.unused[name] = f"{path} is for it, but {why}"
                    elif readers.reader(name, values) == NETWORK_SCRIPTS and _is_up(context, nics, name, values):
                        found.holds[name] = f"{path} is for it, and it is up"
                    else:
                        found.names[name] = f"{path} is for it"
                elif readers.scripts is None:
                    found.others.add(name)  # NetworkManager has files of its own for it

        return claims_of(nics, look, started=readers.scripts or readers.plugin, idle=f"nobody reads {_FOLDER}")

    def gather(self, context: Context, nics: Sequence[Nic]) -> Snapshot:
        """Returns the files, and who reads those of each interface."""
        readers = Readers(context)
        found = self._in_use(context, nics, readers)
        files = self._values(found, nics)
        facts = {_MANAGER: readers.reader("", {})}
        for name in (*(nic.name for nic in nics), *files):
            facts[f"{_MANAGER} {name}"] = readers.reader(name, files[name][1] if name in files else {})
        return Snapshot(found, facts, tuple(nics))

    def profiles(self, context: Context, nics: Sequence[Nic]) -> dict[str, IfcfgProfile]:
        """Returns what NetworkManager makes of the files, if it reads them, by the interface that each is for."""
        files = self._files(context)
        return {name: IfcfgProfile.of(values) for name, (_, values) in self._values(files, nics).items()}

    def _values(self, files: Files, nics: Sequence[Nic]) -> dict[str, tuple[str, dict[str, str]]]:
        """Returns the file of each interface, and what it says."""
        paths = self._files_of(files, nics)
        return {name: (path, ShellVariables(decoded(path, files[path])).values()) for name, path in paths.items()}

    def _files(self, context: Context) -> dict[str, FileState]:
        paths = find_files(context, f"{_FOLDER}/*")
        return read_files(context, (path for path in paths if _FILE.fullmatch(path) and not _LEFT_OVER.search(path)))

    def _in_use(self, context: Context, nics: Sequence[Nic], readers: Readers) -> dict[str, FileState]:
        """Returns the files, of several for an interface that one alone by which NetworkManager has configured it."""
        files = self._files(context)
        for name, path in list(self._named(files, nics)):
            active = readers.manager.file_of(name)
            if active in files and active != path:
                del files[path]
        return files

    def _files_of(self, files: Files, nics: Iterable[Nic]) -> dict[str, str]:
        """Returns the main file of each interface, by its name."""
        found: dict[str, str] = {}
        for name, path in self._named(files, nics):
            if name not in found or path == f"{_FOLDER}/ifcfg-{name}":
                found[name] = path
        return found

    def _named(self, files: Files, nics: Iterable[Nic]) -> Iterator[tuple[str, str]]:
        """Gives each main file with the interface that it is for; one that names none is known by its MAC."""
        names = {nic.mac: nic.name for nic in nics}
        for path in sorted(files):
            matched = _FILE.fullmatch(path)
            if matched is None or matched[1] != "ifcfg" or ":" in matched[2] or _RANGE.search(path):
                continue
            values = ShellVariables(decoded(path, files[path])).values()
            name = values.get("DEVICE") or names.get(values.get("HWADDR", "").lower()) or matched[2]
            if name != "lo":
                yield name, path

    def read(self, files: Files, nics: Sequence[Nic] = ()) -> tuple[Interface, ...]:
        """Returns the interfaces that have files."""
        return all_readable(lambda broken: self._readable(files, nics, broken))

    def _readable(self, files: Files, nics: Sequence[Nic], broken: dict[str, CommandError]) -> tuple[Interface, ...]:
        """Returns the interfaces that can be understood; ``broken`` gets the errors of the others."""
        from .ifcfg_files import read_alias
        from .ifcfg_form import read_values

        paths = self._files_of(files, nics)
        values = {name: ShellVariables(decoded(path, files[path])).values() for name, path in paths.items()}
        masters: dict[str, list[str]] = {}
        for name, each in values.items():
            if each.get("MASTER"):
                masters.setdefault(each["MASTER"], []).append(name)
        found = []
        for name in sorted(paths):
            try:
                interface = read_values(name, values[name], tuple(sorted(masters.get(name, ()))))
                aliases = (read_alias(path, files[path]) for path in self._aliases(files, name, paths[name]))
                interface = replace(
                    interface,
                    addresses=(*interface.addresses, *(each for alias in aliases for each in alias)),
                    routes=(*interface.routes, *self._routes(files, name, interface)),
                )
            except ValueError as error:
                broken[name] = CommandError(f"{paths[name]}: {error}")
            else:
                found.append(interface)
        return tuple(found)

    def _aliases(self, files: Files, name: str, path: str) -> list[str]:
        """Returns the files of an interface's aliases, which are named after it or after its main file."""
        bases = (path, f"{_FOLDER}/ifcfg-{name}")
        return sorted(
            each
            for each in files
            if each.startswith(tuple(f"{base}:" for base in bases))
            or (_RANGE.sub("", each) in bases and each not in bases)
        )

    def _routes(self, files: Files, name: str, interface: Interface) -> list[Route]:
        from .ifcfg_files import read_routes

        known = {(route.destination, route.metric) for route in interface.routes}
        found = []
        for version, path in ((4, f"{_FOLDER}/route-{name}"), (6, f"{_FOLDER}/route6-{name}")):
            if path in files:
                found += read_routes(decoded(path, files[path]), name, version)
        return [route for route in found if (route.destination, route.metric) not in known]

    def render(self, change: Change, snapshot: Snapshot) -> tuple[FileChange, ...]:
        """Returns the files of the change's interfaces that differ; those of aliases go, and routes with none."""
        from .ifcfg_files import write_aliases, write_routes

        broken: dict[str, CommandError] = {}
        current = {each.name: each for each in self._readable(snapshot.files, snapshot.nics, broken)}
        check_kept(change, broken)
        paths = self._files_of(snapshot.files, snapshot.nics)
        masters = {
            member: interface.name
            for interface in (*current.values(), *change.interfaces)
            if isinstance(interface.link, Bond)
            for member in interface.link.members
        }
        wanted: dict[str, str | None] = {}
        for interface in change.interfaces:
            old = current.get(interface.name)
            merged = merge(old, interface)
            path = paths.get(interface.name, f"{_FOLDER}/ifcfg-{interface.name}")
            by_manager = _is_managed(snapshot, interface.name)
            # The scripts bring up at boot whatever says so; NetworkManager takes one of several.
            if not by_manager:
                wanted |= dict.fromkeys(self._doubles(snapshot, interface.name, path))
            if old == merged and not self._aliases(snapshot.files, old.name, path):
                continue
            wanted |= dict.fromkeys(self._others(snapshot.files, interface.name, path))
            before = decoded(path, snapshot.files[path]) if path in snapshot.files else f"{_HEADER}\n"
            wanted[path] = _written(merged, masters.get(interface.name), before, by_manager=by_manager)
            for version, routes in ((4, f"{_FOLDER}/route-{merged.name}"), (6, f"{_FOLDER}/route6-{merged.name}")):
                there = decoded(routes, snapshot.files[routes]) if routes in snapshot.files else ""
                text = write_routes(merged, version, there, by_manager=by_manager)
                if text or routes in wanted:
                    wanted[routes] = text or None
            for alias, text in write_aliases(merged, by_manager=by_manager).items():
                wanted[f"{_FOLDER}/ifcfg-{alias}"] = text
            wanted |= self._rules(snapshot.files, old, merged)
        for name in change.removed:
            path = paths.get(name, f"{_FOLDER}/ifcfg-{name}")
            others = self._others(snapshot.files, name, path, rules=True)
            named = (each for whose, each in self._named(snapshot.files, snapshot.nics) if whose == name)
            wanted |= dict.fromkeys((path, *named, *others))
        return tuple(
            FileChange(path, None if text is None else text.encode())
            for path, text in wanted.items()
            if (snapshot.files[path].content if path in snapshot.files else None)
            != (None if text is None else text.encode())
        )

    def _others(self, files: Files, name: str, path: str, *, rules: bool = False) -> list[str]:
        """Returns the files of aliases and routes that belong to an interface."""
        kinds = ("route", "route6", "rule", "rule6") if rules else ("route", "route6")
        named = {f"{_FOLDER}/{kind}-{name}" for kind in kinds}
        aliases = self._aliases(files, name, path)
        return [
            each
            for each in sorted(files)
            if each in named or each in aliases or each.startswith(tuple(f"{one}:" for one in sorted(named)))
        ]

    def _doubles(self, snapshot: Snapshot, name: str, path: str) -> list[str]:
        """Returns the files beside ``path`` by which the interface is brought up when the machine starts."""
        files = snapshot.files
        return [
            each
            for whose, each in self._named(files, snapshot.nics)
            if whose == name and each != path
            and not is_false(ShellVariables(decoded(each, files[each])).values().get("ONBOOT", ""))
        ]  # fmt: skip

    def _rules(self, files: Files, old: Interface | None, new: Interface) -> dict[str, str | None]:
        """Takes the rules out that are about addresses which the interface loses."""
        from .ifcfg_files import without_rules

        lost = {str(address.ip) for address in old.addresses} if old is not None else set()
        lost -= {str(address.ip) for address in new.addresses}
        found: dict[str, str | None] = {}
        for path in (f"{_FOLDER}/rule-{new.name}", f"{_FOLDER}/rule6-{new.name}"):
            if path in files and lost:
                found[path] = without_rules(decoded(path, files[path]), lost)
        return found

    def validate(self, change: Change, staged: Files, folder: str) -> tuple[Step, ...]:
        """Returns a shell that reads each file, as the scripts do, without running anything."""
        paths = self._files_of(staged, ())
        return tuple(
            Step(("sh", "-n", f"{folder}{paths[each.name]}"), each.name, timeout=10)
            for each in change.interfaces
            if each.name in paths
        )

    def plan(self, change: Change, snapshot: Snapshot, changes: Sequence[FileChange]) -> Plan:
        """Returns what takes the change's interfaces down and up, or has NetworkManager load and apply their files."""
        after = apply_changes(snapshot.files, changes)
        old, new = (self._files_of(files, snapshot.nics) for files in (snapshot.files, after))
        managed = change.only([name for name in change.names if _is_managed(snapshot, name)])
        scripted = change.only([name for name in change.names if name not in managed.names])
        return Plan(
            _joined(_scripted(scripted, old, new), _managed(managed, old, new)),
            _joined(_scripted(scripted, new, old), _managed(managed, new, old)),
        )


def _is_up(context: Context, nics: Iterable[Nic], name: str, values: Mapping[str, str]) -> bool:
    """The scripts keep no list of what they have brought up: it is what they bring up at boot, and is up."""
    up = context.root == Path("/") and any(nic.name == name and nic.up for nic in nics)
    return up and not is_false(values.get("ONBOOT", ""))


def _is_managed(snapshot: Snapshot, name: str) -> bool:
    facts = snapshot.facts
    return facts.get(f"{_MANAGER} {name}", facts.get(_MANAGER)) == NETWORK_MANAGER


def _joined(first: Steps, second: Steps) -> Steps:
    return Steps(first.before + second.before, first.after + second.after, first.harder + second.harder)


def _scripted(change: Change, before: Mapping[str, str], after: Mapping[str, str]) -> Steps:
    names = [*(name for name in change.names if name in after)]
    flush = {name: _flush(name) for name in change.names}
    down = {name: Step(("ifdown", name), name, timeout=30, check=False) for name in change.names}
    up = {name: Step(("ifup", name), name, timeout=45) for name in names}
    return Steps(
        tuple(step for name in change.names for step in ((down[name],) if name in before else ()) + (flush[name],)),
        tuple(up[name] for name in names),
        tuple(step for name in names for step in (down[name], flush[name], up[name])),
    )


def _managed(change: Change, before: Mapping[str, str], after: Mapping[str, str]) -> Steps:
    if not change.names:
        return Steps()
    names = [name for name in change.names if name in after]
    reload = Step(("nmcli", "connection", "reload"), None, timeout=10)
    loads = [Step(("nmcli", "connection", "load", after[name]), name, timeout=10) for name in names]
    applies = [Step(("nmcli", "device", "reapply", name), name, timeout=20, check=False) for name in names]
    downs = [
        Step(("nmcli", "device", "disconnect", name), name, timeout=20, check=False)
        for name in change.names
        if name in before and name not in after
    ]
    harder = [Step(("nmcli", "--wait", "30", "connection", "up", "ifname", name), name, timeout=35) for name in names]
    return Steps(tuple(downs), (reload, *loads, *applies), tuple(harder))


def _flush(name: str) -> Step:
    """What others have put there would stay beside what is configured."""
    return Step(("ip", "addr", "flush", "dev", name, "scope", "global"), name, timeout=5, check=False)


def _written(interface: Interface, master: str | None, before: str, *, by_manager: bool) -> str:
    from .ifcfg_form import is_known, write_values

    file = ShellVariables(before)
    file.remove_comments(lambda line: line.startswith("# Label "))
    ours = {"DEVICE", "HWADDR"} if not by_manager else {"DEVICE", "HWADDR", "NM_CONTROLLED"}
    old = file.values()
    values = write_values(interface, master, by_manager=by_manager)
    for name in sorted(ours - values.keys()):
        if name == "HWADDR" and old.get(name) and interface.link is None:
            values[name] = old[name]
    file.replace(is_known, values)
    text = file.text()
    if interface.label:
        label = f"# Label {interface.label}\n"
        head, separator, rest = text.partition(f"{_HEADER}\n")
        text = f"{head}{separator}{label}{rest}" if separator else f"{label}{text}"
    return text
