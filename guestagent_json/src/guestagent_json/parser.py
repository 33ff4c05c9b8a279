"""A request is ``{"name": ..., "value": ...}``, its answer ``{"message": ..., "returncode": ...}``."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any, TypeVar

from guestagent_core import (
    CommandDeniedError,
    CommandError,
    CommandNotFoundError,
    CommandResult,
    CommandRunner,
    CommandTimeoutError,
    Request,
    Response,
)

__all__ = ("JsonParser",)

_log = logging.getLogger(__name__)
_LONGEST_NUMBER = 4300  # digits; the interpreter's own default limit, which the environment can switch off
_LONGEST_ERROR = 1800  # bytes of an error's text as it is sent; the store of a host has some 2 kB for an answer
_SURELY_FITTING = _LONGEST_ERROR // 12  # characters; one takes 12 bytes at most
_CUT = "..."
_FAILURE = 400  # and higher codes; of others nothing is known
_KEPT_CODES = (CommandNotFoundError, CommandDeniedError, CommandTimeoutError)
NumberT = TypeVar("NumberT", int, float)


class JsonParser:
    """Answers every request with one line of ASCII, and never raises.

    Return codes are strings, as hosts want them: the code of the command's result; 404, 403 and 504 for a command that
    is not known, not allowed or not done in time; 500 for everything else. The text of an error that no host's store
    would take is cut, so that its code arrives.

    :param runner: runs the commands.
    :raises TypeError: it cannot.
    """

    @dataclass(frozen=True)
    class Options:
        """What ``[channel.parser_options]`` takes."""

        limit: int = 8 * 1024 * 1024
        """The largest request, in bytes."""

    def __init__(self, runner: CommandRunner, options: Options = Options()) -> None:
        if not callable(getattr(runner, "run_command", None)):
            raise TypeError("Command class has no 'run_command' method")
        self._run_command = runner.run_command
        self._limit = options.limit

    def parse_request(self, request: Request) -> Response:
        """Runs the command that ``request["data"]`` asks for and returns the answer."""
        try:
            data = request["data"]
            if len(data) > self._limit:
                return self._malformed(f"it is larger than {self._limit} bytes")
            message = _decode(str(data, "utf-8") if not isinstance(data, str) else data)
        except (KeyError, TypeError):  # the exchange's fault
            return self.encode_error(500, "Internal error with request")
        except (ValueError, RecursionError) as error:
            return self._malformed(type(error).__name__)
        if not isinstance(message, dict):
            return self._malformed("it is no object")
        if "name" not in message:
            return self.encode_error(500, "Request is missing 'name' key")
        name = message["name"]
        try:
            if not isinstance(name, str):
                raise CommandNotFoundError(str(name))
            result = self._run_command(name, message.get("value", ""))
            return _encode_result(name, _fitting_result(result))
        except _KEPT_CODES as error:
            return self.encode_error(error.code, _fitting(str(error)))
        except Exception as error:
            return self.encode_error(500, _fitting(_text(error)))

    def encode_error(self, code: int, message: str) -> Response:
        """Returns the answer ``code`` with ``message``."""
        return _encode_result("", CommandResult(code, message))

    def _malformed(self, why: str) -> Response:
        _log.info("A request is malformed: %s", why)
        return self.encode_error(500, "Request is malformed")


def _bounded(number: type[NumberT]) -> Any:
    def convert(digits: str) -> NumberT:
        if len(digits) > _LONGEST_NUMBER:
            raise ValueError("A number has too many digits")
        return number(digits)

    return convert


_decoder = json.JSONDecoder(parse_int=_bounded(int), parse_float=_bounded(float))
_encode = json.encoder.encode_basestring_ascii
_encode_strictly = json.JSONEncoder(allow_nan=False).encode


def _decode(text: str) -> Any:
    """Does what the decoder's own decode() does, without looking for white space where there is none."""
    if text.startswith("{"):
        message, end = _decoder.raw_decode(text)
        if end == len(text):
            return message
    return _decoder.decode(text)


def _encode_result(name: str, result: CommandResult) -> Response:
    code, message = result
    if not isinstance(message, str):
        try:
            message = _encode_strictly(message)
        except (TypeError, ValueError, RecursionError) as error:
            raise CommandError(f"Command {name!r} answered what JSON cannot hold: {error}") from error
    # Like json.dumps of a dictionary, in a third of the time.
    answer = (
        f'{{"message": {_encode(message)}, "returncode": {_encode(code if isinstance(code, str) else str(int(code)))}}}'
    )
    return {"data": answer.encode("ascii")}


def _fitting_result(result: CommandResult) -> CommandResult:
    """Returns ``result``, with the text of a failure cut if need be, as that of an exception would be."""
    code, message = result
    if isinstance(message, str) and len(message) > _SURELY_FITTING and str(code).isdecimal() and int(code) >= _FAILURE:
        return CommandResult(code, _fitting(message))
    return result


def _fitting(text: str) -> str:
    """Returns ``text``, or as much of it as is sure to fit."""
    if len(text) <= _SURELY_FITTING:
        return text
    left = _LONGEST_ERROR - len(_CUT)
    for position, character in enumerate(text):
        left -= len(_encode(character)) - 2
        if left < 0:
            return text if len(_encode(text)) - 2 <= _LONGEST_ERROR else text[:position] + _CUT
    return text


def _text(error: Exception) -> str:
    try:
        return str(error)
    except Exception:
        return type(error).__name__
