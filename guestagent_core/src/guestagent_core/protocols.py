"""The seams of the framework: what an exchange, a parser, a runner of commands and a store have to offer.

They are protocols: a class fits by having the methods, and needs no base class of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from typing import TypeAlias

    from .calls import Call
    from .commands import CommandResult

__all__ = (
    "CallHooks",
    "CommandRunner",
    "Discarding",
    "Exchange",
    "Journal",
    "Parser",
    "Request",
    "Response",
    "Store",
    "Waitable",
    "WritableStore",
)

Request: TypeAlias = Mapping[str, Any]
"""What an exchange hands out: ``data`` (bytes, or str meaning UTF-8) is the parser's; optional are ``id`` (stable
across restarts) and ``peer`` (who asks); every other key is the exchange's own. ``{"error": "..."}`` without ``data``
stands for a request that could not be read: it is answered with that text."""

Response: TypeAlias = Mapping[str, Any]
"""What a parser returns: ``data`` (bytes, or str meaning UTF-8) goes to the host; exchanges ignore other keys."""


@runtime_checkable
class Exchange(Protocol):
    """Moves requests in and answers out.

    All methods, those of :class:`Waitable` and :class:`Discarding` included, are called by one thread at a time, but
    not always the same one; ``wake`` alone may be called at any time. Optional are also ``close()``, which comes last,
    may be called again and flushes for at most a second, and the class method ``available() -> bool``: whether this
    machine has what the exchange needs, asked when no channel is configured.
    """

    def get_request(self) -> Request | None:
        """Returns the next request, or None when there is none.

        A request is handed out once until it is answered; several may be open at a time. An exception makes the
        dispatcher ask again after a second, then after two, up to a minute.
        """

    def put_response(self, request: Request, response: Response) -> None:
        """Answers ``request``, the very object that :meth:`get_request` returned.

        Answers come in any order. Raises :class:`~guestagent_core.errors.ResponseTooLargeError` if the answer does not
        fit, any other exception if it cannot be delivered; it never waits for the peer.
        """


@runtime_checkable
class Waitable(Protocol):
    """An exchange that knows when there is something to do; one without these two methods is asked every second.

    The ``get_request`` of a waitable exchange only hands out what ``wait`` has read.
    """

    def wait(self, timeout: float | None) -> bool:
        """Does the exchange's input and output until a request can be had, ``wake`` is called or ``timeout`` seconds
        (None: no limit) have passed; returns whether a request can be had.
        """

    def wake(self) -> None:
        """Makes the running ``wait``, or else the next one, return at once. May be called from any thread."""


@runtime_checkable
class Discarding(Protocol):
    """An exchange that can end a request without an answer."""

    def discard(self, request: Request) -> None:
        """Closes ``request``: the parser decided that nothing is sent."""


@runtime_checkable
class Parser(Protocol):
    """Decodes a request, has its command run and encodes what came of it.

    A parser is built with a :class:`CommandRunner`. It always answers and never raises; it is entered by several
    threads at once. Only a parser turns exceptions into codes of the wire.
    """

    def parse_request(self, request: Request) -> Response | None:
        """Returns the answer to ``request``; None: nothing is sent."""

    def encode_error(self, code: int, message: str) -> Response:
        """Returns the answer that says ``message``; ``code`` is one of :mod:`guestagent_core.errors`."""


@runtime_checkable
class CommandRunner(Protocol):
    """What a parser has commands run by."""

    def run_command(self, name: str, value: Any = ..., /) -> CommandResult:
        """Runs the command ``name``; raises :class:`~guestagent_core.errors.CommandError` or what the command
        raises.
        """


@runtime_checkable
class Store(Protocol):
    """What the host has published for the guest: values by path, such as ``vm-data/hostname``.

    A store is entered by several threads at once.
    """

    def read(self, path: str) -> bytes | None:
        """Returns the value at ``path``, None if there is none."""

    def list(self, path: str) -> list[str]:
        """Returns the names directly below ``path``, none if it does not exist."""


@runtime_checkable
class WritableStore(Store, Protocol):
    """A store that the guest may write to."""

    def write(self, path: str, value: bytes) -> None:
        """Sets the value at ``path``."""

    def remove(self, path: str) -> None:
        """Removes ``path`` and everything below it; does nothing if it does not exist."""


class CallHooks(Protocol):
    """The hooks that a call passes; :class:`guestagent_core.hooks.Hooks` in an agent."""

    @property
    def lockdown(self) -> str | None:
        """Why only ``features`` and ``version`` may run at present, None when everything may."""

    def authorize(self, call: Call) -> str | None:
        """Returns the reason to deny ``call``, None to let it pass."""

    def run_command(self, call: Call) -> CommandResult:
        """Runs ``call`` inside whatever wraps it."""


class Journal(Protocol):
    """What remembers, across a crash, which calls have been run."""

    def run(
        self,
        call: Call,
        request: Request,
        command: Callable[[], CommandResult],
        resume: Callable[[], CommandResult] | None = None,
        /,
    ) -> CommandResult:
        """Returns what ``command()`` returns, or the outcome on record if ``request`` has had its effect before; an
        error is an outcome too.

        It is called by one thread at a time, with the lock of all exclusive commands held.

        :param resume: takes up a call that a crash interrupted; None: the command cannot do that.
        """
