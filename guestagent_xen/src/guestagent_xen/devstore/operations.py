"""What a domain may do with nodes: each operation on one view of the tree, with its permissions and its quotas."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .daemons import Daemon
from .tree import Node, Permission, View, allows, parent_of, parse_permissions, resolve
from .wire import LARGEST, Op, RefusedError

__all__ = ("ON_NODES", "Change", "Operations")

_OK = b"OK\0"
_RECORD = 24  # bytes that C xenstored needs for a node beside its content
_ENTRY = 8  # and for an entry of its permissions


class Change(NamedTuple):
    """A node that an operation made, wrote, or took away."""

    path: bytes
    exact: bool
    """Whether only watches of this very node are told: it went away with one above it."""
    readers: tuple[tuple[Permission, ...], ...]
    """Permissions of the node, before and now, and of the one above it: who may read by any of them is told."""
    beside: tuple[bytes, ...] | None = None
    """If not None, only those are told who watch a node right below this one, but none of these names."""


class Operations:
    """What ``domain`` does to ``view``.

    :param daemon: whose limits and errors apply.
    """

    def __init__(self, view: View, domain: int, daemon: Daemon) -> None:
        self.changes: list[Change] = []
        """What was changed, in that order."""
        self.out_of_room = False
        """Whether something was refused for a quota."""
        self._view = view
        self._domain = domain
        self._daemon = daemon

    def run(self, op: int, content: bytes) -> bytes:
        """Does one of the operations ``ON_NODES``, and returns the answer.

        :raises RefusedError: it is not allowed, or not possible.
        """
        if op == Op.WRITE:
            path, end, value = content.partition(b"\0")
            if not end:
                raise RefusedError("EINVAL")
            return self._write(resolve(path, self._domain), value)
        *arguments, rest = content.split(b"\0")
        if not arguments or rest:
            raise RefusedError("EINVAL")
        path = resolve(arguments[0], self._domain)
        if op == Op.SET_PERMS:
            return self._set_permissions(path, parse_permissions(arguments[1:]))
        if op == Op.DIRECTORY_PART:
            return self._directory_part(path, arguments[1:])
        if len(arguments) > 1:
            raise RefusedError("EINVAL")
        return _WITH_A_PATH[op](self, path)

    def _read(self, path: bytes) -> bytes:
        return self._find(path, "r").value

    def _directory(self, path: bytes) -> bytes:
        names = self._names(path)
        if len(names) > LARGEST and (self._domain or self._daemon.splits_large_lists):
            raise RefusedError("E2BIG")
        return names

    def _directory_part(self, path: bytes, arguments: list[bytes]) -> bytes:
        if len(arguments) != 1 or not arguments[0].isdigit():
            raise RefusedError("EINVAL")
        rest = self._names(path)[int(arguments[0]) :]
        generation = b"%d\0" % self._find(path, "r").generation
        most = LARGEST - len(generation) - 1
        if len(rest) <= most:
            return generation + rest + b"\0"
        return generation + rest[: rest.rindex(b"\0", 0, most) + 1]

    def _names(self, path: bytes) -> bytes:
        children = self._find(path, "r").children
        return b"".join(name + b"\0" for name in (sorted(children) if self._daemon.sorts_names else children))

    def _get_permissions(self, path: bytes) -> bytes:
        return b"".join(
            b"%s%d\0" % (entry.access.encode(), entry.domain) for entry in self._find(path, "r").permissions
        )

    def _set_permissions(self, path: bytes, permissions: tuple[Permission, ...]) -> bytes:
        node = self._find(path, "w")
        if self._domain:
            if node.owner != self._domain:
                raise RefusedError("EACCES")
            if permissions[0].domain != node.owner:
                raise RefusedError(self._daemon.foreign_owner)
            if self._daemon.most_permissions is not None and len(permissions) > self._daemon.most_permissions:
                self._refuse(self._daemon.no_room)
        self._put(path, node._replace(permissions=permissions))
        self._note(path, node.permissions, permissions)
        return _OK

    def _write(self, path: bytes, value: bytes) -> bytes:
        self._make_parents(path)
        if self._daemon.largest_value is not None and len(value) > self._daemon.largest_value:
            raise RefusedError("E2BIG")
        node = self._view.get(path)
        if node is None:
            return self._make(path, value)
        if not allows(node.permissions, self._domain, "w"):
            raise RefusedError("EACCES")
        self._put(path, node._replace(value=value))
        self._note(path, node.permissions)
        return _OK

    def _mkdir(self, path: bytes) -> bytes:
        node = self._view.get(path)
        if node is None:
            self._make_parents(path)
            return self._make(path, b"")
        if not allows(node.permissions, self._domain, "w"):
            raise RefusedError("EACCES")
        return _OK

    def _make_parents(self, path: bytes) -> None:
        above = parent_of(path)
        if self._daemon.makes_parents_first and self._view.peek(above) is None:
            self._make_parents(above)
            self._make(above, b"")
            del self.changes[-1]  # nobody is told

    def _make(self, path: bytes, value: bytes) -> bytes:
        missing = [path]
        while (above := self._view.get(parent_of(missing[-1]))) is None:
            missing.append(parent_of(missing[-1]))
        if not allows(above.permissions, self._domain, "w"):
            raise RefusedError("EACCES")
        permissions = above.permissions
        if self._domain:
            if self._view.owned(self._domain) + len(missing) > self._daemon.most_nodes:
                self._refuse(self._daemon.no_room)
            if self._daemon.gives_to_maker:
                permissions = (Permission(permissions[0].access, self._domain), *permissions[1:])
        made = {parent_of(missing[-1]): above._replace(children=(*above.children, _name(missing[-1])))}
        for here, below in zip(missing, [None, *missing], strict=False):
            children = () if below is None else (_name(below),)
            made[here] = Node(value if below is None else b"", permissions, children)
        for node in made.values():
            self._check_size(node)
        for here, node in made.items():
            self._view.set(here, node)
        self._note(path, permissions)
        return _OK

    def _remove(self, path: bytes) -> bytes:
        if path == b"/":
            raise RefusedError("EINVAL")
        node = self._view.get(path)
        if node is None:
            if self._daemon.hides_missing:
                self._check_above(path, "w")
            if self._view.get(parent_of(path)) is None:
                raise RefusedError("ENOENT")
            return _OK
        if not allows(node.permissions, self._domain, "w"):
            raise RefusedError("EACCES")
        above = self._view.get(parent_of(path))
        assert above is not None
        name = _name(path)
        self._note(path, node.permissions)
        self._view.set(parent_of(path), above._replace(children=tuple(each for each in above.children if each != name)))
        self._take_away(path, node)
        return _OK

    def _take_away(self, path: bytes, node: Node) -> None:
        if self._daemon.tells_below:
            self.changes.append(Change(path, True, (node.permissions,), node.children))
        for name in node.children:
            below = self._view.get(path + b"/" + name)
            assert below is not None
            self.changes.append(Change(path + b"/" + name, True, (below.permissions, node.permissions)))
            self._take_away(path + b"/" + name, below)
        self._view.set(path, None)

    def _find(self, path: bytes, access: str) -> Node:
        node = self._view.get(path)
        if node is None:
            if self._daemon.hides_missing:
                self._check_above(path, access)
            raise RefusedError("ENOENT")
        if not allows(node.permissions, self._domain, access):
            raise RefusedError("EACCES")
        return node

    def _check_above(self, path: bytes, access: str) -> None:
        while (above := self._view.get(path := parent_of(path))) is None:
            pass
        if not allows(above.permissions, self._domain, access):
            raise RefusedError("EACCES")

    def _put(self, path: bytes, node: Node) -> None:
        self._check_size(node)
        self._view.set(path, node)

    def _check_size(self, node: Node) -> None:
        if self._domain and self._daemon.largest_record is not None:
            names = sum(len(name) + 1 for name in node.children)
            if _RECORD + _ENTRY * len(node.permissions) + len(node.value) + names > self._daemon.largest_record:
                self._refuse(self._daemon.no_room)

    def _refuse(self, name: str) -> None:
        self.out_of_room = True
        raise RefusedError(name)

    def _note(self, path: bytes, *permissions: tuple[Permission, ...]) -> None:
        above = self._view.peek(parent_of(path)) if path != b"/" else None
        self.changes.append(Change(path, False, permissions if above is None else (*permissions, above.permissions)))


def _name(path: bytes) -> bytes:
    return path[path.rindex(b"/") + 1 :]


_WITH_A_PATH: dict[int, Callable[[Operations, bytes], bytes]] = {
    Op.READ: Operations._read,
    Op.DIRECTORY: Operations._directory,
    Op.GET_PERMS: Operations._get_permissions,
    Op.MKDIR: Operations._mkdir,
    Op.RM: Operations._remove,
}
ON_NODES = frozenset((*_WITH_A_PATH, Op.WRITE, Op.SET_PERMS, Op.DIRECTORY_PART))
