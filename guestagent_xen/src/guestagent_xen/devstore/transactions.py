"""Transactions: what one does stays its own until it is committed, and what a conflict is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from .operations import Change
from .tree import Node, Tree, View
from .wire import RefusedError

__all__ = ("CheckingTransaction", "ReplayingTransaction", "Transaction")


class Transaction(View, Protocol):
    """An open transaction: a view of the tree that is the transaction's own, with an end."""

    def done(self, op: int, content: bytes, answer: bytes, changes: list[Change]) -> None:
        """Notes that an operation was done in it."""

    def failed(self) -> None:
        """Notes that an operation found no room."""

    def commit(self) -> list[Change]:
        """Puts everything into the tree at once; returns what watches are told of.

        :raises RefusedError: EAGAIN, somebody else was there first; nothing has changed.
        """


class _Overlay:
    def __init__(self) -> None:
        self._changed: dict[bytes, Node | None] = {}
        self._counts: Counter[int] = Counter()

    def _change(self, path: bytes, before: Node | None, node: Node | None) -> None:
        if before is not None:
            self._counts[before.owner] -= 1
        if node is not None:
            self._counts[node.owner] += 1
        self._changed[path] = node

    def _apply(self, tree: Tree) -> None:
        for path, node in self._changed.items():
            if node is not None or tree.peek(path) is not None:
                tree.set(path, node)


class CheckingTransaction(_Overlay):
    """One of C xenstored: each node is copied when it is first looked at, and may not have changed at the end."""

    def __init__(self, tree: Tree) -> None:
        super().__init__()
        self._tree = tree
        self._seen: dict[bytes, Node | None] = {}
        self._changes: dict[bytes, Change] = {}
        self._failed = False

    def get(self, path: bytes) -> Node | None:
        """Returns the node at ``path`` as the transaction sees it."""
        if path in self._changed:
            return self._changed[path]
        return self._seen.setdefault(path, self._tree.get(path))

    def peek(self, path: bytes) -> Node | None:
        """Returns the same, without having looked at it."""
        return self._changed[path] if path in self._changed else self._seen.get(path, self._tree.get(path))

    def set(self, path: bytes, node: Node | None) -> None:
        """Changes a node, for the transaction alone."""
        self._change(path, self.get(path), node)

    def owned(self, domain: int) -> int:
        """Returns how many nodes belong to ``domain``."""
        return self._tree.owned(domain) + self._counts[domain]

    def done(self, op: int, content: bytes, answer: bytes, changes: list[Change]) -> None:
        """Notes that an operation was done."""
        self._changes.update((change.path, change) for change in changes)

    def failed(self) -> None:
        """It cannot be committed any more."""
        self._failed = True

    def commit(self) -> list[Change]:
        """Puts everything into the tree; see :meth:`Transaction.commit`."""
        if self._failed:
            raise RefusedError("ENOMEM")
        if any(_generation(self._tree.get(path)) != _generation(node) for path, node in self._seen.items()):
            raise RefusedError("EAGAIN")
        self._apply(self._tree)
        # A node that was made and taken away again has never been there.
        return [
            change
            for path, change in self._changes.items()
            if self._seen.get(path) is not None or self._changed.get(path) is not None
        ]


class ReplayingTransaction(_Overlay):
    """One of oxenstored: it sees the tree as it was at its start. If that has changed at the end, everything is done
    again on what it has become, and has to come to the same.

    :param again: does an operation on another view, and returns the answer.
    """

    def __init__(self, tree: Tree, again: Callable[[ReplayingTransaction, int, bytes], bytes]) -> None:
        super().__init__()
        self._tree = tree
        self._again = again
        self._nodes = dict(tree.nodes)
        self._started_with = Counter(tree.counts)
        self._generation = tree.generation
        self._log: list[tuple[int, bytes, bytes]] = []
        self._changes: list[Change] = []

    def get(self, path: bytes) -> Node | None:
        """Returns the node at ``path`` as the transaction sees it."""
        return self._changed[path] if path in self._changed else self._nodes.get(path)

    peek = get

    def set(self, path: bytes, node: Node | None) -> None:
        """Changes a node, for the transaction alone."""
        self._change(path, self.get(path), node)

    def owned(self, domain: int) -> int:
        """Returns how many nodes belong to ``domain``."""
        return self._started_with[domain] + self._counts[domain]

    def done(self, op: int, content: bytes, answer: bytes, changes: list[Change]) -> None:
        """Notes that an operation was done."""
        self._log.append((op, content, answer))
        self._changes += changes

    def failed(self) -> None:
        """It may go on."""

    def commit(self) -> list[Change]:
        """Puts everything into the tree; see :meth:`Transaction.commit`."""
        if not self._changes:
            return []
        if self._tree.generation == self._generation:
            self._apply(self._tree)
            return self._changes
        replayed = ReplayingTransaction(self._tree, self._again)
        try:
            same = all(self._again(replayed, op, content) == answer for op, content, answer in self._log)
        except RefusedError:
            same = False
        if not same:
            raise RefusedError("EAGAIN")
        replayed._apply(self._tree)
        return self._changes


def _generation(node: Node | None) -> int:
    return 0 if node is None else node.generation
