"""The classes of the old module ``plugins``, done by today's parser and exchange, which are found by name."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from guestagent_core import CommandNotFoundError, CommandResult, ResponseTooLargeError
from guestagent_core.discovery import EXCHANGES, PARSERS, Catalogue, load

__all__ = ("JsonParser", "XSComm")


class JsonParser:
    """The parser of the XenServer and OpenStack hosts.

    :param commands: what ``commands.init()`` returned, or anything with a ``run_command``.
    :raises TypeError: it has none.
    """

    def __init__(self, commands: Any) -> None:
        if not getattr(commands, "run_command", None):
            raise TypeError("Command class has no 'run_command' method")
        self._parser = load(Catalogue.installed().find(PARSERS, "json"))(_Runner(commands))

    def parse_request(self, request: Mapping[str, Any]) -> Any:
        """Runs the command that ``request["data"]`` asks for; returns the answer, ``{"data": text}``."""
        answer = _texts(self._parser.parse_request(_as_received(request)))
        if type(self).encode_result is JsonParser.encode_result:
            return answer
        # A subclass has its own say in how results look, as it always had, and in numbers.
        result = json.loads(answer["data"])
        code = result["returncode"]
        return self.encode_result((int(code) if code.isdecimal() else code, result["message"]))

    def encode_result(self, result: tuple[Any, Any]) -> Any:
        """Returns the answer that holds a code and a message."""
        code, message = result
        return _texts(self._parser.encode_error(code, message))


class _Runner:
    """What an old registry runs, for today's parser: "not found" is the registry's own exception."""

    def __init__(self, commands: Any) -> None:
        self._commands = commands

    def run_command(self, name: str, value: Any = "", /) -> CommandResult:
        try:
            code, message = self._commands.run_command(name, value)
        except CommandNotFoundError:
            raise
        except Exception as error:
            unknown = getattr(self._commands, "CommandNotFoundError", None)
            if isinstance(unknown, type) and isinstance(error, unknown):
                raise CommandNotFoundError(name) from error
            raise
        return CommandResult(code, message)


class XSComm:
    """XenStore: requests are ``{"path": "data/host/ID", "data": text}``.

    :param request_path: the folder of the requests.
    :param response_path: the folder of the answers.
    """

    def __init__(self, request_path: str = "data/host", response_path: str = "data/guest") -> None:
        self.request_path, self.response_path = request_path, response_path
        self._folder = request_path.rstrip("/")
        found = load(Catalogue.installed().find(EXCHANGES, "xenstore"))
        self._exchange = found(found.Options(request_path=request_path, response_path=response_path))
        #: Whether :meth:`get_request` looks into the store itself, as for whoever calls nothing else.
        self.looks_itself = True
        self._handed_out: dict[str, Any] = {}  # today's requests by the path of the old ones
        self._taken_back: deque[Any] = deque()
        #: What :meth:`get_request` returned last, until :meth:`take_back` or whoever handed it on sets None.
        self.last_taken: Any = None

    def get_request(self) -> Any:
        """Returns the next request, None if there is none."""
        request = self._exchange.get_request()
        if request is None and self.looks_itself and self._exchange.wait(0):
            request = self._exchange.get_request()
        if request is None and self._taken_back:
            request = self._taken_back.popleft()
        if request is None:
            return None
        old = {key: value for key, value in request.items() if key in ("id", "peer", "error")}
        old["path"] = f"{self._folder}/{request['id']}"
        if "data" in request:
            old["data"] = request["data"].decode(errors="surrogateescape")
        self._handed_out[old["path"]] = request
        self.last_taken = old
        return old

    def take_back(self) -> bool:
        """Makes :meth:`get_request` return again what it returned last; returns whether there is such a request."""
        taken, self.last_taken = self.last_taken, None
        request = None if taken is None else self._handed_out.pop(taken["path"], None)
        if request is not None:  # else it was answered meanwhile
            self._taken_back.append(request)
        return request is not None

    def put_response(self, request: Any, response: Any) -> None:
        """Removes the request and writes the answer, both or neither."""
        try:
            self._exchange.put_response(self._handed_out[request["path"]], response)
        except ResponseTooLargeError:
            raise  # a shorter answer follows
        except Exception:
            del self._handed_out[request["path"]]
            raise
        del self._handed_out[request["path"]]

    def discard(self, request: Any) -> None:
        """Removes the request."""
        self._exchange.discard(self._handed_out.pop(request["path"]))

    def wait(self, timeout: float | None) -> bool:
        """Waits until there is something to do."""
        return bool(self._exchange.wait(timeout))

    def wake(self) -> None:
        """Ends the wait."""
        self._exchange.wake()

    def close(self) -> None:
        """Closes the connection."""
        self._exchange.close()


def _as_received(request: Any) -> Any:
    """Returns ``request`` with the bytes that its text stands for, as they may be none of UTF-8."""
    data = request.get("data") if isinstance(request, Mapping) else None
    if isinstance(data, str) and not data.isascii():
        with suppress(UnicodeEncodeError):
            return {**request, "data": data.encode(errors="surrogateescape")}
    return request


def _texts(response: Any) -> Any:
    return {"data": response["data"].decode("ascii")}
