"""SUSE's wicked: ``ifcfg`` and ``ifroute`` files, ``netconfig`` for name servers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_commands_net.backends import FileChange, Plan, Snapshot, Step, Steps
from guestagent_commands_net.model import VERSIONS, Change, Dns, Interface, merge
from guestagent_commands_net.reading import all_readable, check_kept, find_files, program, read_files
from guestagent_core.errors import CommandError

from .gateway_routes import share_on_link
from .probing import Found, claims_of
from .services import runs, started_by
from .shell_variables import ShellVariables, decoded, double_quoted

if TYPE_CHECKING:
    from guestagent_commands_net.backends import Evidence, Files, FileState
    from guestagent_commands_net.model import Nic
    from guestagent_core import Context

__all__ = ("Wicked",)

_FOLDER = "/etc/sysconfig/network"
_CONFIG = f"{_FOLDER}/config"
_ROUTES = f"{_FOLDER}/routes"
_SERVICE, _DAEMON = "wicked", "wickedd"
_NOT_STARTED = ("manual", "off")
_HEADER = "# Automatically generated, do not edit"
_FILE = re.compile(rf"{_FOLDER}/(ifcfg|ifroute|ifsysctl)-([^/~]+)")
_LEFT_OVER = re.compile(r"(?:\.(?:bak|orig|old|save|swp|tmp|rpm(?:save|new|orig)))$")
_SERVERS, _SEARCH = "NETCONFIG_DNS_STATIC_SERVERS", "NETCONFIG_DNS_STATIC_SEARCHLIST"


class Wicked:
    """The backend ``wicked``.

    ``wicked ifreload`` applies what differs, and harms nothing else.
    """

    name = "wicked"
    priority = 40
    writes_resolv_conf = True

    def probe(self, context: Context, nics: Sequence[Nic]) -> Mapping[str, Evidence]:
        """Returns what wicked runs, what its files name, and what they could name."""
        if program(context, "wicked") is None:
            return {}
        live = runs(context, _DAEMON)
        link = None if context.root == Path("/") else started_by(context, _SERVICE)
        started = "wicked runs" if live else None if link is None else f"{link} starts wicked"

        def look(found: Found) -> None:
            files = self.gather(context, nics).files
            for path in self._ifcfg_files(files):
                name = path.removeprefix(f"{_FOLDER}/ifcfg-")
                found.names[name] = f"{path} is for it"
                if live and _start_mode(path, files[path]) not in _NOT_STARTED:
                    found.holds[name] = f"{path} is for it, and wicked runs"

        return claims_of(nics, look, started=started, idle="wicked is not at work: enable and start it")

    def gather(self, context: Context, nics: Sequence[Nic]) -> Snapshot:
        """Returns the files of interfaces, the routes of the machine, and netconfig's settings."""

        def is_read(path: str) -> bool:
            return path in (_CONFIG, _ROUTES) or bool(_FILE.fullmatch(path) and not _LEFT_OVER.search(path))

        return Snapshot(read_files(context, filter(is_read, find_files(context, f"{_FOLDER}/*"))), {}, tuple(nics))

    def _ifcfg_files(self, files: Files) -> list[str]:
        prefix = f"{_FOLDER}/ifcfg-"
        return sorted(path for path in files if path.startswith(prefix) and path != f"{prefix}lo" and ":" not in path)

    def read(self, files: Files, nics: Sequence[Nic] = ()) -> tuple[Interface, ...]:
        """Returns the interfaces that have files."""
        return all_readable(lambda broken: self._readable(files, broken))

    def _readable(self, files: Files, broken: dict[str, CommandError]) -> tuple[Interface, ...]:
        """Returns the interfaces that can be understood; ``broken`` gets the errors of the others."""
        from .wicked_form import read_routes, read_values

        found = []
        for path in self._ifcfg_files(files):
            name = path.removeprefix(f"{_FOLDER}/ifcfg-")
            try:
                interface = read_values(name, ShellVariables(decoded(path, files[path])).values())
                path = f"{_FOLDER}/ifroute-{name}"
                routes = read_routes(name, decoded(path, files[path])) if path in files else ()
                found.append(replace(interface, routes=routes, accept_ra=_accept_ra(files, name)))
            except ValueError as error:
                broken[name] = CommandError(f"{path}: {error}")
        return tuple(found)

    def render(self, change: Change, snapshot: Snapshot) -> tuple[FileChange, ...]:
        """Returns the files of the change's interfaces that differ, and netconfig's if name servers do.

        The machine's routes lose those of the interfaces, such as the old default route, which YaST puts there.
        """
        from .wicked_form import without_routes_of

        broken: dict[str, CommandError] = {}
        current = {interface.name: interface for interface in self._readable(snapshot.files, broken)}
        check_kept(change, broken)
        wanted: dict[str, str | None] = {}
        gone, come = [], []
        kept = [each.dns for name, each in current.items() if name not in change.names]
        for interface in change.interfaces:
            old = current.get(interface.name)
            merged = share_on_link(merge(old, interface))
            if old == merged:
                kept.append(merged.dns)
                continue
            wanted |= self._written(merged, snapshot.files)
            gone += [old.dns] if old is not None else []
            come.append(merged.dns)
        for name in change.removed:
            gone += [current[name].dns] if name in current else []
            wanted |= {f"{_FOLDER}/{kind}-{name}": None for kind in ("ifcfg", "ifroute", "ifsysctl")}
        versions = dict.fromkeys(change.removed, VERSIONS) | {each.name: each.versions for each in change.interfaces}
        lost = {name: about for name, about in versions.items() if f"{_FOLDER}/ifcfg-{name}" in wanted}
        if lost and _ROUTES in snapshot.files:
            left = without_routes_of(lost, current.values(), decoded(_ROUTES, snapshot.files[_ROUTES]))
            wanted[_ROUTES] = left if left.strip() else None
        if any(gone) or any(come):
            wanted[_CONFIG] = _with_dns(snapshot.files, gone, come, kept, whole=change.whole)
        return tuple(
            FileChange(path, None if text is None else text.encode())
            for path, text in wanted.items()
            if (snapshot.files[path].content if path in snapshot.files else None)
            != (None if text is None else text.encode())
        )

    def _written(self, interface: Interface, files: Files) -> dict[str, str | None]:
        from .wicked_form import is_known, write_routes, write_values

        path = f"{_FOLDER}/ifcfg-{interface.name}"
        file = ShellVariables(decoded(path, files[path]) if path in files else f"{_HEADER}\n")
        file.remove_comments(lambda line: line.startswith("# Label "))
        file.replace(is_known, write_values(interface))
        text = file.text()
        if interface.label:
            head, separator, rest = text.partition(f"{_HEADER}\n")
            label = f"# Label {interface.label}\n"
            text = f"{head}{separator}{label}{rest}" if separator else f"{label}{text}"
        routes, sysctl = (f"{_FOLDER}/{kind}-{interface.name}" for kind in ("ifroute", "ifsysctl"))
        before = {each: decoded(each, files[each]) if each in files else "" for each in (routes, sysctl)}
        return {
            path: text,
            routes: write_routes(interface, before[routes]) or None,
            sysctl: _with_accept_ra(before[sysctl], interface) or None,
        }

    def validate(self, change: Change, staged: Files, folder: str) -> tuple[Step, ...]:
        """Returns a shell that reads each file, as wicked's other programs do, without running anything."""
        paths = ((each.name, f"{_FOLDER}/ifcfg-{each.name}") for each in change.interfaces)
        return tuple(Step(("sh", "-n", f"{folder}{path}"), name, timeout=10) for name, path in paths if path in staged)

    def plan(self, change: Change, snapshot: Snapshot, changes: Sequence[FileChange]) -> Plan:
        """Returns ``wicked ifreload`` of the change's interfaces; those that are removed are taken down first."""
        wanted = [interface.name for interface in change.interfaces]
        before = [name for name in change.names if f"{_FOLDER}/ifcfg-{name}" in snapshot.files]
        dns = any(each.path == _CONFIG for each in changes)
        removed = [name for name in before if name not in wanted]
        added = [name for name in wanted if name not in before]
        return Plan(_steps(removed, wanted, dns=dns), _steps(added, before, dns=dns))


def _start_mode(path: str, state: FileState) -> str:
    return ShellVariables(decoded(path, state)).values().get("STARTMODE", "")


def _with_dns(files: Files, gone: Iterable[Dns], come: Iterable[Dns], kept: Iterable[Dns], *, whole: bool) -> str:
    """Returns netconfig's settings with other name servers; those of nobody stay, unless ``whole`` says that the new
    ones are all that there are.
    """
    config = ShellVariables(decoded(_CONFIG, files[_CONFIG]) if _CONFIG in files else "")
    remaining = set(_words(kept))
    lost = set(_words(gone)) - remaining
    new_servers = [str(server) for dns in come for server in dns.servers]
    new_search = [domain for dns in come for domain in dns.search]
    for variable, items in ((_SERVERS, new_servers), (_SEARCH, new_search)):
        old = config.values().get(variable, "").split()
        if whole and items:
            stay = [word for word in old if word in remaining]
        else:
            stay = [word for word in old if word not in lost]
        new = list(dict.fromkeys([*stay, *items]))
        if new != old:
            config.set(variable, double_quoted(" ".join(new)))
    return config.text()


def _words(all_dns: Iterable[Dns]) -> list[str]:
    return [str(item) for dns in all_dns for item in (*dns.servers, *dns.search)]


def _steps(down: Iterable[str], up: Iterable[str], *, dns: bool) -> Steps:
    names = list(up)
    reload = [Step(("wicked", "ifreload", name), name, timeout=45) for name in names]
    update = [Step(("netconfig", "update", "-f"), None, timeout=20, check=False)] if dns else []
    return Steps(
        tuple(Step(("wicked", "ifdown", name), name, timeout=30, check=False) for name in down),
        (*reload, *update),
        tuple(
            step
            for name in names
            for step in (
                Step(("wicked", "ifdown", name), name, timeout=30, check=False),
                Step(("wicked", "ifup", name), name, timeout=45),
            )
        ),
    )


def _accept_ra(files: Files, name: str) -> bool | None:
    path = f"{_FOLDER}/ifsysctl-{name}"
    found = re.findall(_accept_ra_line(name), decoded(path, files[path])) if path in files else []
    return None if not found else found[-1] != "0"


def _with_accept_ra(text: str, interface: Interface) -> str:
    kept = re.sub(_accept_ra_line(interface.name), "", text)
    if interface.accept_ra is None:
        return kept
    kept += "\n" if kept and not kept.endswith("\n") else ""
    return f"{kept}net.ipv6.conf.{interface.name}.accept_ra = {2 if interface.accept_ra else 0}\n"


def _accept_ra_line(name: str) -> str:
    return rf"(?m)^[ \t]*net[./]ipv6[./]conf[./]{re.escape(name)}[./]accept_ra[ \t]*=[ \t]*(\d+)[ \t]*\n?"
