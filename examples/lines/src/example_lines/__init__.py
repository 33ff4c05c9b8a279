"""A parser for people and shells: a request is a line ``NAME VALUE``, an answer ``ok VALUE`` or ``error CODE TEXT``.

Values are JSON; what is no JSON is taken for text, so that ``motd.write Hello there`` needs no quotes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from guestagent_core import CommandError, CommandRunner, InvalidArgumentError, Request, Response

__all__ = ("LinesParser",)


class LinesParser:
    """Answers each line with one line."""

    @dataclass(frozen=True)
    class Options:
        """What ``[channel.parser_options]`` takes."""

        longest: int = 64 * 1024
        """The longest line, in bytes."""

    def __init__(self, runner: CommandRunner, options: Options | None = None) -> None:
        self._runner = runner
        self._options = options or self.Options()

    def parse_request(self, request: Request) -> Response:
        """Runs the command of the line; whatever goes wrong is an answer."""
        try:
            name, value = self._decode(request.get("data"))
            code, message = self._runner.run_command(name, value)
            if code != 0:
                return _line(f"error {code} {_json(message)}")
            return _line(f"ok {_json(message)}")
        except CommandError as error:
            return self.encode_error(error.code, str(error))
        except Exception as error:
            return self.encode_error(500, _text(error))

    def encode_error(self, code: int, message: str) -> Response:
        """Returns the line that says ``message``."""
        return _line(f"error {code} {_json(message)}")

    def _decode(self, data: object) -> tuple[str, Any]:
        if isinstance(data, str):
            data = data.encode()
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise InvalidArgumentError("There is no line")
        if len(data) > self._options.longest:
            raise InvalidArgumentError(f"The line is longer than {self._options.longest} bytes")
        name, _, text = bytes(data).decode().strip("\r\n").partition(" ")
        if not name.isprintable() or not name:
            raise InvalidArgumentError("The line does not begin with the name of a command")
        try:
            return name, json.loads(text)
        except (ValueError, RecursionError):
            return name, text


def _json(message: object) -> str:
    return json.dumps(message, ensure_ascii=False, allow_nan=False)  # never has a line break


def _line(text: str) -> Response:
    return {"data": text.encode(errors="replace")}


def _text(error: Exception) -> str:
    try:
        return str(error)
    except Exception:
        return type(error).__name__
