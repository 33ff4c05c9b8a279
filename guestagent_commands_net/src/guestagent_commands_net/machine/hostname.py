"""The host name: where it is kept, and how a running system is told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_commands_net.backends import FileChange, Step
from guestagent_commands_net.reading import program, read_file, read_text

if TYPE_CHECKING:
    from guestagent_core import Context

__all__ = ("HOSTNAME", "hostname_change", "hostname_steps", "stored_hostname")

HOSTNAME = "/etc/hostname"


def stored_hostname(context: Context) -> str | None:
    """Returns the host name that the machine has after its next start, None if it is not stored."""
    for line in read_text(context, HOSTNAME).splitlines():
        name = line.strip()
        if name and not name.startswith("#"):
            return name
    return None


def hostname_change(context: Context, name: str) -> FileChange | None:
    """Returns the file that keeps ``name``, None if it does already."""
    state = read_file(context, HOSTNAME)
    if state is not None and stored_hostname(context) == name:
        return None
    comments = [line for line in (state.content if state else b"").splitlines(keepends=True) if line.startswith(b"#")]
    return FileChange(HOSTNAME, b"".join(comments) + name.encode() + b"\n")


def hostname_steps(context: Context, name: str) -> tuple[Step, ...]:
    """Returns what tells the running system of ``name``: hostnamectl, where systemd runs.

    The file and the kernel have the name already, so that nothing depends on it.
    """
    running = context.root == Path("/") and context.path("/run/systemd/system").is_dir()
    if not running or program(context, "hostnamectl") is None:
        return ()
    return (Step(("hostnamectl", "set-hostname", name), timeout=10, check=False),)
