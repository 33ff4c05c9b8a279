"""Old exchanges and parsers in the form of today's.

An old object is called as the old daemon called it: in one thread, its request comes back to it as it handed it out,
one request at a time, with text where today there are bytes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from guestagent_core.discovery import PARSERS, Catalogue, load

from .old_plugins import JsonParser, XSComm
from .threads import OldThread, current_thread

if TYPE_CHECKING:
    from guestagent_core import CommandRunner, Parser, Request, Response

__all__ = ("OldExchange", "OldParser", "WaitingOldExchange", "adapted_exchange", "current_runner")

_log = logging.getLogger(__name__)
_PAUSE = 1.0  # seconds, after a request that was not handed on, or a failure
_ORIGINAL = "guestagent_legacy.original"  # the key of the old object inside of today's mapping

current_runner: ContextVar[CommandRunner | None] = ContextVar("guestagent_legacy_runner", default=None)
"""What runs commands for the request that this thread works on."""


def adapted_exchange(exchange: Any, thread: OldThread | None = None) -> OldExchange:
    """Returns ``exchange`` in today's form."""
    return WaitingOldExchange(exchange) if isinstance(exchange, XSComm) else OldExchange(exchange, thread)


class OldExchange:
    """An exchange of today that consists of an old object with ``get_request`` and ``put_response``.

    The old object is asked for the next request only when the last one is answered: until then many would hand out
    the same one again. One that fails is asked again after a second, as it always was, and not ever more seldom; also
    one that cannot take an answer, for it may hand out the same request at once.

    :param exchange: the old object.
    :param thread: where it is called; default: in one of its own.
    """

    def __init__(self, exchange: Any, thread: OldThread | None = None) -> None:
        self._exchange = exchange
        self._thread = thread or OldThread()
        self._is_open = False
        self._has_failed = False  # and rests until it is asked once more
        self._failure = ""  # what was logged last, so that it is there once and not every second

    def get_request(self) -> Request | None:
        """Returns the next request; ``id`` is the last part of its ``path`` if it has one."""
        if self._is_open:
            return None
        if self._has_failed:
            self._has_failed = False
            return None
        request = self._next_request()
        if request is None:
            return None
        self._is_open = True
        return _wrapped_request(request)

    def _next_request(self) -> Any:
        try:
            request = self._call(self._exchange.get_request)
        except (Exception, SystemExit) as error:
            failure = repr(error)
            if failure != self._failure:
                _log.exception("The exchange failed; it is tried again every second (%s)", type(self._exchange))
            self._failure = failure
            return None
        if self._failure:
            _log.info("The exchange works again (%s)", type(self._exchange))
            self._failure = ""
        return request

    def put_response(self, request: Request, response: Response) -> None:
        """Gives the old object its own request back, and the answer with text."""
        self._answer(request, _old_response(response))

    def discard(self, request: Request) -> None:
        """Gives the old object its own request back, and None: the old daemon passed on whatever a parser returned."""
        self._answer(request, None)

    def _answer(self, request: Request, response: Any) -> None:
        self._is_open, self._has_failed = False, True
        self._call(self._exchange.put_response, request[_ORIGINAL], response)
        self._has_failed = False

    def close(self) -> None:
        """Closes the old object if it can be closed."""
        close = getattr(self._exchange, "close", None)
        if callable(close):
            self._call(close)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self._thread.call(function, *arguments)


class WaitingOldExchange(OldExchange):
    """An :class:`~guestagent_legacy.old_plugins.XSComm`, or what is derived from it: it knows when to be asked."""

    def __init__(self, exchange: XSComm) -> None:
        super().__init__(exchange)
        exchange.looks_itself = False  # a wait inside of get_request would take a wake away from the one that follows
        self._pauses = False  # before it is asked again
        self._woken = threading.Event()

    def get_request(self) -> Request | None:
        """Returns the next request; several may be open.

        A derived class that took a request and failed, or did not hand it on, gets it again after a second: before,
        the next look into the store found it again.
        """
        request = self._next_request()
        if request is None:
            self._pauses = self._exchange.take_back() or bool(self._failure)
            return None
        self._exchange.last_taken = None
        return _wrapped_request(request)

    def wait(self, timeout: float | None) -> bool:
        """Waits until there is something to do."""
        if not self._pauses:
            return bool(self._exchange.wait(timeout))
        self._woken.wait(_PAUSE if timeout is None else min(timeout, _PAUSE))
        self._woken.clear()
        return bool(self._exchange.wait(0))

    def wake(self) -> None:
        """Ends the wait."""
        self._woken.set()
        self._exchange.wake()

    def discard(self, request: Request) -> None:
        """Closes ``request`` without an answer."""
        self._exchange.discard(request[_ORIGINAL])

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)  # in any thread: what can be answered at once does not wait for a command


class OldParser:
    """A parser of today that consists of an old object with ``parse_request``.

    :param parser: the old object.
    :param runner: what runs commands for this channel; the old registry finds it through the thread.
    :param thread: where the old object and old commands are called; default: in one of its own.
    """

    def __init__(self, parser: Any, runner: CommandRunner, thread: OldThread | None = None) -> None:
        self._parser = parser
        self._runner = runner
        self._thread = thread or OldThread()
        self._errors: Parser | None = None

    def parse_request(self, request: Request) -> Response | None:
        """Returns the old object's answer."""
        runner, thread = current_runner.set(self._runner), current_thread.set(self._thread)
        try:
            if type(self._parser) is JsonParser:  # it stands for today's, which may be entered twice at a time
                return _wrapped_response(self._parser.parse_request(_old_request(request)))
            return _wrapped_response(self._thread.call(self._parser.parse_request, _old_request(request)))
        finally:
            current_runner.reset(runner)
            current_thread.reset(thread)

    def encode_error(self, code: int, message: str) -> Response:
        """Returns an error as the old object encodes a result, or else as hosts of XenServer read it."""
        encode = getattr(self._parser, "encode_result", None)
        if callable(encode):
            try:
                response = _wrapped_response(encode((code, message)))
            except Exception:  # an old parser need not have it, so nothing was said of what it takes
                _log.debug("The parser's encode_result takes no result (%s)", type(self._parser), exc_info=True)
            else:
                if response is not None:
                    return response
        if self._errors is None:
            parser: Parser = load(Catalogue.installed().find(PARSERS, "json"))(self._runner)
            self._errors = parser
        return self._errors.encode_error(code, message)


def _wrapped_request(request: Any) -> Request:
    if not isinstance(request, Mapping):
        return {_ORIGINAL: request}
    wrapped = {**request, _ORIGINAL: request}
    path = request.get("path")
    if "id" not in wrapped and isinstance(path, str) and path.rstrip("/"):
        wrapped["id"] = path.rstrip("/").rpartition("/")[2]
    return wrapped


def _old_request(request: Request) -> Any:
    """Returns what an old exchange handed out, or a request of today's exchange in the old form."""
    if _ORIGINAL in request:
        return request[_ORIGINAL]
    return {**request, "data": _text(request.get("data", "")), "path": str(request.get("id", ""))}


def _wrapped_response(response: Any) -> Response | None:
    if response is None:
        return None
    return {**response, _ORIGINAL: response} if isinstance(response, Mapping) else {_ORIGINAL: response}


def _old_response(response: Response) -> Any:
    """Returns the old parser's own object, or an answer of today's parser in the old form."""
    if _ORIGINAL in response:
        return response[_ORIGINAL]
    return {**response, "data": _text(response.get("data", ""))}


def _text(data: Any) -> Any:
    return data.decode(errors="surrogateescape") if isinstance(data, (bytes, bytearray)) else data
