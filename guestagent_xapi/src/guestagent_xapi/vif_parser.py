"""The ``xapi-vif`` parser: an order for a network device becomes a call of the command ``xapi.vif``."""

from __future__ import annotations

import json

from guestagent_core import CommandError, CommandRunner, Request, Response

__all__ = ("VifParser",)

_COMMAND = "xapi.vif"


class VifParser:
    """Answers with what stands beside an order: ``error-code``, a decimal number, and ``error-msg``.

    :param runner: runs the command.
    """

    def __init__(self, runner: CommandRunner) -> None:
        self._run_command = runner.run_command

    def parse_request(self, request: Request) -> Response:
        """Runs the command and returns how it went."""
        try:
            code, message = self._run_command(_COMMAND, json.loads(request["data"]))
        except CommandError as error:
            return self.encode_error(error.code, str(error))
        except Exception as error:
            return self.encode_error(500, str(error) or type(error).__name__)
        return self._answer(str(code), "" if str(code) == "0" else str(message))

    def encode_error(self, code: int, message: str) -> Response:
        """Returns the outcome ``code`` with ``message``."""
        return self._answer(str(int(code)), message)

    def _answer(self, code: str, message: str) -> Response:
        return {"data": json.dumps({"error-code": code, "error-msg": message}).encode()}
