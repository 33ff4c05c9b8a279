"""The profiles in ``/etc/netctl``: text that bash reads, of which one line or another is changed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guestagent_core.errors import CommandError

if TYPE_CHECKING:
    from guestagent_commands_net.backends import Files, FileState
    from guestagent_commands_net.model import Interface

__all__ = ("Profile", "Profiles", "is_ours")

_FOLDER = "/etc/netctl"
_NO_PROFILE = re.compile(r"(~|\.action|\.conf|\.service)\Z")  # files beside profiles that netctl does not take for one
_TYPES = ("ethernet", "vlan", "bond")
_SETTING = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)(?:\[\d*\])?(\+?)=(.*)", re.DOTALL)


@dataclass
class _Line:
    """A line, with those that an unfinished list or quote continues it by."""

    key: str
    """Empty for comments and whatever else is no setting."""
    text: str


class Profile:
    """One profile.

    :param path: where it is, for errors.
    :raises CommandError: it is not text that bash could read; the text names the file and the line.
    """

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.name = path.rpartition("/")[2]
        """What netctl calls it."""
        self._lines: list[_Line] = []
        held, began = "", 0
        for number, line in enumerate(text.splitlines(keepends=True), 1):
            began = began if held else number
            held += line
            found = _SETTING.fullmatch(held)
            if found is None or held.lstrip().startswith("#"):
                self._lines.append(_Line("", held))
                held = ""
            elif _is_whole(found[3]):
                self._lines.append(_Line(found[1], held))
                held = ""
        if held:
            raise CommandError(f"{path}:{began}: a list or a quote has no end")

    def text(self) -> str:
        """Returns the whole file."""
        return "".join(line.text for line in self._lines)

    def values(self, key: str) -> list[str]:
        """Returns the items of a list, or the words of a value as one; none if there is no such setting."""
        items: list[str] = []
        for line in self._lines:
            if line.key != key:
                continue
            match = _SETTING.fullmatch(line.text)
            assert match is not None
            words = shlex.split(match[3], comments=True)
            one = [" ".join(words)] if words else []
            words = _members(words) if match[3].startswith("(") else one
            items = [*items, *words] if match[2] else words
        return items

    def get(self, key: str) -> str:
        """Returns the first item of a setting, empty if there is none."""
        return next(iter(self.values(key)), "")

    def put(self, keys: Iterable[str], settings: Iterable[tuple[str, str]]) -> None:
        """Puts ``settings``, keys with values as bash wants them, in the place of those of ``keys``."""
        keys = frozenset(keys)
        new = [_Line(key, f"{key}={value}\n") for key, value in settings]
        place = next((index for index, line in enumerate(self._lines) if line.key in keys), len(self._lines))
        if place == len(self._lines) and place and not self._lines[-1].text.endswith("\n"):
            self._lines[-1].text += "\n"
        kept = [line for index, line in enumerate(self._lines) if line.key not in keys or index < place]
        kept[place:place] = new
        self._lines = kept


def _members(words: list[str]) -> list[str]:
    """Returns the items of a list whose parentheses are still at its first and its last word."""
    words = [words[0].removeprefix("("), *words[1:]]
    return [word for word in (*words[:-1], words[-1].removesuffix(")")) if word]


def _is_whole(value: str) -> bool:
    try:
        words = shlex.split(value, comments=True)
    except ValueError:
        return False
    opened = value.lstrip().startswith("(")
    return not opened or (bool(words) and words[-1].endswith(")"))


class Profiles:
    """Profiles by the interface that they are for."""

    def __init__(self, files: Files, facts: Mapping[str, str]) -> None:
        self._facts = facts
        self.by_name: dict[str, list[Profile]] = {}
        for path, state in files.items():
            try:
                profile = Profile(path, state.content.decode())
            except UnicodeDecodeError:
                raise CommandError(f"{path}: it is not UTF-8 text") from None
            self.by_name.setdefault(profile.get("Interface"), []).append(profile)

    def best(self, name: str) -> Profile | None:
        """Returns the profile that an interface has: of several, one that is enabled, or that has its name."""

        def order(profile: Profile) -> tuple[bool, bool]:
            return f"enabled {profile.name}" in self._facts, profile.name == name

        return max(self.by_name.get(name, ()), key=order, default=None)

    def new(self, interface: Interface) -> Profile:
        """Adds a profile for an interface that has none."""
        label = f"# Label {interface.label}\n" if interface.label else ""
        profile = Profile(f"{_FOLDER}/{interface.name}", label)
        self.by_name.setdefault(interface.name, []).append(profile)
        return profile


def is_ours(path: str, state: FileState) -> bool:
    """Returns whether a file in the folder is the profile of a card, a VLAN or a bond."""
    if _NO_PROFILE.search(path):
        return False
    try:
        profile = Profile(path, state.content.decode())
    except (CommandError, UnicodeDecodeError):
        return False  # netctl does not take it either
    return profile.get("Connection") in _TYPES and bool(profile.get("Interface"))
