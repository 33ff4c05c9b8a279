"""What a change of the network means for the machine as a whole: its name, ``/etc/hosts``, DNS, cloud-init."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_commands_net.backends import FileChange, Step
from guestagent_commands_net.reading import read_file

from . import cloud_init_file, hostname, resolver
from .hosts_file import own_addresses, with_host

if TYPE_CHECKING:
    from guestagent_commands_net.model import Change, Interface
    from guestagent_core import Context

__all__ = ("host_changes", "host_steps", "log_lines")

_HOSTS = "/etc/hosts"


def host_changes(
    change: Change, context: Context, *, previous: Iterable[Interface] = (), resolv_conf: bool = False
) -> tuple[FileChange, ...]:
    """Returns the files that differ once ``change`` is made, beside those of backends.

    :param previous: the interfaces of the change as they were configured before.
    :param resolv_conf: whether the backend leaves ``/etc/resolv.conf`` to others; see
        :attr:`~guestagent_commands_net.backends.NetworkBackend.writes_resolv_conf`.
    :raises OSError: a file cannot be read.
    """
    previous = tuple(previous)
    found = [
        hostname.hostname_change(context, change.hostname) if change.hostname is not None else None,
        _hosts(change, context, previous),
        _resolv_conf(change, context, previous) if resolv_conf else None,
        cloud_init_file.disabling_change(context) if change.names else None,
    ]
    return tuple(each for each in found if each is not None)


def host_steps(change: Change, context: Context) -> tuple[Step, ...]:
    """Returns what tells the running system of the host name."""
    return () if change.hostname is None else hostname.hostname_steps(context, change.hostname)


def log_lines(changes: Sequence[FileChange]) -> tuple[str, ...]:
    """Returns what the log has to say about ``changes``, where that is more than that a file changes."""
    if any(each.path == cloud_init_file.OURS for each in changes):
        return (f"cloud-init is told not to write the network again, by {cloud_init_file.OURS}",)
    return ()


def _hosts(change: Change, context: Context, previous: Iterable[Interface]) -> FileChange | None:
    kernel = socket.gethostname() if context.root == Path("/") else None
    old = hostname.stored_hostname(context) or kernel
    name = change.hostname or old
    if name is None or name.partition(".")[0] in ("localhost", ""):
        return None
    state = read_file(context, _HOSTS)
    before = (state.content if state else b"").decode("utf-8", "surrogateescape")
    here = {address.ip for interface in change.interfaces for address in interface.addresses}
    had = (address.ip for interface in previous for address in interface.addresses)
    gone = [str(address) for address in had if address not in here]
    after = with_host(before, own_addresses(change.interfaces), name, gone=gone, old_name=old)
    return None if after == before else FileChange(_HOSTS, after.encode("utf-8", "surrogateescape"))


def _resolv_conf(change: Change, context: Context, previous: Iterable[Interface]) -> FileChange | None:
    state = read_file(context, resolver.RESOLV_CONF)
    if not resolver.is_ours(context, state):
        return None
    before = (state.content if state else b"").decode("utf-8", "surrogateescape")
    after = resolver.with_servers(before, change.interfaces, previous, whole=change.whole)
    return None if after == before else FileChange(resolver.RESOLV_CONF, after.encode("utf-8", "surrogateescape"))
