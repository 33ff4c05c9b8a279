"""FreeBSD's ``/etc/rc.conf``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_commands_net.backends import FileChange, Plan, Snapshot, Step, Steps
from guestagent_commands_net.checks import NetworkValueError
from guestagent_commands_net.model import VERSIONS, Change, Interface, merge
from guestagent_commands_net.reading import all_readable, check_kept, read_file
from guestagent_core.errors import CommandError

from .freebsd_links import bonds_of, share_primary, variable, vlans_of
from .gateway_routes import share_on_link
from .probing import Found, claims_of
from .shell_variables import ShellVariables, decoded

if TYPE_CHECKING:
    from guestagent_commands_net.backends import Evidence, Files
    from guestagent_commands_net.model import Bond, Nic, Vlan
    from guestagent_core import Context

__all__ = ("Freebsd",)

_FILE = "/etc/rc.conf"
_SYSTEM = "/etc/rc.d/netif"
_INTERFACE = re.compile(r"(?:ipv6_)?ifconfig_(\w+?)(?:_ipv6|_alias\d+|_aliases)?")


class Freebsd:
    """The backend ``freebsd``. An interface is stopped with the old file and started with the new one."""

    name = "freebsd"
    priority = 80
    writes_resolv_conf = False

    def probe(self, context: Context, nics: Sequence[Nic]) -> Mapping[str, Evidence]:
        """Returns the interfaces that rc.conf names, and those that it could name."""
        if not context.path(_SYSTEM).is_file():
            return {}

        def look(found: Found) -> None:
            values = ShellVariables(_text(self.gather(context, nics).files)).values()
            for nic in nics:
                if f"ifconfig_{variable(nic.name)}" in values or f"ifconfig_{variable(nic.name)}_ipv6" in values:
                    found.names[nic.name] = f"{_FILE} names it"
                    if context.root == Path("/") and nic.up:
                        found.holds[nic.name] = f"{_FILE} names it, and it is up"

        return claims_of(nics, look, started=f"{_SYSTEM} is there")

    def gather(self, context: Context, nics: Sequence[Nic]) -> Snapshot:
        """Returns ``/etc/rc.conf``."""
        state = read_file(context, _FILE)
        return Snapshot({} if state is None else {_FILE: state}, {}, tuple(nics))

    def read(self, files: Files, nics: Sequence[Nic] = ()) -> tuple[Interface, ...]:
        """Returns the interfaces that have variables."""
        return all_readable(lambda broken: self._readable(files, nics, broken))

    def _readable(self, files: Files, nics: Sequence[Nic], broken: dict[str, CommandError]) -> tuple[Interface, ...]:
        """Returns the interfaces that can be understood; ``broken`` gets the errors of the others."""
        from .freebsd_form import read_interface, read_routes, with_one_default

        values = ShellVariables(_text(files)).values()
        suffixes = {matched[1] for name in values if (matched := _INTERFACE.fullmatch(name))}
        found = []
        links: dict[str, Vlan | Bond] = {}
        try:
            links |= vlans_of(values, (nic.name for nic in nics))
            links |= bonds_of(values)
        except ValueError as error:
            raise CommandError(f"{_FILE}: {error}") from None
        known = {variable(name): name for name in (*(nic.name for nic in nics), *links)}
        for name in sorted({known.get(suffix, suffix) for suffix in suffixes} | links.keys()):
            if name in ("lo0", "DEFAULT"):
                continue
            try:
                interface = read_interface(name, values, links.get(name))
                if interface is not None:
                    found.append(replace(interface, routes=read_routes(interface, values)))
            except (ValueError, IndexError) as error:
                broken[name] = CommandError(f"{_FILE}: {name}: {error}")
        return with_one_default(found)

    def render(self, change: Change, snapshot: Snapshot) -> tuple[FileChange, ...]:
        """Returns the file if variables of the change's interfaces differ."""
        from .freebsd_form import write_interface
        from .freebsd_variables import put_interface, put_routes, take_interface, take_link, take_routes

        before = _text(snapshot.files)
        file = ShellVariables(before)
        broken: dict[str, CommandError] = {}
        current = {each.name: each for each in self._readable(snapshot.files, snapshot.nics, broken)}
        check_kept(change, broken)
        _check_defaults(change, current)
        wanted = (share_primary(share_on_link(merge(current.get(each.name), each))) for each in change.interfaces)
        changed = [each for each in wanted if each != current.get(each.name)]
        for name in change.removed:
            if name in current or name in broken:
                take_interface(file, current.get(name) or Interface(name))
        for interface in changed:  # before any is put: the default route may go from one to another
            take_routes(file, interface.name, current.get(interface.name))
        for interface in changed:
            old = current.get(interface.name)
            if old is not None and old.link != interface.link:
                take_link(file, old)
            put_interface(file, interface, write_interface(interface, file.values()))
            put_routes(file, interface)
        text = file.text()
        return (FileChange(_FILE, text.encode()),) if text != before else ()

    def validate(self, change: Change, staged: Files, folder: str) -> tuple[Step, ...]:
        """Returns a shell that reads the file, as everything in FreeBSD does, without running anything."""
        return (Step(("sh", "-n", f"{folder}{_FILE}"), None, timeout=10),)

    def plan(self, change: Change, snapshot: Snapshot, changes: Sequence[FileChange]) -> Plan:
        """Returns what stops and starts the change's interfaces, and has their routes made."""
        wanted = [interface.name for interface in change.interfaces]
        broken: dict[str, CommandError] = {}
        readable = self._readable(snapshot.files, snapshot.nics, broken)
        configured = {interface.name for interface in readable} | broken.keys()
        before = [name for name in change.names if name in configured]
        return Plan(Steps(_stop(before), _start(wanted), _again(wanted)), Steps(_stop(wanted), _start(before)))


def _check_defaults(change: Change, current: Mapping[str, Interface]) -> None:
    """Makes sure that the machine has one default route of either version, for FreeBSD knows no second one.

    :raises NetworkValueError: there would be more.
    """
    changed = {each.name: merge(current.get(each.name), each) for each in change.interfaces}
    after = {name: each for name, each in {**current, **changed}.items() if name not in change.removed}
    for version in VERSIONS:
        names = [name for name, each in after.items() for route in each.routes_of(version) if route.is_default]
        if len(names) > 1 and changed.keys() & names:
            where = ", ".join(dict.fromkeys(names))
            # As hosts know it, up to the colon.
            raise NetworkValueError(f"Multiple IPv{version} default routes specified: {where}, and FreeBSD has one")


def _text(files: Files) -> str:
    return decoded(_FILE, files[_FILE]) if _FILE in files else ""


def _stop(names: Iterable[str]) -> tuple[Step, ...]:
    return tuple(Step(("service", "netif", "stop", name), name, timeout=30, check=False) for name in names)


def _start(names: Iterable[str]) -> tuple[Step, ...]:
    steps = [Step(("service", "netif", "start", name), name, timeout=45) for name in names]
    return (*steps, Step(("service", "routing", "restart"), None, timeout=30, check=False))


def _again(names: Iterable[str]) -> tuple[Step, ...]:
    return tuple(step for name in names for step in (*_stop([name]), *_start([name])))
