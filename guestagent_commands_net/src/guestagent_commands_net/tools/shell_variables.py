"""Files of shell variables, such as ``ifcfg-eth0`` or ``rc.conf``: read, and changed without touching the rest.

Only plain assignments are understood. Everything else, such as comments, functions and conditions, is kept as it is and
never evaluated. Of an assignment that the shell would evaluate only the name is known: what is put in its place
replaces it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guestagent_core.errors import CommandError

if TYPE_CHECKING:
    from guestagent_commands_net.backends import FileState

__all__ = ("Quoting", "ShellVariables", "decoded", "double_quoted", "plain", "single_quoted")

Quoting = Callable[[str], str]
"""Writes a value, and what the shell needs around it."""

_BEGIN = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)(\+?)=")
_BARE = re.compile(r"[A-Za-z0-9@%_+=:,./^~-]*")
_REST = re.compile(r"[ \t]*(?:;?[ \t]*|[ \t]+(#.*))\r?$")  # of a line, behind a value
_NEXT = re.compile(r"(?:[ \t]|\\\n)*;[ \t]*|(?:[ \t]|\\\n)+")  # between two assignments on a line
_EXPANDED = re.compile(r"\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[^}$`\n]*\})")


@dataclass
class _Entry:
    """A line, or the lines of one assignment, or one of several assignments on a line."""

    text: str
    """With its line ends."""
    name: str | None = None
    value: str | tuple[str, ...] = ""
    """A tuple: an array of bash."""
    gap: int = 0
    """How many characters of the text are between it and the next assignment on its line."""
    evaluated: bool = False
    """Whether the shell makes something of the value that is not known here."""
    adds: bool = False
    """Whether the value is put behind the one before, as bash does it for ``+=``."""
    comment: str = ""
    """Behind the value."""


class ShellVariables:
    """The variables of one file."""

    def __init__(self, text: str) -> None:
        self._entries = list(_parse(text))

    def text(self) -> str:
        """Returns the file."""
        return "".join(entry.text for entry in self._entries)

    def values(self) -> dict[str, str]:
        """Returns the variables; the last assignment of each counts, and of an array the members by blanks."""
        found: dict[str, str] = {}
        for entry in self._entries:
            if entry.name is not None and not entry.evaluated:
                value = entry.value if isinstance(entry.value, str) else " ".join(entry.value)
                blank = "" if isinstance(entry.value, str) else " "
                found[entry.name] = (
                    f"{found[entry.name]}{blank}{value}" if entry.adds and entry.name in found else value
                )
        return found

    def items(self, name: str) -> tuple[str, ...]:
        """Returns the members of an array, or the lines of a value that has several; none if it is not there."""
        items: tuple[str, ...] = ()
        text = ""
        for entry in self._entries:
            if entry.name == name and not entry.evaluated:
                if not entry.adds:
                    items, text = (), ""
                if isinstance(entry.value, str):
                    text += entry.value
                else:
                    items += entry.value
        return (*items, *(line.strip() for line in text.splitlines() if line.strip()))

    def remove(self, unwanted: Callable[[str], bool], *, evaluated: bool = True) -> None:
        """Takes the variables out whose name ``unwanted`` accepts.

        :param evaluated: whether also where the value is not known, as in a list that is put behind itself.
        """
        self._part(unwanted)
        self._entries = [
            entry
            for entry in self._entries
            if entry.name is None or not unwanted(entry.name) or (entry.evaluated and not evaluated)
        ]

    def remove_comments(self, unwanted: Callable[[str], bool]) -> None:
        """Takes the lines of comments out that ``unwanted`` accepts, without their line ends."""
        self._entries = [
            entry for entry in self._entries if entry.name is not None or not unwanted(entry.text.rstrip("\n"))
        ]

    def remove_label(self, ours: Callable[[str], bool]) -> None:
        """Takes the comment with a network's label out that stands before the first variable that ``ours`` accepts."""
        place = next((index for index, entry in enumerate(self._entries) if entry.name and ours(entry.name)), 0)
        if place and self._entries[place - 1].text.startswith("# Label "):
            del self._entries[place - 1]
            if place > 1 and not self._entries[place - 2].text.strip():
                del self._entries[place - 2]  # the gap before it

    def set(self, name: str, written: str) -> None:
        """Sets ``name``; where it stands already, and else at the end.

        :param written: the value with its quotes, see :data:`Quoting`.
        """
        self._part(lambda each: each == name)
        entry = next((entry for entry in self._entries if entry.name == name and not entry.evaluated), None)
        if entry is None:
            self.append(f"{name}={written}\n")
            return
        others = [each for each in self._entries if each.name == name and each is not entry and not each.evaluated]
        self._entries = [each for each in self._entries if not any(each is other for other in others)]
        (new,) = _parse(f"{name}={written}{'  ' + entry.comment if entry.comment else ''}\n")
        self._entries[self._entries.index(entry)] = new

    def replace(self, ours: Callable[[str], bool], values: Mapping[str, str]) -> None:
        """Makes the variables that ``ours`` accepts those of ``values``, in their order, where the first one stood."""
        self._part(ours)
        place = next((index for index, entry in enumerate(self._entries) if entry.name and ours(entry.name)), None)
        comments = {entry.name: entry.comment for entry in self._entries if entry.name and entry.comment}
        kept = [entry for entry in self._entries[:place] if not (entry.name and ours(entry.name))]
        rest = [] if place is None else [e for e in self._entries[place:] if not (e.name and ours(e.name))]
        new: list[_Entry] = []
        for name, written in values.items():
            comment = f"  {comments[name]}" if name in comments else ""
            new += _parse(f"{name}={written}{comment}\n")
        if new and kept and not kept[-1].text.endswith("\n"):
            kept[-1].text += "\n"
        self._entries = [*kept, *new, *rest]

    def _part(self, ours: Callable[[str], bool]) -> None:
        """Gives each assignment a line of its own where one that ``ours`` accepts shares its line with others."""
        line: list[_Entry] = []
        for entry in self._entries:
            line.append(entry)
            if not entry.gap:
                if len(line) > 1 and any(each.name and ours(each.name) for each in line):
                    for each in line[:-1]:
                        each.text, each.gap = f"{each.text[: -each.gap]}\n", 0
                line = []

    def append(self, text: str) -> None:
        """Adds lines at the end."""
        if text and self._entries and not self._entries[-1].text.endswith("\n"):
            self._entries[-1].text += "\n"
        self._entries += _parse(text)


def decoded(path: str, state: FileState) -> str:
    """Returns the text of a file.

    :raises CommandError: it is not UTF-8; the text names ``path``.
    """
    try:
        return state.content.decode()
    except UnicodeDecodeError:
        raise CommandError(f"{path}: it is not UTF-8 text") from None


def plain(value: str) -> str:
    """Writes a value without quotes where the shell takes it so."""
    return value if _BARE.fullmatch(value) else double_quoted(value)


def double_quoted(value: str) -> str:
    """Writes a value in double quotes."""
    return '"' + re.sub(r'([\\"$`])', r"\\\1", value) + '"'


def single_quoted(value: str) -> str:
    """Writes a value in single quotes."""
    return "'" + value.replace("'", "'\\''") + "'"


def _parse(text: str) -> Iterable[_Entry]:
    place = 0
    while place < len(text):
        end = text.find("\n", place) + 1 or len(text)
        entries = _assignments(text, place) or [_Entry(text[place:end])]
        yield from entries
        place += sum(len(entry.text) for entry in entries)


def _assignments(text: str, place: int) -> list[_Entry]:
    """Returns the assignments that begin at ``place`` and end with a line; none if there is anything else on it."""
    found: list[_Entry] = []
    value: str | tuple[str, ...]
    while (begin := _BEGIN.match(text, place)) is not None:
        try:
            if text.startswith("(", begin.end()):
                value, end, evaluated = _array(text, begin.end() + 1)
            else:
                value, end, evaluated = _word(text, begin.end())
        except ValueError:
            return []
        entry = _Entry("", begin[1], value, evaluated=evaluated, adds=bool(begin[2]))
        found.append(entry)
        line_end = text.find("\n", end) + 1 or len(text)
        rest = _REST.match(text[end:line_end].rstrip("\n"))
        if rest is not None:
            entry.text, entry.comment = text[place:line_end], rest[1] or ""
            return found
        between = _NEXT.match(text, end)
        if between is None:
            return []
        entry.text, entry.gap = text[place : between.end()], between.end() - end
        place = between.end()
    return []


def _array(text: str, place: int) -> tuple[tuple[str, ...], int, bool]:
    members: list[str] = []
    evaluated = False
    while True:
        while place < len(text) and text[place] in " \t\r\n":
            place += 1
        if text.startswith("#", place):
            place = text.find("\n", place) + 1 or len(text)
            continue
        if text.startswith(")", place):
            return tuple(members), place + 1, evaluated
        if place >= len(text):
            raise ValueError("the array does not end")
        member, end, expanded = _word(text, place, ends=" \t\n)")
        evaluated |= expanded
        if end == place:
            raise ValueError("this is no array of words")
        members.append(member)
        place = end


def _word(text: str, place: int, ends: str = " \t\n;") -> tuple[str, int, bool]:
    """Returns a word of the shell without its quotes, where it ends, and whether it has variables in it.

    :raises ValueError: it does not end, or the shell would make something else of it.
    """
    value: list[str] = []
    evaluated = False
    while place < len(text) and text[place] not in ends and not text.startswith("\r\n", place):
        character = text[place]
        if character == "'":
            end = text.index("'", place + 1)
            value.append(text[place + 1 : end])
            place = end + 1
        elif character == '"':
            inner, place, expanded = _quoted(text, place + 1)
            value.append(inner)
            evaluated |= expanded
        elif character == "\\":
            if not text.startswith("\n", place + 1):
                value.append(text[place + 1 : place + 2])
            place += 2
        elif expansion := _EXPANDED.match(text, place):
            place = expansion.end()
            evaluated = True
        elif character in "$`()|&<>":
            raise ValueError("this is evaluated")
        else:
            value.append(character)
            place += 1
    return "".join(value), place, evaluated


def _quoted(text: str, place: int) -> tuple[str, int, bool]:
    value: list[str] = []
    evaluated = False
    while True:
        if place >= len(text):
            raise ValueError("a quote does not end")
        character = text[place]
        if character == '"':
            return "".join(value), place + 1, evaluated
        if expansion := _EXPANDED.match(text, place):
            place = expansion.end()
            evaluated = True
        elif character in "$`":
            raise ValueError("this is evaluated")
        elif character == "\\" and text[place + 1 : place + 2] in ('"', "\\", "$", "`"):
            value.append(text[place + 1])
            place += 2
        elif character == "\\" and text.startswith("\n", place + 1):
            place += 2
        else:
            value.append(character)
            place += 1
