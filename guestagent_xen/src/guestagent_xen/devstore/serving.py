"""The daemon without its sockets: what each connection may ask, and what it and the others are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .connections import Connection, Watch
from .daemons import Daemon
from .operations import ON_NODES, Change, Operations
from .transactions import CheckingTransaction, ReplayingTransaction, Transaction
from .tree import Tree, View, allows, is_valid
from .wire import Message, Op, RefusedError, message

__all__ = ("Serving",)

_OK = b"OK\0"
_SPECIAL = (b"@introduceDomain", b"@releaseDomain")


class Serving:
    """Answers messages; everything is in memory.

    :param daemon: which of the daemons to be.
    """

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.tree = Tree()
        self.domains: set[int] = {0}
        self.connections: list[Connection] = []

    def answer(self, connection: Connection, asked: Message) -> None:
        """Does what a message asks for: sends the answer, and the events to everybody."""
        changes: list[Change] = []
        try:
            op, content = asked.op, self._do(connection, asked, changes)
        except RefusedError as refusal:
            op, content = Op.ERROR, refusal.name.encode() + b"\0"
        answer = message(op, asked.request_id, asked.transaction, content)
        if op == Op.WATCH:
            self._answer_watch(connection, answer)
            return
        events_first = self.daemon.events_first or op == Op.TRANSACTION_END
        if not events_first:
            connection.send(answer)
        self.fire(changes)
        if events_first:
            connection.send(answer)

    def work(self, op: int, content: bytes) -> bytes:
        """Does an operation on nodes as domain 0; everybody is told.

        :raises RefusedError: it is not possible.
        """
        operations = Operations(self.tree, 0, self.daemon)
        answer = operations.run(op, content)
        self.fire(operations.changes)
        return answer

    def fire(self, changes: Iterable[Change]) -> None:
        """Tells those who watch, and may read, what has changed."""
        for change in changes:
            for connection in self.connections:
                if not any(allows(permissions, connection.domain, "r") for permissions in change.readers):
                    continue
                for watch in connection.watches:
                    path = watch.told(change)
                    if path is not None:
                        cut = len(watch.path) - len(watch.given)  # a relative watch is told relative paths
                        connection.tell(watch, path[cut:])

    def introduce(self, domain: int) -> None:
        """Makes a domain known."""
        if domain not in self.domains:
            self.domains.add(domain)
            self._fire_special(_SPECIAL[0])

    def release(self, domain: int) -> None:
        """Forgets a domain, not its nodes.

        :raises RefusedError: there is none.
        """
        if domain not in self.domains or not domain:
            raise RefusedError(self.daemon.unknown_domain)
        self.domains.discard(domain)
        self._fire_special(_SPECIAL[1])

    def _fire_special(self, name: bytes) -> None:
        for connection in self.connections:
            for watch in connection.watches:
                if watch.path == name and not connection.domain:
                    connection.tell(watch, name)

    def _do(self, connection: Connection, asked: Message, changes: list[Change]) -> bytes:
        if asked.op in ON_NODES and (asked.op != Op.DIRECTORY_PART or self.daemon.lists_in_parts):
            return self._on_nodes(connection, asked, changes)
        if asked.op == Op.TRANSACTION_END:
            return self._end(connection, asked, changes)
        if asked.op in (Op.WATCH, Op.UNWATCH):
            arguments = asked.content.split(b"\0")
            if len(arguments) != 3 or arguments[2]:
                raise RefusedError("EINVAL")
            watch = self._watch_of(connection, *arguments[:2])
            return (self._watch if asked.op == Op.WATCH else self._unwatch)(connection, watch)
        if asked.op == Op.TRANSACTION_START:
            return self._start(connection, asked)
        if asked.op == Op.RESET_WATCHES:
            connection.watches.clear()
            return _OK
        if asked.op in _ABOUT_DOMAINS:
            return _ABOUT_DOMAINS[asked.op](self, connection, asked.content.split(b"\0"))
        raise RefusedError("ENOSYS")

    def _on_nodes(self, connection: Connection, asked: Message, changes: list[Change]) -> bytes:
        transaction = self._transaction(connection, asked.transaction)
        view: View = self.tree if transaction is None else transaction
        operations = Operations(view, connection.domain, self.daemon)
        try:
            answer = operations.run(asked.op, asked.content)
        except RefusedError:
            if operations.out_of_room and transaction is not None:
                transaction.failed()
            raise
        if transaction is None:
            changes += operations.changes
        else:
            transaction.done(asked.op, asked.content, answer, operations.changes)
        return answer

    # Transactions

    def _transaction(self, connection: Connection, number: int) -> Transaction | None:
        if not number:
            return None
        if number not in connection.transactions:
            raise RefusedError(self.daemon.unknown_transaction)
        return connection.transactions[number]

    def _start(self, connection: Connection, asked: Message) -> bytes:
        if self._transaction(connection, asked.transaction) is not None:
            raise RefusedError("EBUSY")
        if connection.domain:
            of_the_domain = [each for each in self.connections if each.domain == connection.domain]
            if sum(len(each.transactions) for each in of_the_domain) >= self.daemon.most_transactions:
                raise RefusedError(self.daemon.no_room)
        connection.last_transaction += 1
        if self.daemon.replays:

            def again(view: View, op: int, content: bytes) -> bytes:
                return Operations(view, connection.domain, self.daemon).run(op, content)

            connection.transactions[connection.last_transaction] = ReplayingTransaction(self.tree, again)
        else:
            connection.transactions[connection.last_transaction] = CheckingTransaction(self.tree)
        return b"%d\0" % connection.last_transaction

    def _end(self, connection: Connection, asked: Message, changes: list[Change]) -> bytes:
        transaction = self._transaction(connection, asked.transaction)
        if asked.content not in (b"T\0", b"F\0"):
            raise RefusedError("EINVAL")
        if transaction is None:
            raise RefusedError("ENOENT")
        del connection.transactions[asked.transaction]
        if asked.content == b"T\0":
            changes += transaction.commit()
        return _OK

    # Watches

    def _watch_of(self, connection: Connection, given: bytes, token: bytes) -> Watch:
        if given.startswith((b"/", b"@")) or not given:
            return Watch(given, token, given)
        return Watch(given, token, b"/local/domain/%d/%s" % (connection.domain, given))

    def _watch(self, connection: Connection, watch: Watch) -> bytes:
        if not watch.path.startswith(b"@") and not is_valid(watch.path):
            raise RefusedError("EINVAL")
        if connection.find(watch) is not None:
            if not connection.is_bus:
                raise RefusedError("EEXIST")
        else:
            if connection.domain:
                of_the_domain = [each for each in self.connections if each.domain == connection.domain]
                if sum(len(each.watches) for each in of_the_domain) >= self.daemon.most_watches:
                    raise RefusedError(self.daemon.too_many_watches)
            connection.watches.append(watch)
        self._just_watched = watch
        return _OK

    def _answer_watch(self, connection: Connection, answer: bytes) -> None:
        """Each watch is told of once at its beginning: by a daemon after its answer, by a kernel before it."""
        if not connection.is_bus:
            connection.send(answer)
        connection.tell(self._just_watched, self._just_watched.given)
        if connection.is_bus:
            connection.send(answer)

    def _unwatch(self, connection: Connection, watch: Watch) -> bytes:
        known = connection.find(watch)
        if known is None:
            raise RefusedError("ENOENT")
        connection.watches.remove(known)
        return _OK

    # Domains

    def _domain_path(self, connection: Connection, arguments: list[bytes]) -> bytes:
        return b"/local/domain/%d\0" % _number(arguments[0])

    def _is_introduced(self, connection: Connection, arguments: list[bytes]) -> bytes:
        _require_domain_0(connection)
        return b"T\0" if _number(arguments[0]) in self.domains else b"F\0"

    def _introduce(self, connection: Connection, arguments: list[bytes]) -> bytes:
        _require_domain_0(connection)
        if len(arguments) < 4:
            raise RefusedError("EINVAL")
        self.introduce(_number(arguments[0]))
        return _OK

    def _release(self, connection: Connection, arguments: list[bytes]) -> bytes:
        _require_domain_0(connection)
        self.release(_number(arguments[0]))
        return _OK

    def _resume(self, connection: Connection, arguments: list[bytes]) -> bytes:
        _require_domain_0(connection)
        if _number(arguments[0]) not in self.domains:
            raise RefusedError(self.daemon.unknown_domain)
        return _OK


_ABOUT_DOMAINS: dict[int, Callable[[Serving, Connection, list[bytes]], bytes]] = {
    Op.GET_DOMAIN_PATH: Serving._domain_path,
    Op.IS_DOMAIN_INTRODUCED: Serving._is_introduced,
    Op.INTRODUCE: Serving._introduce,
    Op.RELEASE: Serving._release,
    Op.RESUME: Serving._resume,
}


def _require_domain_0(connection: Connection) -> None:
    if connection.domain:
        raise RefusedError("EACCES")


def _number(word: bytes) -> int:
    return int(word) if word.isdigit() else 0  # as atoi does
