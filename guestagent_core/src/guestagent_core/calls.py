"""A call: one command on its way from a request to its result, and where the code that it passes finds it."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import CommandError

if TYPE_CHECKING:
    from .commands import CommandSpec
    from .locks import Place
    from .protocols import Request, Store

__all__ = ("Action", "Call", "CallAbandonedError", "Delivery", "current_delivery", "ensured_delivery", "log_crash")

_log = logging.getLogger(__name__)


class Call(NamedTuple):
    """One command that a channel is about to run, or is running: what hooks and packs get to see.

    It cannot be changed, and equals nothing but itself. The value and the argument are left out of its representation,
    for they may be secret. (A named tuple because one is made for each request: a frozen dataclass takes four times as
    long.)
    """

    id: str
    """The request's id, or a running number of the channel where the exchange gives none."""
    channel: str
    name: str
    value: Any
    """What the host sent."""
    argument: Any
    """What the command's ``args`` made of it."""
    spec: CommandSpec
    peer: Any = None
    """Who asked, as far as the exchange knows."""
    deadline: float | None = None
    """The moment of :func:`time.monotonic`, in seconds, at which the command should have ended. It is set once the
    command may run, so it is None in :func:`authorize <guestagent_core.hookspecs.authorize>` of an exclusive
    command."""
    resumed: bool = False
    """Whether a crash interrupted the call, and it is taken up again by what ``@method.resume`` marks."""

    def __repr__(self) -> str:
        return f"Call(id={self.id!r}, channel={self.channel!r}, name={self.name!r}, peer={self.peer!r})"

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


class Action(NamedTuple):
    """A program to start once the answer has gone out or been lost."""

    argv: Sequence[str]
    start: Callable[[Sequence[str]], object]


class Delivery:
    """One request on its way through a parser: what the dispatcher, the runner and the context share about it."""

    def __init__(self, request: Request) -> None:
        self.request = request
        #: Called in this order, with whether the answer went out, once put_response has returned or raised.
        self.settled: list[Callable[[bool], object]] = []
        #: Started after that, in this order.
        self.actions: list[Action] = []
        #: How many of its calls the journal has seen: a parser may make several of one request.
        self.parts = 0
        self.call: Call | None = None
        self.commands: Callable[[], Mapping[str, CommandSpec]] = dict
        self.store: Store | None = None

    def hand_over(self, place: Place) -> None:
        """Called before this thread waits for ``place`` and works; here, nobody else has to go on meanwhile."""

    def settle(self, delivered: bool) -> None:
        """Runs what waits for the answer to have gone out; a failure of one is logged and keeps none of the others."""
        for callback in self.settled:
            self._guard(callback, delivered)
        for action in self.actions:
            self._guard(action.start, action.argv)

    def _guard(self, function: Callable[[Any], object], argument: object) -> None:
        try:
            function(argument)
        except Exception:
            _log.exception("What was to happen after the answer failed")


current_delivery: ContextVar[Delivery | None] = ContextVar("guestagent_delivery", default=None)
"""The delivery that this thread works on."""


@contextmanager
def ensured_delivery() -> Iterator[Delivery]:
    """Gives the delivery that this thread works on, or one of its own where no dispatcher has begun any."""
    delivery = current_delivery.get()
    if delivery is not None:
        yield delivery
        return
    delivery = Delivery({})
    token = current_delivery.set(delivery)
    try:
        yield delivery
    finally:
        current_delivery.reset(token)
        delivery.settle(True)


def log_crash(call: Call, error: BaseException) -> None:
    """Logs where an error came from, unless it was raised on purpose; its text only where it can hold no secret."""
    if isinstance(error, CommandError):
        return
    identifier = ascii(call.id)[1:-1]  # as it came from outside, it may hold line breaks
    if call.spec.secret:
        frames = "".join(traceback.format_tb(error.__traceback__))
        _log.error("Command %s (%s) failed with %s:\n%s", call.name, identifier, type(error).__name__, frames)
    else:
        _log.error("Command %s (%s) failed", call.name, identifier, exc_info=error)


class CallAbandonedError(BaseException):
    """Ends a call that waits for its turn while the agent stops: it is neither run nor answered.

    No Exception, so that it passes through parsers, which turn every Exception into an answer.
    """
