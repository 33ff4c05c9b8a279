"""The ``xapi-script`` parser: a script is the name of a command and its value in JSON, never shell text."""

from __future__ import annotations

import json
import re
from typing import Any

from guestagent_core import CommandError, CommandRunner, Request, Response

__all__ = ("ScriptParser",)

_MOST = 1024  # bytes of each output that the host takes
_CUT = " (truncated)"


class ScriptParser:
    """Answers with what a script of the host has: its state, what it returned, and its outputs.

    ``return`` is 0 for a success and the command's code for a failure; a code that is no number is 0 like in
    :class:`guestagent_json.JsonParser`, where only ``keyinit`` has one, for a success. ``stdout`` has the message of a
    success and ``stderr`` that of a failure.

    :param runner: runs the commands.
    """

    def __init__(self, runner: CommandRunner) -> None:
        self._run_command = runner.run_command

    def parse_request(self, request: Request) -> Response:
        """Runs the command that the script names."""
        try:
            name, value = _read(request["data"])
        except (ValueError, TypeError, KeyError, RecursionError):
            return self.encode_error(
                500, "The script has to be the name of a command, and after a blank its value in JSON"
            )
        try:
            code, message = self._run_command(name, value)
            text = message if isinstance(message, str) else json.dumps(message)
        except CommandError as error:
            return self.encode_error(error.code, str(error))
        except Exception as error:
            return self.encode_error(500, str(error) or type(error).__name__)
        number = int(code) if re.fullmatch("-?[0-9]+", str(code)) else 0
        return _answer("SUCCESS", str(number), text, "") if number == 0 else _answer("SUCCESS", str(number), "", text)

    def encode_error(self, code: int, message: str) -> Response:
        """Returns the answer of a script that could not be run to its end."""
        return _answer("FAILURE", str(int(code)), "", message)


def _read(data: bytes | str) -> tuple[str, Any]:
    text = data if isinstance(data, str) else data.decode()
    name, _, rest = text.strip().partition(" ")
    if not name or not name.isprintable():
        raise ValueError("there is no name")
    return name, json.loads(rest) if rest.strip() else ""


def _answer(state: str, returned: str, stdout: str, stderr: str) -> Response:
    outputs = {"stdout": _fitting(stdout), "stderr": _fitting(stderr)}
    if state == "SUCCESS" and outputs != {"stdout": stdout, "stderr": stderr}:
        state = "TRUNCATED"
    return {"data": json.dumps({"state": state, "return": returned, **outputs}).encode()}


def _fitting(text: str) -> str:
    """Returns as much of ``text`` as the host takes, cut between characters."""
    data = text.encode(errors="replace")
    if len(data) < _MOST:
        return data.decode()
    return data[: _MOST - len(_CUT)].decode(errors="ignore") + _CUT
