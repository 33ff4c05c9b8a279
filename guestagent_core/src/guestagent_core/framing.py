"""Framing: cuts a stream of bytes into messages, wherever the stream happens to be split; knows no parser."""

from __future__ import annotations

import re
from typing import Protocol, TypeAlias

from .errors import ExchangeError

__all__ = ("FRAMERS", "Frame", "Framer", "JsonFramer", "LineFramer")

Frame: TypeAlias = "bytes | ExchangeError"
"""A message, or why there is none in its place."""


class Framer(Protocol):
    """Cuts one stream."""

    def feed(self, data: bytes) -> list[Frame]:
        """Takes the next piece of the stream; returns the messages that it completes."""

    def finish(self) -> list[Frame]:
        """Takes the end of the stream; returns the message that it ends, if there is one."""


class LineFramer:
    """Each line is a message; a line feed ends it, with or without a carriage return before it.

    :param limit: the largest message in bytes; a larger one is reported once and skipped.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> list[Frame]:
        """Returns the lines that ``data`` completes."""
        *lines, rest = data.split(b"\n")
        frames: list[Frame] = []
        for line in lines:
            self._rest += line
            frames += self._take()
        self._rest += rest
        if len(self._rest) > self._limit + 1:  # one more for the \r
            if not self._skipping:
                frames.append(_too_large(self._limit))
            self._skipping = True
            self._rest.clear()
        return frames

    def finish(self) -> list[Frame]:
        """Returns the line that the stream breaks off in."""
        return self._take() if self._rest else []

    def _take(self) -> list[Frame]:
        line = bytes(self._rest).removesuffix(b"\r")
        skipped = self._skipping
        self._rest.clear()
        self._skipping = False
        if skipped:
            return []
        return [line if len(line) <= self._limit else _too_large(self._limit)]


_OUTSIDE_STRING = re.compile(rb'["{}\[\]\n]')
_INSIDE_STRING = re.compile(rb'["\\\n]')
_BLANK = re.compile(rb"[ \t\r\n]*")
# Most messages: an object without objects, arrays or backslashes in it, found in one step.
_SIMPLE = re.compile(rb'[ \t\r\n]*(\{[^{}\[\]"]*(?:"[^"\\\n]*"[^{}\[\]"]*)*\})[ \t\r\n]*')
_LONGEST_SIMPLE = 4096  # bytes


class JsonFramer:
    """A message ends with the object that it holds, at a newline outside an object, or at the end of the stream.

    So objects need nothing between them, and what is no object is a line. A string holds no newline: one there ends a
    malformed message. Brackets around objects go with them, so that an array of objects is one malformed message. Blank
    lines are no messages.

    :param limit: the largest message in bytes; a larger one is reported once and skipped.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._longest_simple = min(limit, _LONGEST_SIMPLE)
        self._rest = bytearray()  # the message that has begun
        self._scanned = 0
        self._begin()

    def _begin(self) -> None:
        self._depth = 0  # of objects
        self._brackets = 0  # around them
        self._held_object = False
        self._in_string = False
        self._skipping = False

    def feed(self, data: bytes) -> list[Frame]:
        """Returns the messages that ``data`` completes."""
        buffer = self._rest
        buffer += data
        frames: list[Frame] = []
        start, position = 0, self._scanned
        while position < len(buffer):
            if position == start and not self._skipping:
                simple = _SIMPLE.match(buffer, start, start + self._longest_simple)
                if simple is not None:
                    frames.append(bytes(simple[1]))
                    start = position = simple.end()
                    continue
                start = position = _BLANK.match(buffer, start).end()  # type: ignore[union-attr]  # it always matches
            match = (_INSIDE_STRING if self._in_string else _OUTSIDE_STRING).search(buffer, position)
            if match is None:
                position = len(buffer)
                break
            position = match.end()
            character = match.group()
            if character == b"\\":
                if position == len(buffer):
                    position -= 1  # what it escapes is still to come
                    break
                if buffer[position] != 0x0A:
                    position += 1
            elif self._ends(character):
                if not self._skipping:
                    frames.append(self._frame(start, position))
                start = position
                self._begin()
        if position - start > self._limit + 1 and not self._skipping:  # one more for the \r of a line
            frames.append(_too_large(self._limit))
            self._skipping = True
        del buffer[: position if self._skipping else start]
        self._scanned = 0 if self._skipping else position - start
        return frames

    def finish(self) -> list[Frame]:
        """Returns the message that the stream breaks off in."""
        return [self._frame(0, len(self._rest))] if self._rest and not self._skipping else []

    def _ends(self, character: bytes) -> bool:
        """Takes the next character that has a meaning; returns whether it ends the message."""
        if character == b'"':
            self._in_string = not self._in_string
        elif character == b"\n":
            return self._in_string or not self._depth
        elif character == b"{":
            self._depth += 1
            self._held_object = True
        elif self._depth:
            self._depth -= character == b"}"
            return not self._depth and not self._brackets
        elif character == b"[":
            self._brackets += 1
        elif character == b"]" and self._brackets:
            self._brackets -= 1
            return not self._brackets and self._held_object
        return False

    def _frame(self, start: int, end: int) -> Frame:
        message = bytes(self._rest[start:end]).removesuffix(b"\n").removesuffix(b"\r")
        return message.rstrip() if len(message) <= self._limit else _too_large(self._limit)


FRAMERS: dict[str, type[JsonFramer] | type[LineFramer]] = {"json": JsonFramer, "line": LineFramer}
"""The framings by the names they have in a configuration."""


def _too_large(limit: int) -> ExchangeError:
    return ExchangeError(f"The request is larger than {limit} bytes")
