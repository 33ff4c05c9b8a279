"""A program with a loop of its own: in each turn it does its work, and answers what was asked meanwhile.

Requests are lines of standard input, answers lines of standard output.
"""

from __future__ import annotations

import sys
from typing import TextIO

from guestagent_core import ChannelRunner, CommandRegistry, Dispatcher, Request, Response
from guestagent_json import JsonParser

from .pack import Counter

__all__ = ("StreamExchange", "main")


class StreamExchange:
    """An exchange of two text streams: the two methods are all that it needs."""

    def __init__(self, requests: TextIO, answers: TextIO) -> None:
        self._requests, self._answers = requests, answers
        self.ended = False

    def get_request(self) -> Request | None:
        """Returns the next line, None at the end."""
        line = self._requests.readline()
        self.ended = not line
        return {"data": line.rstrip("\n")} if line else None

    def put_response(self, request: Request, response: Response) -> None:
        """Writes the answer."""
        data = response["data"]
        self._answers.write(f"{data if isinstance(data, str) else data.decode()}\n")
        self._answers.flush()


def main() -> int:
    """Runs until standard input ends; returns the exit status."""
    exchange = StreamExchange(sys.stdin, sys.stdout)
    runner = ChannelRunner(CommandRegistry([Counter]), "streams")
    dispatcher = Dispatcher(exchange, JsonParser(runner))
    while not exchange.ended:
        # The program's own work would be here.
        dispatcher.run_once()
    return 0
