"""JSON request to response in one process, beside the least that could be done: loads, a dictionary's call, dumps."""

from __future__ import annotations

import json

from measuring import Row, compare, timed

from guestagent_core import ChannelRunner, CommandRegistry, Request, Response
from guestagent_core.builtin import Builtin
from guestagent_core.hooks import Hooks
from guestagent_json import JsonParser

__all__ = ("measure",)

REQUEST = b'{"name": "version", "value": "agent"}'
_COMMANDS = {"version": lambda value: (0, "3.0.0")}


def least(request: Request) -> Response:
    """Answers like the parser, without any check."""
    message = json.loads(request["data"])
    code, text = _COMMANDS[message["name"]](message["value"])
    return {"data": json.dumps({"message": text, "returncode": str(code)}).encode()}


def measure(rounds: int) -> list[Row]:
    """Measures a request that passes the parser, a channel's checks and the hooks."""
    registry = CommandRegistry([Builtin])
    parser = JsonParser(ChannelRunner(registry, hooks=Hooks(registry.run)))
    request = {"data": REQUEST}
    ours, other = compare(
        lambda: timed(lambda: parser.parse_request(request), 2000) * 1e6,
        lambda: timed(lambda: least(request), 2000) * 1e6,
        rounds,
    )
    return [Row("request to response in process, with hooks", "us", ours, other, 4.0)]
