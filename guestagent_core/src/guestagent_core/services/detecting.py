"""The init systems that the agent can be a service of, and which one a machine or an image has."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from guestagent_core.errors import ConfigError
from guestagent_core.paths import resolve

__all__ = ("INIT_SYSTEMS", "InitSystem", "detect")


@dataclass(frozen=True)
class InitSystem:
    """How a service is known to one init system; paths are the guest's."""

    name: str
    template: str
    """The file of the service, in the folder ``files``."""
    destination: str
    mode: int
    marks: tuple[str, ...]
    """Paths of which one shows that the init system is installed."""
    init: tuple[str, ...] = ()
    """What the program that ``/sbin/init`` is a link to can be named."""
    needs_init: bool = False
    """Whether it is started by that link only, so that beside another ``/sbin/init`` it is there and does not run."""
    running: str = ""
    """A path that is there while it runs."""
    links: tuple[str, ...] = ()
    """Where links to the service make that it is started; those whose folder's parent is missing are left out."""
    extra: tuple[tuple[str, str], ...] = ()
    """Further files, with their content."""
    on_change: tuple[str, ...] = ()
    """The program that tells the running init system."""
    start: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()


_SYSV_LINKS = tuple(
    f"{folder}/rc{level}.d/{'S09' if level in '2345' else 'K91'}guestagent"
    for folder in ("/etc", "/etc/rc.d")
    for level in "0123456"
)

INIT_SYSTEMS = (
    InitSystem(
        "systemd",
        "guestagent.service",
        "/etc/systemd/system/guestagent.service",
        0o644,
        ("/usr/lib/systemd/systemd", "/lib/systemd/systemd"),
        init=("systemd",),
        needs_init=True,
        running="/run/systemd/system",
        links=("/etc/systemd/system/multi-user.target.wants/guestagent.service",),
        on_change=("systemctl", "daemon-reload"),
        start=("systemctl", "restart", "guestagent.service"),
        stop=("systemctl", "stop", "guestagent.service"),
    ),
    InitSystem(
        "openrc",
        "guestagent.openrc",
        "/etc/init.d/guestagent",
        0o755,
        ("/sbin/openrc-run", "/usr/sbin/openrc-run"),
        init=("openrc-init",),
        running="/run/openrc/softlevel",
        links=("/etc/runlevels/boot/guestagent",),
        start=("rc-service", "guestagent", "restart"),
        stop=("rc-service", "guestagent", "stop"),
    ),
    InitSystem(
        "freebsd",
        "guestagent.rcd",
        "/usr/local/etc/rc.d/guestagent",
        0o755,
        ("/etc/rc.subr",),
        extra=(("/etc/rc.conf.d/guestagent", 'guestagent_enable="YES"\n'),),
        start=("service", "guestagent", "restart"),
        stop=("service", "guestagent", "stop"),
    ),
    InitSystem(
        "sysv",
        "guestagent.sysv",
        "/etc/init.d/guestagent",
        0o755,
        ("/etc/init.d",),
        links=_SYSV_LINKS,
        start=("/etc/init.d/guestagent", "restart"),
        stop=("/etc/init.d/guestagent", "stop"),
    ),
)


def detect(root: Path, name: str | None = None) -> InitSystem:
    """Returns the init system of the guest below ``root``: the one that runs, else what ``/sbin/init`` is, else the
    first one that is installed.

    :param name: take this one.
    :raises ConfigError: there is none of those that are known.
    """
    if name is not None:
        return next(system for system in INIT_SYSTEMS if system.name == name)
    if root == Path("/"):
        for system in INIT_SYSTEMS:
            if system.running and os.path.exists(system.running):
                return system
    init = resolve(root, "/sbin/init")
    for system in INIT_SYSTEMS:
        if init.name in system.init:
            return system
    for system in INIT_SYSTEMS:
        if not (system.needs_init and init.exists()) and any(resolve(root, mark).exists() for mark in system.marks):
            return system
    names = ", ".join(system.name for system in INIT_SYSTEMS)
    raise ConfigError(f"{root}: no init system is found there (known: {names}); name one with --init")
