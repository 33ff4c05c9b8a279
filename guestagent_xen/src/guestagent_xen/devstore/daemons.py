"""The two daemons in the field, as far as they differ."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("DAEMONS", "Daemon")


@dataclass(frozen=True)
class Daemon:
    """What one daemon allows, and how it refuses. Each figure was found by asking the real one."""

    name: str
    largest_value: int | None
    """Bytes of a value, whoever writes it."""
    largest_record: int | None
    """Bytes of a node that a guest writes: 24, 8 for each permission, its value, and the names of its children."""
    most_permissions: int | None
    """Entries that a guest may give a node."""
    most_nodes: int
    """Nodes that belong to one guest."""
    most_watches: int
    """Watches of one guest."""
    most_transactions: int
    """Transactions that one guest has open."""
    no_room: str
    """The error of what would be more than a guest may have."""
    too_many_watches: str
    unknown_transaction: str
    foreign_owner: str
    """The error of a guest that gives a node away."""
    unknown_domain: str
    """The error of a release of a domain that is not there."""
    lists_in_parts: bool
    """Whether DIRECTORY_PART works."""
    splits_large_lists: bool
    """Whether domain 0 too is refused a list that is larger than a message."""
    sorts_names: bool
    """Whether names are listed in alphabetical order, or in that in which they were made."""
    hides_missing: bool
    """Whether a guest is refused, rather than told that there is no node, where it may not look."""
    gives_to_maker: bool
    """Whether a node that a guest makes belongs to it, or to the owner of the node above."""
    makes_parents_first: bool
    """Whether the parents of a node are made, and stay, also if the node itself is refused."""
    events_first: bool
    """Whether the events of an operation come before its answer; those of a transaction always do."""
    tells_below: bool
    """Whether those are told too that a node went who watch one right below it that was not there."""
    replays: bool
    """Whether a transaction meets a conflict only if it would read something else now: it is done again on what has
    become of the tree. Else any change of a node that it has looked at is one."""


DAEMONS = {
    "xenstored": Daemon(
        name="xenstored",
        largest_value=None,
        largest_record=2047,
        most_permissions=5,
        most_nodes=1000,
        most_watches=129,
        most_transactions=11,
        no_room="ENOSPC",
        too_many_watches="E2BIG",
        unknown_transaction="ENOENT",
        foreign_owner="EPERM",
        unknown_domain="ENOENT",
        lists_in_parts=True,
        splits_large_lists=True,
        sorts_names=False,
        hides_missing=True,
        gives_to_maker=True,
        makes_parents_first=False,
        events_first=True,
        tells_below=False,
        replays=False,
    ),
    "oxenstored": Daemon(
        name="oxenstored",
        largest_value=2048,
        largest_record=None,
        most_permissions=None,
        most_nodes=1000,
        most_watches=101,
        most_transactions=11,
        no_room="EQUOTA",
        too_many_watches="EQUOTA",
        unknown_transaction="EIO",
        foreign_owner="EACCES",
        unknown_domain="EINVAL",
        lists_in_parts=False,
        splits_large_lists=False,
        sorts_names=True,
        hides_missing=False,
        gives_to_maker=False,
        makes_parents_first=True,
        events_first=False,
        tells_below=True,
        replays=True,
    ),
}
