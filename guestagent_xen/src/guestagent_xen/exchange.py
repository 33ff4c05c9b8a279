"""The ``xenstore`` exchange: requests are nodes that the host writes, answers are nodes that the guest writes."""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pyxs._internal import Op

from guestagent_core import ExchangeError, ResponseTooLargeError

from .answering import NO_ROOM, Answerer
from .connecting import default_path
from .listing import list_children
from .reconnecting import ReconnectingSession
from .session import Operation, Session, SessionLostError, StoreError, WatchEvent

if TYPE_CHECKING:
    from guestagent_core import Request, Response

__all__ = ("XenStoreExchange",)

_log = logging.getLogger(__name__)
_TOKEN = b"requests"
_PATH = re.compile(r"(?!@)/?[A-Za-z0-9_@-]+(/[A-Za-z0-9_@-]+)*/?")  # what daemons take
_LOOK_ANYWAY = 60.0  # seconds after which the folder is listed without an event: a safety net
_QUIET = 30.0  # seconds for which nothing wakes us after a request: a listing that is due by then is done at once
_MOST_READ = 64  # requests read at a time
_LIST_AGAIN = 32  # requests gone after which a folder that was too large to list is tried again
_MOST_SHED = 64  # requests taken out of the store at a time to make room for an answer
_FIRST_DELAY = 1.0  # seconds after which an answer without room is tried again; doubled up to _LOOK_ANYWAY


class XenStoreExchange:
    """Takes each node below ``request_path`` as a request; the answer is the node of the same name below
    ``response_path``, written in the transaction that removes the request.

    It waits on a watch, has no thread, and connects again whenever the daemon comes back. Requests come in the order
    of their events; those that wait already when it connects, in the order in which the daemon lists them.

    :raises ExchangeError: there is no way to XenStore on this machine.
    """

    @dataclass(frozen=True)
    class Options:
        """What ``[channel.options]`` takes."""

        path: Path | None = None
        """A xenbus device, or the socket of a xenstored. Without it: the socket that ``XENSTORED_PATH`` names, else
        ``/dev/xen/xenbus``, ``/proc/xen/xenbus`` or the usual socket, whichever is there."""
        request_path: str = "data/host"
        """The folder of the requests; a relative path is the domain's own."""
        response_path: str = "data/guest"
        """The folder of the answers."""
        timeout: float = 5.0
        """Seconds that the daemon has to answer before the connection is given up and made anew."""

        def __post_init__(self) -> None:
            if self.timeout <= 0:
                raise ValueError("timeout must be more than 0 seconds")
            for name in ("request_path", "response_path"):
                if not _PATH.fullmatch(getattr(self, name)):
                    raise ValueError(f"{name} must be the path of a node: names of letters, digits, -, _ and @")
            if self.request_path.strip("/") == self.response_path.strip("/"):
                raise ValueError("request_path and response_path must be different nodes")

    @classmethod
    def available(cls) -> bool:
        """Whether this machine has a way to XenStore."""
        return default_path() is not None

    def __init__(self, options: Options) -> None:
        self._folder = options.request_path.rstrip("/").encode()
        self._answerer = Answerer(options.response_path.rstrip("/").encode(), options.timeout)
        self._look_at = 0.0  # when the folder is listed without an event
        self._stale = True  # the folder has to be listed
        self._unlisted: int | None = None  # requests gone since the folder was too large to be listed
        self._seen: dict[bytes, None] = {}  # requests to read, oldest first
        self._open: dict[bytes, bytes] = {}  # requests handed out or about to be, with their content
        self._touched: set[bytes] = set()  # those of them whose node has been changed since
        self._removed: dict[bytes, int] = {}  # requests of which the event of our own removal is to come
        self._shed: set[bytes] = set()  # those of the open ones that are not in the store any more
        self._kept: dict[bytes, tuple[bytes | None, bytes]] = {}  # answers that are not in, with the content of the
        # request, which has to be there still; None: it was shed
        self._delay = _FIRST_DELAY  # until the kept answers are tried again
        self._inbox: deque[Request] = deque()
        if (options.path or default_path()) is None:
            raise ExchangeError(
                "There is no way to XenStore: neither /dev/xen/xenbus nor /proc/xen/xenbus nor the socket of a "
                "xenstored; set the channel's option path"
            )
        self._connection = ReconnectingSession(
            options.path, options.timeout, begin=self._begin, lost=self._forget_session
        )

    def get_request(self) -> Request | None:
        """Returns the next request that ``wait`` has read: its ``id`` is the node's name."""
        return self._inbox.popleft() if self._inbox else None

    def put_response(self, request: Request, response: Response) -> None:
        """Removes the request and writes the answer, both or neither.

        An answer that cannot be delivered now is kept, and put as soon as the store can be reached and the request is
        still there.

        :raises ResponseTooLargeError: the store does not take a value of this size.
        :raises ExchangeError: the answer is not in, or may not be.
        """
        name: bytes = request["name"]
        data = response["data"]
        answer = data.encode() if isinstance(data, str) else data
        try:
            if self._connection.session is None:
                raise SessionLostError("there is no connection to XenStore")
            self._answer(self._connection.session, name, answer)
        except ResponseTooLargeError:
            raise
        except ExchangeError as error:
            content = None if name in self._shed else self._open[name]
            self._kept[name] = content, answer
            self._close_request(name)
            if not isinstance(error, SessionLostError):
                self._try_kept_later()
            elif self._connection.session is not None:  # else it is lost already, and attempts to connect are counted
                self._connection.lose(error)
            raise ExchangeError(f"The answer to {name.decode()} is kept and tried again later: {error}") from error
        self._close_request(name)

    def discard(self, request: Request) -> None:
        """Removes the request.

        :raises ExchangeError: the store cannot be reached.
        """
        name: bytes = request["name"]
        self._close_request(name)
        if self._connection.session is None:
            raise ExchangeError("There is no connection to XenStore")
        self._connection.session.call_all(Operation(Op.RM, self._node(name) + b"\0"))

    def wait(self, timeout: float | None) -> bool:
        """Waits until requests are in the store, and reads them; returns whether there are any."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._inbox:
            self._connection.connect()
            session = self._connection.session
            until = deadline
            if session is not None:
                try:
                    if self._work(session):
                        continue
                except SessionLostError as error:
                    self._connection.lose(error)
                else:
                    until = self._look_at if deadline is None else min(deadline, self._look_at)
            woken, _ = self._connection.sleep(until)
            if woken or (deadline is not None and time.monotonic() >= deadline):
                break
        return bool(self._inbox)

    def wake(self) -> None:
        """Ends a ``wait``."""
        self._connection.wake()

    def close(self) -> None:
        """Hangs up. Requests that were not answered stay in the store for the next agent."""
        self._connection.close()

    # The connection

    def _begin(self, session: Session) -> None:
        self._make_folder(session)
        session.call(Op.WATCH, self._folder, _TOKEN)
        self._stale = True

    def _forget_session(self) -> None:
        self._answerer.forget_session()
        self._seen.clear()
        self._removed.clear()
        self._unlisted = None

    # Requests

    def _work(self, session: Session) -> bool:
        """Does what there is to do without waiting for the host; returns whether there was anything."""
        while session.events:
            self._take_event(session.events.popleft())
        now = time.monotonic()
        if self._stale or now >= self._look_at:
            self._list(session)
            return True
        if self._seen:
            if self._look_at - now < _QUIET and not self._kept:
                self._look_at = now
            self._read(session)
            return True
        self._answerer.rest(session)
        return False

    def _take_event(self, event: WatchEvent) -> None:
        """Notes which request has changed."""
        path, token = event
        if token != _TOKEN:
            return  # a late one of the answerer's watch
        if not path.startswith(self._folder + b"/"):
            self._stale = True  # the folder itself: made, removed, or just being watched
            return
        name = path[len(self._folder) + 1 :].partition(b"/")[0]
        if name in self._open:
            self._touched.add(name)
        elif name in self._removed:
            self._removed[name] -= 1
            if not self._removed[name]:
                del self._removed[name]
        else:
            self._seen[name] = None

    def _list(self, session: Session) -> None:
        """Notes all requests that are in the store.

        :raises SessionLostError: there are some that no event told of: the daemon has forgotten the watch.
        """
        expected = self._stale
        self._stale = False
        self._look_at = time.monotonic() + _LOOK_ANYWAY
        try:
            names = list_children(session, self._folder)
        except StoreError as error:
            if error.name == "ENOENT" and expected:
                self._make_folder(session)
                return
            if error.name != "E2BIG":
                raise SessionLostError(str(error)) from error
            if self._unlisted is None:
                _log.warning(
                    "XenStore: %s has more requests than its daemon can list; those that come from now on are "
                    "answered, the others when there are fewer",
                    self._folder.decode(),
                )
            self._unlisted = 0
            self._connection.works()
            return
        self._unlisted = None
        self._connection.works()
        while session.events:
            self._take_event(session.events.popleft())
        new = [name for name in names if name not in self._open and name not in self._seen]
        if not expected and not self._stale and not self._kept.keys() >= set(new):
            raise SessionLostError("XenStore has not told of a request")
        self._seen.update(dict.fromkeys([*new, *self._kept]))

    def _make_folder(self, session: Session) -> None:
        """Makes the folder of the requests, unless it is there."""
        try:
            session.call(Op.READ, self._folder)
        except StoreError as error:
            if error.name != "ENOENT":
                raise SessionLostError(str(error)) from error
            try:
                session.call(Op.MKDIR, self._folder)
            except StoreError as refused:
                raise SessionLostError(str(refused)) from refused

    def _read(self, session: Session) -> None:
        """Reads the next requests, and begins the transaction of the first answer on the way."""
        names = list(islice(self._seen, _MOST_READ))
        for name in names:
            del self._seen[name]
        operations = [Operation(Op.READ, self._node(name) + b"\0") for name in names]
        if not self._answerer.ready:
            operations.append(self._answerer.begin_ahead())
        contents = session.call_all(*operations)
        for begun in contents[len(names) :]:
            self._answerer.begun_ahead(begun)
        again = []
        for name, content in zip(names, contents, strict=False):
            if isinstance(content, StoreError):
                if content.name != "ENOENT":
                    _log.warning("A request cannot be read: %s", content)
                self._count_gone()
                if name in self._kept and self._kept[name][0] is None:
                    again.append(name)
                else:
                    self._kept.pop(name, None)
            elif name in self._kept and self._kept[name][0] == content:
                again.append(name)
            else:
                self._kept.pop(name, None)
                self._open[name] = content
                self._inbox.append({"data": content, "id": name.decode(errors="replace"), "name": name})
        for name in again:
            if name in self._kept:  # putting one may have put others
                self._put_kept(session, name)

    def _put_kept(self, session: Session, name: bytes) -> None:
        """Tries again to put an answer that did not get in."""
        content, answer = self._kept.pop(name)
        self._open[name] = content or b""
        try:
            self._answer(session, name, answer)
        except ExchangeError as error:
            self._kept[name] = content, answer
            if isinstance(error, SessionLostError):
                raise
            _log.warning("The answer to %s is still kept: %s", name.decode(errors="replace"), error)
            self._try_kept_later()
        finally:
            self._close_request(name)

    def _try_kept_later(self) -> None:
        """Lists the requests once more, sooner than usual: those with a kept answer are among them."""
        self._look_at = min(self._look_at, time.monotonic() + self._delay)
        self._delay = min(self._delay * 2, _LOOK_ANYWAY)

    def _close_request(self, name: bytes) -> None:
        del self._open[name]
        self._touched.discard(name)
        self._shed.discard(name)

    # Answers

    def _answer(self, session: Session, name: bytes, answer: bytes) -> None:
        while True:
            try:
                removed = self._answerer.answer(session, self._node(name), name, answer, more=bool(self._inbox))
                break
            except StoreError as error:
                if error.name not in NO_ROOM or not self._shed_requests(session, name):
                    raise
        for _ in range(self._answerer.events_before_commit):  # some daemons tell of our own removal first, others later
            self._take_event(session.events.popleft())
        if removed and name not in self._touched:
            self._removed[name] = self._removed.get(name, 0) + 1
        self._count_gone()
        self._delay = _FIRST_DELAY
        if self._kept:  # there is room again, for one at least
            self._seen.setdefault(next(iter(self._kept)))

    def _shed_requests(self, session: Session, answered: bytes) -> bool:
        """Takes open requests out of the store before they are answered; returns whether there are any.

        While the host has written more requests than a guest may have nodes, there is no room for any answer, and each
        would wait for a host that gives up.
        """
        while True:
            names = [name for name in self._open if name != answered and name not in self._shed][:_MOST_SHED]
            if names:
                break
            session.receive()
            while session.events:
                self._take_event(session.events.popleft())
            if not self._seen:
                return False
            self._read(session)
        _log.warning("XenStore: no room for an answer; %d requests are taken out before they are answered", len(names))
        session.call_all(*(Operation(Op.RM, self._node(name) + b"\0") for name in names))
        self._shed.update(names)
        return True

    def _count_gone(self) -> None:
        """Has the folder listed again when enough requests are gone since it was too large for that."""
        if self._unlisted is not None:
            self._unlisted += 1
            if self._unlisted >= _LIST_AGAIN:
                self._stale = True

    def _node(self, name: bytes) -> bytes:
        return self._folder + b"/" + name
