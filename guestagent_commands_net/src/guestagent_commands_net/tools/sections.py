"""Files of sections in brackets, as keyfiles and systemd's units are: lines that are not changed stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from guestagent_core.errors import CommandError

__all__ = ("Section", "SectionsFile", "parsed_file")


@dataclass
class Section:
    """The lines from one header to the next."""

    name: str
    """Empty for what stands before the first header."""
    lines: list[str] = field(default_factory=list)
    """The header's line among them."""
    _items: list[tuple[str, str]] | None = field(default=None, init=False, repr=False, compare=False)

    def items(self) -> list[tuple[str, str]]:
        """Returns the keys and values in their order."""
        if self._items is None:
            found = (line.partition("=") for line in self.lines if _is_setting(line))
            self._items = [(key.strip(), value.strip()) for key, _, value in found]
        return self._items

    def get(self, key: str) -> str | None:
        """Returns the last value of ``key``."""
        return next((value for name, value in reversed(self.items()) if name == key), None)

    def replace(self, ours: Callable[[str], bool], items: Iterable[tuple[str, str]]) -> None:
        """Puts ``items`` in the place of the settings for whose keys ``ours`` holds; at the end if there are none."""
        new = [f"{key}={value}\n" for key, value in items]
        kept: list[str] = []
        place: int | None = None
        for line in self.lines:
            if _is_setting(line) and ours(line.partition("=")[0].strip()):
                place = len(kept) if place is None else place
            else:
                kept.append(line)
        if place is None:
            place = len(kept)
            while place > 1 and not kept[place - 1].strip():
                place -= 1
            if place and not kept[place - 1].endswith("\n"):
                kept[place - 1] += "\n"
        kept[place:place] = new
        self.lines = kept
        self._items = None


class SectionsFile:
    """One file; a section, and a key in it, may stand there more than once.

    :param path: where it is, for errors.
    :raises CommandError: a line is neither a header, nor a setting, nor a comment; the text names the file and line.
    """

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.sections = [Section("")]
        for number, line in enumerate(text.splitlines(keepends=True), 1):
            content = line.strip()
            if content.startswith("[") and content.endswith("]"):
                # Comments right above a header are about what it begins.
                above: list[str] = []
                while self.sections[-1].lines and self.sections[-1].lines[-1].strip()[:1] in ("#", ";"):
                    above.insert(0, self.sections[-1].lines.pop())
                self.sections.append(Section(content[1:-1], above))
            elif content and content[0] not in "#;" and "=" not in content:
                raise CommandError(f"{path}:{number}: {content[:60]!r} is neither a section nor a setting")
            self.sections[-1].lines.append(line)

    def copy(self) -> SectionsFile:
        """Returns another one that says the same; what is changed there does not change here."""
        other = SectionsFile(self.path, "")
        other.sections = [Section(section.name, list(section.lines)) for section in self.sections]
        return other

    def text(self) -> str:
        """Returns the whole file."""
        return "".join(line for section in self.sections for line in section.lines)

    def section(self, name: str) -> Section | None:
        """Returns the first section ``name``, None if there is none."""
        return next((section for section in self.sections if section.name == name), None)

    def get(self, section: str, key: str) -> str | None:
        """Returns the value of ``key`` in ``section``, the last one if there are several."""
        found = [each.get(key) for each in self.sections if each.name == section]
        return next((value for value in reversed(found) if value is not None), None)

    def put(self, name: str, ours: Callable[[str], bool], items: Iterable[tuple[str, str]]) -> None:
        """Puts ``items`` in the place of the settings of a section for whose keys ``ours`` holds.

        The section is made at the end if it is not there and there is something to put.
        """
        items = list(items)
        section = self.section(name)
        if section is None:
            if not items:
                return
            last = self.sections[-1].lines
            if last and not last[-1].endswith("\n"):
                last[-1] += "\n"
            if last and last[-1].strip():
                last.append("\n")
            section = Section(name, [f"[{name}]\n"])
            self.sections.append(section)
        section.replace(ours, items)
        for other in self.sections:
            if other.name == name and other is not section:
                other.replace(ours, ())

    def set(self, section: str, key: str, value: str | None) -> None:
        """Sets one key; None: takes it out."""
        self.put(section, lambda name: name == key, () if value is None else ((key, value),))


@lru_cache(maxsize=256)  # files; each step of a change asks for the same ones
def parsed_file(path: str, content: bytes) -> SectionsFile:
    """Returns a file, which is everybody's: whoever changes it changes a copy.

    :raises CommandError: it is not UTF-8 text, or not such a file.
    """
    try:
        return SectionsFile(path, content.decode())
    except UnicodeDecodeError:
        raise CommandError(f"{path}: it is not UTF-8 text") from None


def _is_setting(line: str) -> bool:
    content = line.strip()
    return bool(content) and content[0] not in "#;[" and "=" in content
