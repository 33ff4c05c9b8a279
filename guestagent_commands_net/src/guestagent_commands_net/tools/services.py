"""Which services a guest starts: by the links of systemd, OpenRC or System V, and by what runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_commands_net.reading import find_paths

if TYPE_CHECKING:
    from guestagent_core import Context

__all__ = ("is_masked", "networkd_facts", "runs", "started_by", "starts_unknown")

_UNITS = "/etc/systemd/system"
_FOLDERS = (_UNITS, "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
            "/lib/systemd/system")  # fmt: skip
_RUNNING = "/run/systemd/units"  # where a systemd that is not too old has a link for each unit that is active
_RUNLEVELS = "/etc/runlevels"
_SCRIPTS = ("/etc", "/etc/rc.d", "/etc/init.d")  # where distributions have the folders rc2.d and so on


def started_by(context: Context, *names: str) -> str | None:
    """Returns the link that has one of the services ``names`` started with the guest; None if there is none."""
    for name in names:
        if is_masked(context, name):
            continue
        unit = f"{name}.service"
        patterns = [f"{folder}/*.{kind}/{unit}" for folder in _FOLDERS for kind in ("wants", "requires")]
        patterns += [f"{_RUNLEVELS}/*/{name}"]
        patterns += [f"{folder}/rc[2345S].d/S[0-9][0-9]{name}" for folder in _SCRIPTS]
        for pattern in patterns:
            for path in find_paths(context, pattern):
                return path
        for path in find_paths(context, f"{_UNITS}/*.service"):
            link = context.path(path, follow=False)
            if not path.endswith(f"/{unit}") and link.is_symlink() and link.readlink().name == unit:
                return path  # another name, which comes with being enabled
    return None


def is_masked(context: Context, name: str) -> bool:
    """Returns whether systemd is told never to start the service ``name``."""
    units = (context.path(f"{folder}/{name}.service", follow=False) for folder in _FOLDERS)
    strongest = next((unit for unit in units if os.path.lexists(unit)), None)
    return strongest is not None and strongest.is_symlink() and strongest.readlink() == Path("/dev/null")


def starts_unknown(context: Context) -> bool:
    """Returns whether nothing in the guest tells what it starts: its service manager is none that is known here."""
    known = (_UNITS, _RUNLEVELS, *(f"{folder}/rc2.d" for folder in _SCRIPTS))
    return not any(context.path(folder).is_dir() for folder in known)


def runs(context: Context, name: str) -> bool:
    """Returns whether the service ``name`` runs, or is done with what it had to do; never below another root."""
    if context.root != Path("/"):
        return False
    # Files that a service itself leaves in /run may stay when it is stopped.
    if context.path(_RUNNING).is_dir():
        return os.path.lexists(context.path(f"{_RUNNING}/invocation:{name}.service", follow=False))
    if context.path("/run/systemd/system").is_dir():
        done = context.run(("systemctl", "is-active", f"{name}.service"), timeout=5, check=False)
        return done.stdout.strip() == b"active"
    return any(context.path(f"{folder}/{name}").exists() for folder in ("/run/openrc/started", "/var/lock/subsys"))


def networkd_facts(context: Context) -> dict[str, str]:
    """Returns whether systemd-networkd runs, as a fact for a snapshot; none below another root, where nothing runs."""
    if context.root != Path("/"):
        return {}
    active = context.path("/run/systemd/netif/state").exists() and runs(context, "systemd-networkd")
    return {"networkd": "active" if active else "inactive"}
