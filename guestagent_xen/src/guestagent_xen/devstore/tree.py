"""Nodes: paths, permissions, and the tree that holds them."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple, Protocol

from .wire import RefusedError

__all__ = ("Node", "Permission", "Tree", "View", "allows", "is_valid", "parent_of", "parse_permissions", "resolve")

_LONGEST = 2048  # bytes of a path, without the part that a relative one leaves out
_VALID = re.compile(rb"/|(/[-A-Za-z0-9_@]+)+")
_OF_A_DOMAIN = re.compile(rb"/local/domain/\d{1,5}/")
_PERMISSION = re.compile(rb"([nrwb])(\d{1,5})")


class Permission(NamedTuple):
    """What one domain may do with a node; in the first entry, which names the owner, what all others may."""

    access: str
    """``n`` nothing, ``r`` read, ``w`` write, ``b`` both."""
    domain: int


class Node(NamedTuple):
    """A node; the tree gives each state of it a number."""

    value: bytes
    permissions: tuple[Permission, ...]
    children: tuple[bytes, ...] = ()
    generation: int = 0

    @property
    def owner(self) -> int:
        """The domain that it counts for."""
        return self.permissions[0].domain


class View(Protocol):
    """The tree, or what a transaction makes of it."""

    def get(self, path: bytes) -> Node | None:
        """Returns the node at ``path``, None if there is none."""

    def peek(self, path: bytes) -> Node | None:
        """Returns the same, without having looked at it as far as conflicts are concerned."""

    def set(self, path: bytes, node: Node | None) -> None:
        """Puts a node at ``path``, or with None takes it away; parents and children are the caller's matter."""

    def owned(self, domain: int) -> int:
        """Returns how many nodes belong to ``domain``."""


class Tree:
    """All nodes, by path; there is always a root."""

    def __init__(self) -> None:
        self.nodes: dict[bytes, Node] = {}
        self.counts: Counter[int] = Counter()
        self.generation = 0
        """The number of the latest change."""
        self.set(b"/", Node(b"", (Permission("n", 0),)))

    def get(self, path: bytes) -> Node | None:
        """Returns the node at ``path``, None if there is none."""
        return self.nodes.get(path)

    peek = get

    def set(self, path: bytes, node: Node | None) -> None:
        """Puts a node at ``path``, or with None takes it away."""
        self.generation += 1
        before = self.nodes.pop(path, None)
        if before is not None:
            self.counts[before.owner] -= 1
        if node is not None:
            self.counts[node.owner] += 1
            self.nodes[path] = node._replace(generation=self.generation)

    def owned(self, domain: int) -> int:
        """Returns how many nodes belong to ``domain``."""
        return self.counts[domain]


def resolve(path: bytes, domain: int) -> bytes:
    """Returns the absolute path of one that may be the domain's own.

    :raises RefusedError: EINVAL, it is not a path.
    """
    whole = path if path.startswith(b"/") else b"/local/domain/%d/%s" % (domain, path)
    if not path or path.startswith(b"@") or not is_valid(whole):
        raise RefusedError("EINVAL")
    return whole


def is_valid(path: bytes) -> bool:
    """Returns whether ``path``, an absolute one, may be that of a node."""
    own = _OF_A_DOMAIN.match(path)
    return _VALID.fullmatch(path) is not None and len(path) - (own.end() if own else 0) <= _LONGEST


def parent_of(path: bytes) -> bytes:
    """Returns the path of the node above."""
    return path[: path.rindex(b"/")] or b"/"


def parse_permissions(words: list[bytes]) -> tuple[Permission, ...]:
    """Returns the permissions that are written as ``n0``, ``r7``.

    :raises RefusedError: EINVAL, they are written otherwise, or there are none.
    """
    matches = [_PERMISSION.fullmatch(word) for word in words]
    if not matches or None in matches:
        raise RefusedError("EINVAL")
    return tuple(Permission(match[1].decode(), int(match[2])) for match in matches if match)


def allows(permissions: tuple[Permission, ...], domain: int, access: str) -> bool:
    """Returns whether ``domain`` may read (``r``) or write (``w``)."""
    first, *others = permissions
    if domain in (0, first.domain):
        return True
    granted = next((entry.access for entry in others if entry.domain == domain), first.access)
    return granted in (access, "b")
