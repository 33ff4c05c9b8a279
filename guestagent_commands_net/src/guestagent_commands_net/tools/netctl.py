"""netctl, as Arch has it: profiles in ``/etc/netctl``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_commands_net.backends import FileChange, Plan, Snapshot, Step, Steps, apply_changes
from guestagent_commands_net.model import VERSIONS, Change, Interface, Nic, Vlan, merge
from guestagent_commands_net.reading import find_files, program, read_files
from guestagent_core.errors import CommandError

from .probing import Found, claims_of

if TYPE_CHECKING:
    from guestagent_commands_net.backends import Evidence, Files
    from guestagent_core import Context

    from .netctl_profiles import Profiles

__all__ = ("Netctl",)

_FOLDER = "/etc/netctl"
_WANTED = "/etc/systemd/system/multi-user.target.wants/netctl@*.service"


class Netctl:
    """The backend ``netctl``.

    An interface's profile is changed where it is; of several, the one that is enabled. It is stopped with the old file
    and started with the new one, because netctl has no gentler way.
    """

    name = "netctl"
    priority = 70
    writes_resolv_conf = True

    def probe(self, context: Context, nics: Sequence[Nic]) -> Mapping[str, Evidence]:
        """Returns what netctl has started, what is enabled, and what a profile could be written for.

        A profile is enabled with a change, so one that is not is no reason to leave its interface to nobody.
        """
        if program(context, "netctl") is None or not context.path(_FOLDER).is_dir():
            return {}

        def look(found: Found) -> None:
            snapshot = self.gather(context, nics)
            profiles = self._profiles(snapshot.files, snapshot.facts).by_name
            active = _active(context) if context.root == Path("/") and profiles else set()
            for name, profile in ((name, profile) for name, several in profiles.items() for profile in several):
                if profile.name in active:
                    found.holds[name] = f"netctl has started {profile.path}"
                elif f"enabled {profile.name}" in snapshot.facts:
                    found.names[name] = f"{profile.path} is for it, and is enabled"

        return claims_of(nics, look, started="netctl is installed")

    def gather(self, context: Context, nics: Sequence[Nic]) -> Snapshot:
        """Returns the profiles of cards, bonds and VLANs, and which of them are enabled."""
        from .netctl_profiles import is_ours

        found = read_files(context, find_files(context, f"{_FOLDER}/*"))
        files = {path: state for path, state in found.items() if is_ours(path, state)}
        enabled = {
            path.rpartition("netctl@")[2].removesuffix(".service").replace("\\x2d", "-") for path in _links(context)
        }
        return Snapshot(files, {f"enabled {name}": "yes" for name in enabled}, tuple(nics))

    def _profiles(self, files: Files, facts: Mapping[str, str]) -> Profiles:
        from .netctl_profiles import Profiles

        return Profiles(files, facts)

    def read(self, files: Files, nics: Sequence[Nic] = ()) -> tuple[Interface, ...]:
        """Returns the interfaces that have profiles."""
        profiles = self._profiles(files, {})
        return tuple(self._read_one(profiles, name) for name in sorted(profiles.by_name))

    def _read_one(self, profiles: Profiles, name: str) -> Interface:
        from .netctl_form import read_profile

        profile = profiles.best(name)
        assert profile is not None
        try:
            return read_profile(profile)
        except ValueError as error:
            raise CommandError(f"{profile.path}: {error}") from None

    def render(self, change: Change, snapshot: Snapshot) -> tuple[FileChange, ...]:
        """Returns the profiles of the change's interfaces that differ."""
        from .netctl_form import as_read, write_profile

        profiles = self._profiles(snapshot.files, snapshot.facts)
        for wanted in change.interfaces:
            profile = profiles.best(wanted.name)
            current: Interface | None = None
            if profile is not None:
                try:
                    current = self._read_one(profiles, wanted.name)
                except CommandError:
                    if wanted.partial:
                        raise
            interface = merge(current, wanted)
            if current is not None and current == as_read(interface):
                continue
            profile = profile or profiles.new(interface)
            versions = wanted.versions if wanted.partial and current is not None else VERSIONS
            write_profile(profile, interface, versions)
        gone = [profile for name in change.removed for profile in profiles.by_name.pop(name, [])]
        changes = [FileChange(profile.path, None) for profile in gone]
        for profile in (each for found in profiles.by_name.values() for each in found):
            content = profile.text().encode()
            before = snapshot.files.get(profile.path)
            if before is None or before.content != content:
                changes.append(FileChange(profile.path, content))
        return tuple(changes)

    def validate(self, change: Change, staged: Files, folder: str) -> tuple[Step, ...]:
        """Returns ``bash -n``: netctl has no way to check a profile, which it has bash read."""
        profiles = self._profiles(staged, {})
        found = ((each.name, profiles.best(each.name)) for each in change.interfaces)
        return tuple(
            Step(("bash", "-n", f"{folder}{profile.path}"), name, timeout=5) for name, profile in found if profile
        )

    def plan(self, change: Change, snapshot: Snapshot, changes: Sequence[FileChange]) -> Plan:
        """Returns what stops profiles with the old files, and starts them with the new ones."""
        after = apply_changes(snapshot.files, changes)
        old, new = self._profiles(snapshot.files, snapshot.facts), self._profiles(after, snapshot.facts)
        wanted = sorted(change.interfaces, key=lambda each: (each.link is not None, isinstance(each.link, Vlan)))
        names = [each.name for each in wanted]
        made = {each.name for each in wanted if each.link is not None}
        back = [name for name in (*names, *change.removed) if old.best(name) is not None]
        return Plan(
            Steps(_stop((*names, *change.removed), old, made, set(change.removed)), _start(names, new), ()),
            Steps(_stop(names, new, made, {name for name in names if name not in back}), _start(back, old), ()),
        )


def _stop(names: Iterable[str], profiles: Profiles, made: set[str], gone: set[str]) -> tuple[Step, ...]:
    steps: list[Step] = []
    for name in reversed(list(names)):
        for profile in profiles.by_name.get(name, ()):
            steps.append(Step(("netctl", "stop", profile.name), name, timeout=20, check=False))
            if name in gone:
                steps.append(Step(("netctl", "disable", profile.name), name, timeout=20, check=False))
        if name not in made:
            # netctl starts no profile whose interface is up already, and leaves alone what others have put there.
            steps.append(Step(("ip", "addr", "flush", "dev", name, "scope", "global"), name, timeout=5, check=False))
            steps.append(Step(("ip", "link", "set", "dev", name, "down"), name, timeout=5, check=False))
    return tuple(steps)


def _start(names: Iterable[str], profiles: Profiles) -> tuple[Step, ...]:
    steps: list[Step] = []
    for name in names:
        profile = profiles.best(name)
        if profile is not None:
            steps.append(Step(("netctl", "start", profile.name), name, timeout=40))
            steps.append(Step(("netctl", "reenable", profile.name), name, timeout=20, check=False))
    return tuple(steps)


def _profile_of(unit: str) -> str:
    return unit.rpartition("netctl@")[2].removesuffix(".service").replace("\\x2d", "-")


def _active(context: Context) -> set[str]:
    """The profiles that are started: one question for all of them."""
    argv = ("systemctl", "list-units", "--plain", "--no-legend", "--no-pager", "--state=active", "netctl@*.service")
    try:
        done = context.run(argv, timeout=10, check=False)
    except FileNotFoundError:
        return set()
    lines = done.stdout.decode(errors="replace").splitlines()
    return {_profile_of(line.split()[0]) for line in lines if line.strip()}


def _links(context: Context) -> list[str]:
    folder = context.path(_WANTED.rpartition("/")[0])
    try:
        return [path.name for path in folder.iterdir() if path.name.startswith("netctl@")]
    except OSError:
        return []
