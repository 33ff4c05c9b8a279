"""From a change to a record: what differs, in the files and in the kernel, and what is to be run for it."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_core.errors import CommandError

from .backends import FileChange, NetworkBackend, Plan, Step, Steps, apply_changes
from .expectations import Expectation, as_it_is, expected_of, without_configuration
from .machine.host import host_changes, host_steps, log_lines
from .machine.hostname import HOSTNAME
from .netlink import KernelState, read_state
from .nics import local_nics
from .owners import assign, complete, installed_backends
from .transaction.record import Record, boot_id
from .transaction.staging import entry_for
from .transaction.verify import Difference, differences

if TYPE_CHECKING:
    from guestagent_core import Context

    from .backends import Snapshot
    from .model import Change, Interface, Nic
    from .transaction.record import Folder

__all__ = ("Planned", "plan")


@dataclass(frozen=True)
class Planned:
    """What a change comes to on this machine."""

    change: Change
    """With everything that it removes."""
    record: Record | None
    """None: files and kernel are as wanted already."""
    owners: Mapping[str, str]
    """Which backend configures which interface."""
    different: tuple[str, ...] = ()
    """The interfaces that are configured anew."""
    found: tuple[Difference, ...] = ()
    """What the kernel has otherwise now."""
    remarks: tuple[str, ...] = ()
    """What the log has to say about files beside those of backends."""

    @property
    def unchanged(self) -> tuple[str, ...]:
        """The interfaces that nothing is done to."""
        return tuple(name for name in self.change.names if name not in self.different)


def plan(
    change: Change,
    context: Context,
    folder: Folder,
    *,
    until: float,
    backend: str | None = None,
    backends: Mapping[str, NetworkBackend] | None = None,
) -> Planned:
    """Returns what ``change`` comes to; only reads.

    :param until: the moment of :func:`time.monotonic` at which the change must have succeeded.
    :param backend: the name of the one to use; None: the owner of each interface.
    :raises guestagent_core.errors.CommandError: nobody, or more than one, configures an interface; or a file cannot be
        understood.
    """
    nics = local_nics(context)
    last = folder.last()
    change = complete(change, nics, last.names if last else ())
    shares = assign(change, backends or installed_backends(), context, nics, backend)
    live = context.root == Path("/")
    kernel = read_state() if live else {}
    parts = [_share(name, tool, share, context, nics, kernel, str(folder.check_path)) for name, tool, share in shares]
    owners = {name: part.backend for part in parts for name in part.change.names}
    files = [(change, mode) for part in parts for change, mode in part.files]
    previous = [interface for part in parts for interface in part.previous]
    resolv_conf = any(not part.writes_resolv_conf for part in parts)
    for_the_host = host_changes(change, context, previous=previous, resolv_conf=resolv_conf)
    files += [(file, file.mode) for file in for_the_host]
    hostname = None
    steps: tuple[Step, ...] = ()
    if change.hostname is not None and live:
        if socket.gethostname() != change.hostname:
            hostname = (socket.gethostname(), change.hostname)
        if hostname is not None or any(file.path == HOSTNAME for file in for_the_host):
            steps = host_steps(change, context)
    different = tuple(dict.fromkeys(name for part in parts for name in part.different))
    found = tuple(difference for part in parts for difference in part.found)
    if not files and not different and not steps and hostname is None:
        return Planned(change, None, owners)
    affected = [name for name in change.names if name in kernel]
    record = Record(
        id=os.urandom(8).hex(),
        root=str(context.root),
        boot_id=boot_id(),
        until=until,
        files=tuple(entry_for(file.path, context.path(file.path), file.content, mode) for file, mode in files),
        siblings={path: state.content for part in parts for path, state in part.snapshot.files.items()},
        validate=tuple(step for part in parts for step in part.validate) if live else (),
        plan=_joined([part.plan for part in parts], steps) if live else Plan(),
        expected=tuple(expectation for part in parts for expectation in part.expected) if live else (),
        snapshot=tuple(as_it_is(kernel[name]) for name in affected),
        hostname=hostname,
        names=tuple(interface.name for interface in change.interfaces),
    )
    return Planned(change, record, owners, different, found, log_lines(for_the_host))


@dataclass(frozen=True)
class _Share:
    """What one backend has to do."""

    backend: str
    change: Change
    snapshot: Snapshot
    files: tuple[tuple[FileChange, int], ...]
    different: tuple[str, ...]
    found: tuple[Difference, ...]
    expected: tuple[Expectation, ...]
    previous: tuple[Interface, ...]
    """The interfaces of the change as the files configure them now."""
    writes_resolv_conf: bool
    validate: tuple[Step, ...] = ()
    plan: Plan = field(default_factory=Plan)


def _share(
    name: str,
    backend: NetworkBackend,
    change: Change,
    context: Context,
    nics: Sequence[Nic],
    kernel: KernelState,
    check_folder: str,
) -> _Share:
    snapshot = backend.gather(context, nics)
    changes = backend.render(change, snapshot)
    after = apply_changes(snapshot.files, changes)
    expected = (
        *(expected_of(interface, interface.versions) for interface in change.interfaces),
        *(without_configuration(removed) for removed in change.removed),
    )
    found = tuple(differences(expected, kernel)) if kernel else ()
    before: dict[str, Interface] = {}
    try:
        before = {interface.name: interface for interface in backend.read(snapshot.files, nics)}
        new = {interface.name: interface for interface in backend.read(after, nics)} if changes else before
        in_files = {each for each in change.names if before.get(each) != new.get(each)}
    except CommandError:  # of one that is replaced, or that nobody has asked about: render would have failed else
        in_files = {each for each in change.names if backend.render(change.only([each]), snapshot)}
    touched = in_files | {difference.interface for difference in found if not difference.pending}
    part = change.only([each for each in change.names if each in touched])
    share = _Share(
        name,
        change,
        snapshot,
        tuple((file, file.mode) for file in changes),
        part.names,
        found,
        expected,
        tuple(before[each] for each in change.names if each in before),
        backend.writes_resolv_conf,
    )
    if not changes and not part.names:
        return share
    validate = backend.validate(part, after, check_folder) if changes else ()
    return replace(share, validate=validate, plan=backend.plan(part, snapshot, changes))


def _joined(plans: Sequence[Plan], host: tuple[Step, ...]) -> Plan:
    def of(side: str, phase: str) -> tuple[Step, ...]:
        return tuple(step for plan in plans for step in getattr(getattr(plan, side), phase))

    return Plan(
        Steps(of("apply", "before"), (*of("apply", "after"), *host), of("apply", "harder")),
        Steps(of("revert", "before"), of("revert", "after"), of("revert", "harder")),
    )
