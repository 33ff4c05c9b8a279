"""Red Hat's ``ifcfg`` files, read by the network scripts or by NetworkManager."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_core.errors import CommandError

from .backends import Claim, Evidence, FileChange, FileState, Plan, Snapshot, Step, Steps
from .ifcfg_files import read_alias, read_routes, without_rules, write_aliases, write_routes
from .ifcfg_form import is_known, read_values, write_values
from .model import Bond, Change, Interface, Route, merge
from .reading import find_files, program, read_file, read_files
from .shell_variables import ShellVariables, decoded

if TYPE_CHECKING:
    from guestagent_core import Context

    from .backends import Files
    from .model import Nic

__all__ = ("Ifcfg",)

_FOLDER = "/etc/sysconfig/network-scripts"
_SCRIPT = f"{_FOLDER}/ifup-eth"
_PLUGIN = "/usr/lib*/NetworkManager/*/libnm-settings-plugin-ifcfg-rh.so"
"""What NetworkManager reads the files by; Red Hat's tenth release has it no more."""
_HEADER = "# Automatically generated, do not edit"
_MANAGER = "manager"
"""The fact that says who reads the files: ``network`` or ``NetworkManager``."""
_FILE = re.compile(rf"{_FOLDER}/(ifcfg|route6?|rule6?)-([^/]+)")
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
        """Returns what the files name, if anybody reads them, and what they could name."""
        scripts = read_file(context, _SCRIPT) is not None
        if not scripts and not find_files(context, _PLUGIN):
            return {}
        owned = self._files_of(self.gather(context, nics).files, nics)
        found = {}
        for nic in nics:
            if nic.name in owned:
                claim = Claim.MANAGES if context.root == Path("/") and nic.up else Claim.CONFIGURED
                found[nic.name] = Evidence(claim, f"{owned[nic.name]} names it")
            elif scripts:
                found[nic.name] = Evidence(Claim.COULD, f"{_SCRIPT} is there")
        return found

    def gather(self, context: Context, nics: Sequence[Nic]) -> Snapshot:
        """Returns the files, and who reads them."""
        paths = find_files(context, f"{_FOLDER}/*")
        files = read_files(context, (path for path in paths if _FILE.fullmatch(path) and not _LEFT_OVER.search(path)))
        manager = "network" if read_file(context, _SCRIPT) is not None else "NetworkManager"
        if context.root == Path("/") and program(context, "nmcli") is not None:
            done = context.run(["nmcli", "--terse", "--fields", "RUNNING", "general"], timeout=5, check=False)
            if done.stdout.strip() == b"running" and not self._kept_from_manager(files):
                manager = "NetworkManager"
        return Snapshot(files, {_MANAGER: manager}, tuple(nics))

    def _kept_from_manager(self, files: Files) -> bool:
        """Whether every file says that NetworkManager has nothing to do with it."""
        values = [ShellVariables(decoded(path, state)).values() for path, state in files.items() if "/ifcfg-" in path]
        cards = [each for each in values if each.get("DEVICE") != "lo"]
        return bool(cards) and all(each.get("NM_CONTROLLED", "yes").lower() == "no" for each in cards)

    def _files_of(self, files: Files, nics: Iterable[Nic]) -> dict[str, str]:
        """Returns the main file of each interface, by its name; one that names none is known by its MAC."""
        names = {nic.mac: nic.name for nic in nics}
        found: dict[str, str] = {}
        for path in sorted(files):
            matched = _FILE.fullmatch(path)
            if matched is None or matched[1] != "ifcfg" or ":" in matched[2]:
                continue
            values = ShellVariables(decoded(path, files[path])).values()
            name = values.get("DEVICE") or names.get(values.get("HWADDR", "").lower()) or matched[2]
            if name != "lo" and (name not in found or matched[2] == name):
                found[name] = path
        return found

    def read(self, files: Files, nics: Sequence[Nic] = ()) -> tuple[Interface, ...]:
        """Returns the interfaces that have files."""
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
                raise CommandError(f"{paths[name]}: {error}") from None
            found.append(interface)
        return tuple(found)

    def _aliases(self, files: Files, name: str, path: str) -> list[str]:
        """Returns the files of an interface's aliases, which are named after it or after its main file."""
        return sorted(each for each in files if each.startswith((f"{path}:", f"{_FOLDER}/ifcfg-{name}:")))

    def _routes(self, files: Files, name: str, interface: Interface) -> list[Route]:
        known = {(route.destination, route.metric) for route in interface.routes}
        found = []
        for version, path in ((4, f"{_FOLDER}/route-{name}"), (6, f"{_FOLDER}/route6-{name}")):
            if path in files:
                found += read_routes(decoded(path, files[path]), name, version)
        return [route for route in found if (route.destination, route.metric) not in known]

    def render(self, change: Change, snapshot: Snapshot) -> tuple[FileChange, ...]:
        """Returns the files of the change's interfaces that differ; those of aliases go, and routes with none."""
        by_manager = snapshot.facts.get(_MANAGER) == "NetworkManager"
        current = {interface.name: interface for interface in self.read(snapshot.files, snapshot.nics)}
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
            if old == merged and not self._aliases(snapshot.files, old.name, paths[old.name]):
                continue
            path = paths.get(interface.name, f"{_FOLDER}/ifcfg-{interface.name}")
            wanted |= dict.fromkeys(self._others(snapshot.files, interface.name, path))
            before = decoded(path, snapshot.files[path]) if path in snapshot.files else f"{_HEADER}\n"
            wanted[path] = _written(merged, masters.get(interface.name), before, by_manager=by_manager)
            for version, routes in ((4, f"{_FOLDER}/route-{merged.name}"), (6, f"{_FOLDER}/route6-{merged.name}")):
                text = write_routes(merged, version, by_manager=by_manager)
                if text or routes in wanted:
                    wanted[routes] = text or None
            for alias, text in write_aliases(merged, by_manager=by_manager).items():
                wanted[f"{_FOLDER}/ifcfg-{alias}"] = text
            wanted |= self._rules(snapshot.files, old, merged)
        for name in change.removed:
            path = paths.get(name, f"{_FOLDER}/ifcfg-{name}")
            wanted |= dict.fromkeys((path, *self._others(snapshot.files, name, path, rules=True)))
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

    def _rules(self, files: Files, old: Interface | None, new: Interface) -> dict[str, str | None]:
        """Takes the rules out that are about addresses which the interface loses."""
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
        after = {**snapshot.files, **{each.path: FileState(each.content) for each in changes if each.content}}
        for each in changes:
            if each.content is None:
                after.pop(each.path, None)
        old, new = (self._files_of(files, snapshot.nics) for files in (snapshot.files, after))
        if snapshot.facts.get(_MANAGER) == "NetworkManager":
            return Plan(_managed(change, old, new), _managed(change, new, old))
        return Plan(_scripted(change, old, new), _scripted(change, new, old))


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
