"""Files of shell variables, such as ``ifcfg-eth0`` or ``rc.conf``: read, and changed without touching the rest.

Only plain assignments are understood. Everything else, such as comments, functions and conditions, is kept as it is and
never evaluated.
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

_BEGIN = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=")
_BARE = re.compile(r"[A-Za-z0-9@%_+=:,./^~-]*")
_REST = re.compile(r"[ \t]*(?:;?[ \t]*|[ \t]+(#.*))$")  # of a line, behind a value


@dataclass
class _Entry:
    """A line, or the lines of one assignment."""

    text: str
    """With its line ends."""
    name: str | None = None
    value: str | tuple[str, ...] = ""
    """A tuple: an array of bash."""
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
        return {
            entry.name: entry.value if isinstance(entry.value, str) else " ".join(entry.value)
            for entry in self._entries
            if entry.name is not None
        }

    def items(self, name: str) -> tuple[str, ...]:
        """Returns the members of an array, or the lines of a value that has several; none if it is not there."""
        found: str | tuple[str, ...] = ()
        for entry in self._entries:
            if entry.name == name:
                found = entry.value
        if isinstance(found, str):
            found = tuple(line.strip() for line in found.splitlines() if line.strip())
        return found

    def remove(self, unwanted: Callable[[str], bool]) -> None:
        """Takes the variables out whose name ``unwanted`` accepts."""
        self._entries = [entry for entry in self._entries if entry.name is None or not unwanted(entry.name)]

    def remove_comments(self, unwanted: Callable[[str], bool]) -> None:
        """Takes the lines of comments out that ``unwanted`` accepts, without their line ends."""
        self._entries = [
            entry for entry in self._entries if entry.name is not None or not unwanted(entry.text.rstrip("\n"))
        ]

    def set(self, name: str, written: str) -> None:
        """Sets ``name``; where it stands already, and else at the end.

        :param written: the value with its quotes, see :data:`Quoting`.
        """
        entry = next((entry for entry in self._entries if entry.name == name), None)
        if entry is None:
            self.append(f"{name}={written}\n")
            return
        others = [each for each in self._entries if each.name == name and each is not entry]
        self._entries = [each for each in self._entries if not any(each is other for other in others)]
        (new,) = _parse(f"{name}={written}{'  ' + entry.comment if entry.comment else ''}\n")
        self._entries[self._entries.index(entry)] = new

    def replace(self, ours: Callable[[str], bool], values: Mapping[str, str]) -> None:
        """Makes the variables that ``ours`` accepts those of ``values``, in their order, where the first one stood."""
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
        begin = _BEGIN.match(text, place, end)
        entry = None
        if begin is not None:
            entry = _assignment(text, place, begin)
        if entry is None:
            entry = _Entry(text[place:end])
        yield entry
        place += len(entry.text)


def _assignment(text: str, place: int, begin: re.Match[str]) -> _Entry | None:
    """Returns the assignment that begins at ``place``; None if it is more than one."""
    value: str | tuple[str, ...]
    try:
        if text.startswith("(", begin.end()):
            value, end = _array(text, begin.end() + 1)
        else:
            value, end = _word(text, begin.end())
    except ValueError:
        return None
    line_end = text.find("\n", end) + 1 or len(text)
    rest = _REST.match(text[end:line_end].rstrip("\n"))
    if rest is None:
        return None
    return _Entry(text[place:line_end], begin[1], value, rest[1] or "")


def _array(text: str, place: int) -> tuple[tuple[str, ...], int]:
    members: list[str] = []
    while True:
        while place < len(text) and text[place] in " \t\n":
            place += 1
        if text.startswith("#", place):
            place = text.find("\n", place) + 1 or len(text)
            continue
        if text.startswith(")", place):
            return tuple(members), place + 1
        if place >= len(text):
            raise ValueError("the array does not end")
        member, end = _word(text, place, ends=" \t\n)")
        if end == place:
            raise ValueError("this is no array of words")
        members.append(member)
        place = end


def _word(text: str, place: int, ends: str = " \t\n;") -> tuple[str, int]:
    """Returns a word of the shell without its quotes, and where it ends.

    :raises ValueError: it does not end, or the shell would make something else of it.
    """
    value: list[str] = []
    while place < len(text) and text[place] not in ends:
        character = text[place]
        if character == "'":
            end = text.index("'", place + 1)
            value.append(text[place + 1 : end])
            place = end + 1
        elif character == '"':
            inner, place = _quoted(text, place + 1)
            value.append(inner)
        elif character == "\\":
            if not text.startswith("\n", place + 1):
                value.append(text[place + 1 : place + 2])
            place += 2
        elif character in "$`()|&<>":
            raise ValueError("this is evaluated")
        else:
            value.append(character)
            place += 1
    return "".join(value), place


def _quoted(text: str, place: int) -> tuple[str, int]:
    value: list[str] = []
    while True:
        if place >= len(text):
            raise ValueError("a quote does not end")
        character = text[place]
        if character == '"':
            return "".join(value), place + 1
        if character in "$`":
            raise ValueError("this is evaluated")
        if character == "\\" and text[place + 1 : place + 2] in ('"', "\\", "$", "`"):
            value.append(text[place + 1])
            place += 2
        elif character == "\\" and text.startswith("\n", place + 1):
            place += 2
        else:
            value.append(character)
            place += 1
