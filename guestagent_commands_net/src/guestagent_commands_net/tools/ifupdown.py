"""ifupdown, as Debian has it: ``/etc/network/interfaces``, ``ifup`` and ``ifdown``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_commands_net.backends import FileChange, Plan, Snapshot, Step, Steps, apply_changes
from guestagent_commands_net.checks import is_name
from guestagent_commands_net.model import VERSIONS, Change, Interface, merge
from guestagent_commands_net.reading import find_files, read_file, target_of
from guestagent_core.errors import CommandError

from .ifupdown_dialects import DEBIAN
from .probing import Found, claims_of
from .services import runs, started_by, starts_unknown

if TYPE_CHECKING:
    from guestagent_commands_net.backends import Evidence, Files, FileState
    from guestagent_commands_net.model import Nic
    from guestagent_core import Context

    from .ifupdown_file import Block, InterfacesFile, Option, Starters

__all__ = ("Ifupdown",)

_MAIN = "/etc/network/interfaces"
_STATE = "/run/network/ifstate"
_SERVICE = "networking"
_FOLDER_NAMES = re.compile(r"[A-Za-z0-9_-]+\Z")
_DEEPEST = 10  # includes within includes
_NEW = """\
# Used by ifup(8) and ifdown(8). See the interfaces(5) manpage or
# /usr/share/doc/ifupdown/examples for more information.
# The loopback network interface
auto lo
iface lo inet loopback
"""


class Ifupdown:
    """The backend ``ifupdown``.

    An interface is configured anew by ``ifdown`` with the old file and ``ifup`` with the new one; no other is touched.
    """

    name = "ifupdown"
    priority = 60
    writes_resolv_conf = False
    dialect = DEBIAN
    """What the program wants otherwise than others."""
    state = _STATE
    """The file in which the tool remembers what it has brought up."""
    program = "ifup"
    """What ``ifup`` is in the end: others have links of that name."""
    described = "ifupdown"

    def probe(self, context: Context, nics: Sequence[Nic]) -> Mapping[str, Evidence]:
        """Returns what ifupdown has brought up, what its files name, and what it would bring up."""
        if read_file(context, _MAIN) is None or not self.installed(context):
            return {}
        started = None
        if started_by(context, _SERVICE) or runs(context, _SERVICE) or starts_unknown(context):
            started = f"{self.described} is installed, and {_MAIN} is there"

        def look(found: Found) -> None:
            snapshot = self.gather(context, nics)
            files = self.parse(snapshot.files)
            up = self.brought_up(snapshot.files) if context.root == Path("/") else set()
            for name in (nic.name for nic in nics):
                where = next((file.path for file in files.values() if file.stanzas(name)), None)
                if where is not None:
                    found.names[name] = f"{where} is for it"
                    if name in up:
                        found.holds[name] = f"{where} is for it, and {self.state} has it as brought up"

        return claims_of(nics, look, started=started, idle=f"the service {_SERVICE} is not started: enable it")

    def installed(self, context: Context) -> bool:
        """Returns whether ``ifup`` is that of the tool."""
        return target_of(context, "ifup") == self.program

    def gather(self, context: Context, nics: Sequence[Nic]) -> Snapshot:
        """Returns ``/etc/network/interfaces``, what it includes, and the tool's state."""
        files: dict[str, FileState] = {}
        self._collect(context, _MAIN, files, 0)
        state = read_file(context, self.state)
        if state is not None:
            files[self.state] = state
        return Snapshot(files, {}, tuple(nics))

    def _collect(self, context: Context, path: str, files: dict[str, FileState], depth: int) -> None:
        found = None if path in files or depth > _DEEPEST else read_file(context, path)
        if found is None:
            return
        files[path] = found
        for pattern, is_folder in _parsed(path, found.content).included():
            if not is_folder:
                listed = find_files(context, pattern)
            else:
                inside = find_files(context, f"{pattern}/*")
                listed = [each for each in inside if _FOLDER_NAMES.match(each.rpartition("/")[2])]
            for each in listed:
                self._collect(context, each, files, depth + 1)

    def parse(self, files: Files) -> dict[str, InterfacesFile]:
        """Returns the interfaces files among ``files``, the main one first.

        :raises CommandError: one cannot be understood.
        """
        paths = sorted((path for path in files if path != self.state), key=lambda path: (path != _MAIN, path))
        return {path: _parsed(path, files[path].content).copy() for path in paths}

    def brought_up(self, files: Files) -> set[str]:
        """Returns the interfaces, and aliases, that the tool remembers to have brought up."""
        state = files.get(self.state)
        lines = state.content.decode(errors="replace").splitlines() if state else []
        return {line.partition("=")[0].strip() for line in lines if line.strip()}

    def read(self, files: Files, nics: Sequence[Nic] = ()) -> tuple[Interface, ...]:
        """Returns the interfaces that have stanzas of methods that are known here."""
        parsed = self.parse(files)
        names = {name for file in parsed.values() for name in file.names() if is_name(name)}  # others are templates
        found = (self._read_one(parsed, name) for name in sorted(names))
        return tuple(interface for interface in found if interface is not None)

    def _read_one(self, files: Mapping[str, InterfacesFile], name: str) -> Interface | None:
        from .ifupdown_form import read_stanzas

        stanzas = [block for file in files.values() for block in file.stanzas(name)]
        if not stanzas:
            return None
        try:
            return read_stanzas(name, stanzas, self.dialect)
        except ValueError as error:
            where = ", ".join(path for path, file in files.items() if file.stanzas(name))
            raise CommandError(f"{where}: the stanza of {name}: {error}") from None

    def render(self, change: Change, snapshot: Snapshot) -> tuple[FileChange, ...]:
        """Returns the files in which stanzas of the change's interfaces change."""
        from .ifupdown_file import InterfacesFile

        files = self.parse(snapshot.files)
        if _MAIN not in files:
            files = {_MAIN: InterfacesFile(_MAIN, _NEW), **files}
        for interface in change.interfaces:
            self._put(files, interface)
        for name in change.removed:
            for file in files.values():
                file.take_out(name, lambda block: True, starters="all")
        changes = []
        for path, file in files.items():
            content = file.text().encode()
            if path not in snapshot.files or snapshot.files[path].content != content:
                changes.append(FileChange(path, content))
        return tuple(changes)

    def _put(self, files: Mapping[str, InterfacesFile], wanted: Interface) -> None:
        from .ifupdown_form import FAMILIES, is_known, is_void, write_stanzas

        name = wanted.name
        stanzas = [block for file in files.values() for block in file.stanzas(name)]
        try:
            current = self._read_one(files, name)
            if current is None and stanzas and wanted.partial:
                raise CommandError(f"{name} has stanzas of a kind that nothing can be kept of")
        except CommandError:
            if wanted.partial:
                raise
            current = None  # all of it is replaced, whatever is wrong with it
        interface = merge(current, wanted)
        aliases = any(block.words[1] != name for block in stanzas)
        started = any(file.started(name) for file in files.values())
        if current == interface and started and not aliases:
            return
        about: Sequence[int] = VERSIONS
        bare = any(not block.family for block in stanzas)
        if wanted.partial and current is not None and current.dns == interface.dns and not aliases and not bare:
            about = wanted.versions  # the stanzas of the other version stay as they are, to the letter
        families = [FAMILIES[version] for version in about]
        whole = len(about) == len(VERSIONS)
        replaced = [block for block in stanzas if whole or block.family in families]
        kept: dict[str, list[Option]] = {}
        for block in replaced:
            own = [each for each in block.options if not is_known(each, name) and not is_void(each, interface)]
            if own and block.words[1] == name:
                kept.setdefault(block.family, []).extend(own)
        home, place, starter = self._take(files, name, replaced, starters="own" if whole else "none")
        rest = [block for file in files.values() for block in file.stanzas(name)]
        if place is None and rest:
            home = next(file for file in files.values() if file.stanzas(name))
            place = home.blocks.index(home.stanzas(name)[-1]) + 1
        if starter is None and not any(file.started(name) for file in files.values()):
            starter = "auto"
        home.insert(place, write_stanzas(interface, about, kept, starter=starter, alone=not rest, dialect=self.dialect))

    def _take(
        self, files: Mapping[str, InterfacesFile], name: str, replaced: Sequence[Block], *, starters: Starters
    ) -> tuple[InterfacesFile, int | None, str | None]:
        """Takes stanzas out; returns the file and the place of the first one, and what had them brought up."""
        home: InterfacesFile | None = None
        place: int | None = None
        starter: str | None = None
        for file in files.values():
            there = bool(file.stanzas(name))
            taken = file.take_out(name, lambda block: any(block is each for each in replaced), starters=starters)
            starter = starter or taken.starter
            if taken.place is not None and (home is None or (there and place is None)):
                home, place = file, taken.place
        return home or files[_MAIN], place, starter

    def validate(self, change: Change, staged: Files, folder: str) -> tuple[Step, ...]:
        """Returns ``ifquery`` for each interface: it reads all of the file, and fails at the first mistake."""
        argv = ("ifquery", "--interfaces", f"{folder}{_MAIN}")
        return tuple(Step((*argv, each.name), each.name, timeout=10) for each in change.interfaces)

    def plan(self, change: Change, snapshot: Snapshot, changes: Sequence[FileChange]) -> Plan:
        """Returns ``ifdown`` and ``ifup`` of the change's interfaces, and of no other."""
        old, new = self.parse(snapshot.files), self.parse(apply_changes(snapshot.files, changes))
        wanted = [interface.name for interface in change.interfaces]
        configured = [name for name in change.names if any(file.stanzas(name) for file in old.values())]
        remembered = self.brought_up(snapshot.files)
        down = _down(change.names, old, remembered)
        return Plan(
            Steps(down, _up(_ordered(change, wanted)), _again(wanted)),
            Steps(_down(change.names, new, set(wanted), force=True), _up(configured), _again(configured)),
        )


@lru_cache(maxsize=8)  # each step of a change asks for the same files
def _parsed(path: str, content: bytes) -> InterfacesFile:
    from .ifupdown_file import InterfacesFile

    try:
        return InterfacesFile(path, content.decode())
    except UnicodeDecodeError:
        raise CommandError(f"{path}: it is not UTF-8 text") from None


def _ordered(change: Change, names: Iterable[str]) -> list[str]:
    """Cards first, then bonds, then VLANs: what an interface is made of is brought up before it."""
    links = {interface.name: interface.link for interface in change.interfaces}
    return sorted(names, key=lambda name: (links[name] is not None, hasattr(links[name], "parent")))


def _down(
    names: Iterable[str], files: Mapping[str, InterfacesFile], remembered: set[str], *, force: bool = False
) -> tuple[Step, ...]:
    from .ifupdown_file import base_name

    steps: list[Step] = []
    for name in reversed(list(names)):
        known = {block.words[1] for file in files.values() for block in file.stanzas(name)}
        known |= {each for each in remembered if base_name(each) == name}
        # Aliases first: taking the interface down makes the tool forget them.
        ordered = sorted(known, key=lambda each: (each == name, each))
        # An interface that came up half-way has addresses, and the tool does not remember it.
        verb = ("ifdown", "--force") if force else ("ifdown",)
        steps += [Step((*verb, each), name, timeout=20, check=False) for each in ordered]
        # What others have put there would stay beside what is configured.
        steps.append(Step(("ip", "addr", "flush", "dev", name, "scope", "global"), name, timeout=5, check=False))
    return tuple(steps)


def _up(names: Iterable[str]) -> tuple[Step, ...]:
    return tuple(Step(("ifup", name), name, timeout=30) for name in names)


def _again(names: Iterable[str]) -> tuple[Step, ...]:
    steps: list[Step] = []
    for name in names:
        steps.append(Step(("ifdown", "--force", name), name, timeout=20, check=False))
        steps.append(Step(("ip", "addr", "flush", "dev", name, "scope", "global"), name, timeout=5, check=False))
        steps.append(Step(("ifup", "--force", name), name, timeout=30))
    return tuple(steps)
