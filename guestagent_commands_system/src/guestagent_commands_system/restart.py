"""How the agent is restarted, by whatever it was started by."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_core import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guestagent_core import Context

__all__ = ("restart_command",)

_SCRIPTS = ("/etc/init.d/{}", "/etc/rc.d/{}", "/usr/local/etc/rc.d/{}", "/etc/{}.init")


def restart_command(context: Context, services: Iterable[str]) -> list[str]:
    """Returns the command that restarts the agent.

    In the order in which they are looked for: the systemd unit that this process belongs to, or one of the names in
    ``services``; an OpenRC service; a start script of System V or FreeBSD. In another root than ``/`` there are only
    scripts.

    :raises CommandError: 404, there is none of these.
    """
    if context.root == Path("/"):
        found = _systemd(context, services) or _openrc(context, services)
        if found:
            return found
    for form in _SCRIPTS:
        for service in services:
            script = context.path(form.format(service))
            if script.is_file():
                return ["sh", str(script), "restart"]
    raise CommandError("No init script found to restart", 404)


def _systemd(context: Context, services: Iterable[str]) -> list[str] | None:
    if not context.path("/run/systemd/system").is_dir():
        return None
    try:
        mine = context.path("/proc/self/cgroup").read_text()
    except OSError:
        mine = ""
    own = re.findall(r"/system\.slice/([^/\n]+\.service)(?:/|$)", mine, re.MULTILINE)
    for unit in (*own, *(f"{service}.service" for service in services)):
        if context.run(["systemctl", "cat", "--", unit], check=False).returncode == 0:
            return ["systemctl", "restart", "--", unit]
    return None


def _openrc(context: Context, services: Iterable[str]) -> list[str] | None:
    if not context.path("/run/openrc").is_dir():
        return None
    for service in services:
        if context.path(f"/etc/init.d/{service}").is_file():
            return ["rc-service", service, "restart"]
    return None
