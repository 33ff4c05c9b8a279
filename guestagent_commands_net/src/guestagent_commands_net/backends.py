"""What a network backend has to offer, and how the work is shared with the transaction.

A backend knows the files and the programs of one way to configure a network. It decides nothing and changes nothing:
``probe`` and ``gather`` read, all the rest is pure, and what they return is data that the transaction writes, runs,
journals and undoes. Everything that undoing needs is known before anything is changed.

A backend is a class that is named by an entry point in the group ``guestagent.network_backends`` and is built without
arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from typing import TypeAlias

    from guestagent_core import Context

    from .model import Change, Interface, Nic

__all__ = (
    "BACKENDS",
    "Claim",
    "Evidence",
    "FileChange",
    "FileState",
    "NetworkBackend",
    "Plan",
    "Snapshot",
    "Step",
    "Steps",
    "apply_changes",
)

BACKENDS = "guestagent.network_backends"
"""The group of entry points."""


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as it is."""

    content: bytes
    mode: int = 0o644
    link: str | None = None
    """Where it leads if it is a symbolic link; ``content`` is what is read through it."""


Files: TypeAlias = Mapping[str, FileState]
"""Files by their absolute path in the guest. A file that is not there does not exist."""


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file as it is to be. It is written beside its place, synchronised and moved there."""

    path: str
    """The absolute path in the guest."""
    content: bytes | None
    """None: the file is removed."""
    mode: int = 0o644
    """The mode of a file that is new; one that exists keeps its own, less what ``mode`` does not allow."""


def apply_changes(files: Files, changes: Iterable[FileChange]) -> dict[str, FileState]:
    """Returns ``files`` as they are once ``changes`` are made."""
    after = dict(files)
    for change in changes:
        if change.content is None:
            after.pop(change.path, None)
        else:
            after[change.path] = FileState(change.content, change.mode)
    return after


class Claim(IntEnum):
    """How strongly a backend's tool holds an interface, the strongest last."""

    UNUSED = 0
    """Its files name the interface, and nobody goes by them, because nothing starts the tool or because they say so
    themselves. It never gets the interface; the error that nobody has it tells the reason."""
    COULD = 1
    """It is what this machine configures its network with, but it knows nothing of this interface."""
    CONFIGURED = 2
    """Its files name the interface."""
    MANAGES = 3
    """It has the interface in its hands at this moment."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a backend's tool holds an interface, in words that an error can name."""

    claim: Claim
    reason: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a backend needs to know of the machine: all that its pure methods are given."""

    files: Files = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    """What programs said, by names of the backend's own, such as the UUID of an active connection."""
    nics: tuple[Nic, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """A program to run."""

    argv: tuple[str, ...]
    interface: str | None = None
    """What the step is about, for errors and logs; None: everything."""
    input: bytes = b""
    timeout: float = 30.0
    """In seconds."""
    check: bool = True
    """Whether an exit status other than 0 is a failure."""


@dataclass(frozen=True, slots=True)
class Steps:
    """How files that change are made to count, in the order of the fields."""

    before: tuple[Step, ...] = ()
    """Run while the old files are still in place."""
    after: tuple[Step, ...] = ()
    """Run once the new files are in place; the gentlest way that there is."""
    harder: tuple[Step, ...] = ()
    """Run if the kernel is not as wanted after that, those steps alone whose interface differs (or that have none)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run for a change, and what is run if it has to be undone."""

    apply: Steps = Steps()
    revert: Steps = Steps()
    """For the way back: ``before`` is run with the new files in place, the others once the old ones are back."""


@runtime_checkable
class NetworkBackend(Protocol):
    """One way to configure a network, such as ifupdown or netplan."""

    name: str
    """As in the entry point."""
    priority: int
    """Of backends whose claims are equally strong, and below :attr:`Claim.MANAGES`, the one with the lowest number
    is taken."""
    writes_resolv_conf: bool
    """Whether the tool, or what it hands name servers to, looks after ``/etc/resolv.conf``. If not, and if no other
    program does, it is written with the backend's files."""

    def probe(self, context: Context, nics: Sequence[Nic]) -> Mapping[str, Evidence]:
        """Returns what the tool holds of ``nics``, by name; an interface that it has nothing to do with is left out.

        What it configures through another tool is its own and not the other's. Files alone make nothing its own: the
        tool has to be at work, or be started with the machine. With a root other than ``/`` no program is run, and
        nothing is managed.
        """

    def gather(self, context: Context, nics: Sequence[Nic]) -> Snapshot:
        """Returns all that the other methods have to know: files with their content, and facts.

        With a root other than ``/`` no program is run.
        """

    def render(self, change: Change, snapshot: Snapshot) -> tuple[FileChange, ...]:
        """Returns the files that differ once ``change`` is made, and no others. Pure.

        Of files that others share, nothing changes but what is about the interfaces of the change: comments, other
        interfaces and keys that are not known stay; of an interface that is ``partial`` the other IP version stays too.

        :raises guestagent_core.errors.InvalidArgumentError: the format cannot express it.
        :raises guestagent_core.errors.CommandError: a file cannot be understood; the text names it and the line.
        """

    def read(self, files: Files, nics: Sequence[Nic] = ()) -> tuple[Interface, ...]:
        """Returns the interfaces that ``files`` configure, in the order of names; what ``render`` wrote is read back
        as it was. Pure.

        :param nics: the cards of the machine, where files know them by their MACs alone.
        :raises guestagent_core.errors.CommandError: a file cannot be understood; the text names it and the line.
        """

    def validate(self, change: Change, staged: Files, folder: str) -> tuple[Step, ...]:
        """Returns the steps by which the tool itself checks files before they count; exit status 0 is good.

        :param staged: the files of the snapshot with all changes made.
        :param folder: where these files lie for the check, each at its path below this folder.
        """

    def plan(self, change: Change, snapshot: Snapshot, changes: Sequence[FileChange]) -> Plan:
        """Returns what makes ``changes``, those of ``render``, count in the kernel, and what takes them back. Pure.

        An interface whose files and kernel state are as wanted is not in ``change`` any more: steps are for those that
        are, and harm no other.
        """
