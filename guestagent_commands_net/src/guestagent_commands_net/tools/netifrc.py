"""Gentoo's netifrc: ``/etc/conf.d/net`` and the services ``net.NAME``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_commands_net.backends import FileChange, Plan, Snapshot, Step, Steps
from guestagent_commands_net.model import Change, Interface, Vlan, merge
from guestagent_commands_net.reading import all_readable, check_kept, find_files, read_file
from guestagent_core.errors import CommandError

from .probing import Found, claims_of
from .services import started_by
from .shell_variables import ShellVariables, decoded

if TYPE_CHECKING:
    from guestagent_commands_net.backends import Evidence, Files
    from guestagent_commands_net.model import Nic
    from guestagent_core import Context

__all__ = ("Netifrc",)

_FILE = "/etc/conf.d/net"
_SERVICES = "/etc/init.d"
_LOOPBACK = f"{_SERVICES}/net.lo"
_STARTED = ("/run/openrc/started", "/var/lib/init.d/started")
_OPENRC = ("/sbin/openrc", "/usr/sbin/openrc", "/sbin/rc", "/sbin/openrc-run")
_STYLE = "style"
"""The fact that says whether the shell of the services knows strings only (``openrc``), or arrays (``legacy``)."""
_LINKS = "services"
"""The fact that names the interfaces that have a service."""
_CONFIG = re.compile(r"config_(\w+)")


class Netifrc:
    """The backend ``netifrc``. An interface is stopped with the old file and started with the new one."""

    name = "netifrc"
    priority = 70
    writes_resolv_conf = False

    def probe(self, context: Context, nics: Sequence[Nic]) -> Mapping[str, Evidence]:
        """Returns the interfaces that have a service, in a runlevel or running, and those that could have one.

        A service is put into a runlevel with a change; what the file says of an interface without one is left over.
        """
        if not context.path(_LOOPBACK).is_file():
            return {}

        def look(found: Found) -> None:
            for name in (nic.name for nic in nics):
                service = f"net.{name}"
                link = started_by(context, service)
                if link is not None:
                    found.names[name] = f"{link} is for it"
                if context.root == Path("/") and any(context.path(f"{each}/{service}").exists() for each in _STARTED):
                    found.holds[name] = f"the service {service} is started"

        return claims_of(nics, look, started=f"{_LOOPBACK} is there")

    def gather(self, context: Context, nics: Sequence[Nic]) -> Snapshot:
        """Returns ``/etc/conf.d/net``, the style of its values, and the services that there are."""
        state = read_file(context, _FILE)
        style = "openrc" if any(context.path(path).exists() for path in _OPENRC) else "legacy"
        links = [
            path.removeprefix(f"{_SERVICES}/net.")
            for path in find_files(context, f"{_SERVICES}/net.*")
            if path != _LOOPBACK
        ]
        facts = {_STYLE: style, _LINKS: " ".join(links)}
        return Snapshot({} if state is None else {_FILE: state}, facts, tuple(nics))

    def read(self, files: Files, nics: Sequence[Nic] = ()) -> tuple[Interface, ...]:
        """Returns the interfaces that have variables."""
        return all_readable(lambda broken: self._readable(files, nics, broken))

    def _readable(self, files: Files, nics: Sequence[Nic], broken: dict[str, CommandError]) -> tuple[Interface, ...]:
        """Returns the interfaces that can be understood; ``broken`` gets the errors of the others."""
        from .netifrc_form import read_interface, variable, vlans_of

        file = ShellVariables(_text(files))
        values = file.values()
        known = {variable(name): name for name in (*(nic.name for nic in nics), *vlans_of(values))}
        suffixes = {matched[1] for name in values if (matched := _CONFIG.fullmatch(name))}
        names = {known.get(suffix, suffix) for suffix in suffixes} | vlans_of(values).keys()
        found = []
        for name in sorted(names - {"lo"}):
            try:
                interface = read_interface(name, file)
            except (ValueError, IndexError) as error:
                broken[name] = CommandError(f"{_FILE}: {name}: {error}")
                continue
            if interface is not None:
                found.append(interface)
        return tuple(found)

    def render(self, change: Change, snapshot: Snapshot) -> tuple[FileChange, ...]:
        """Returns the file if variables of the change's interfaces differ."""
        from .netifrc_form import add_vlan, names_of, put_interface, remove_vlan, variable, write_interface

        before = _text(snapshot.files)
        file = ShellVariables(before)
        arrays = "=(" in re.sub(r"[ \t]", "", before) or (
            snapshot.facts.get(_STYLE) == "legacy" and not any(name.startswith("config_") for name in file.values())
        )
        broken: dict[str, CommandError] = {}
        current = {each.name: each for each in self._readable(snapshot.files, snapshot.nics, broken)}
        check_kept(change, broken)
        # First, for a VLAN of the same number may have another name from now on.
        for name in change.removed:
            if name not in current and name not in broken:
                continue
            ours = names_of(name, file.values())
            file.remove_label(ours.__contains__)
            file.remove(ours.__contains__)
            link = current[name].link if name in current else None
            if isinstance(link, Vlan):
                remove_vlan(file, link)
        for interface in change.interfaces:
            old = current.get(interface.name)
            merged = merge(old, interface)
            if old == merged:
                continue
            if old is not None and isinstance(old.link, Vlan) and old.link != merged.link:
                remove_vlan(file, old.link)
            routes = file.items(f"routes_{variable(merged.name)}")
            written = write_interface(merged, routes, arrays=arrays)
            if isinstance(merged.link, Vlan):
                add_vlan(file, merged.name, merged.link)
            put_interface(file, merged, written)
        text = file.text()
        return (FileChange(_FILE, text.encode()),) if text != before else ()

    def validate(self, change: Change, staged: Files, folder: str) -> tuple[Step, ...]:
        """Returns a shell that reads the file, as the services do, without running anything; arrays need bash."""
        shell = "bash" if "=(" in _text(staged) else "sh"
        return (Step((shell, "-n", f"{folder}{_FILE}"), None, timeout=10),)

    def plan(self, change: Change, snapshot: Snapshot, changes: Sequence[FileChange]) -> Plan:
        """Returns what stops and starts the services of the change's interfaces, and of no other."""
        services = snapshot.facts.get(_LINKS, "").split()
        wanted = [interface.name for interface in change.interfaces]
        broken: dict[str, CommandError] = {}
        readable = self._readable(snapshot.files, snapshot.nics, broken)
        configured = {interface.name for interface in readable} | broken.keys()
        before = [name for name in change.names if name in configured]
        missing = [name for name in wanted if name not in services]
        return Plan(
            Steps(_stop(change.names, services), (*_service(missing), *_start(wanted)), _again(wanted)),
            Steps(_stop(change.names, [*services, *wanted]), (*_start(before), *_no_service(missing)), _again(before)),
        )


def _text(files: Files) -> str:
    return decoded(_FILE, files[_FILE]) if _FILE in files else ""


def _stop(names: Iterable[str], services: Iterable[str]) -> tuple[Step, ...]:
    steps = []
    for name in names:
        if name in services:
            steps.append(Step(("rc-service", f"net.{name}", "stop"), name, timeout=30, check=False))
        # What others have put there would stay beside what is configured.
        steps.append(Step(("ip", "addr", "flush", "dev", name, "scope", "global"), name, timeout=5, check=False))
    return tuple(steps)


def _start(names: Iterable[str]) -> tuple[Step, ...]:
    return tuple(Step(("rc-service", f"net.{name}", "start"), name, timeout=45) for name in names)


def _again(names: Iterable[str]) -> tuple[Step, ...]:
    return tuple(Step(("rc-service", f"net.{name}", "restart"), name, timeout=45) for name in names)


def _service(names: Iterable[str]) -> tuple[Step, ...]:
    """Makes services, which are links to that of the loopback, and has them started at boot."""
    return tuple(
        step
        for name in names
        for step in (
            Step(("ln", "-s", "net.lo", f"{_SERVICES}/net.{name}"), name, timeout=5, check=False),
            Step(("rc-update", "add", f"net.{name}", "default"), name, timeout=10, check=False),
        )
    )


def _no_service(names: Iterable[str]) -> tuple[Step, ...]:
    return tuple(
        step
        for name in names
        for step in (
            Step(("rc-update", "del", f"net.{name}", "default"), name, timeout=10, check=False),
            Step(("rm", "-f", f"{_SERVICES}/net.{name}"), name, timeout=5, check=False),
        )
    )
