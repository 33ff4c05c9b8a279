"""``/etc/network/interfaces`` and what it includes, taken apart so that lines that are not changed stay as they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from guestagent_core.errors import CommandError

if TYPE_CHECKING:
    from typing import TypeAlias

__all__ = ("Block", "InterfacesFile", "Option", "Starters", "Taken", "base_name", "included")

_KEYWORDS = re.compile(
    r"(auto|allow-\S+|iface|mapping|source|source-directory|source-dir|rename|template|no-auto-down|no-scripts)\Z"
)
_LABEL = re.compile(r"\s*#\s*Label\b")


Starters: TypeAlias = Literal["all", "own", "none"]


class Option(NamedTuple):
    """One line below a keyword's line, with what it is continued by."""

    key: str
    value: str
    """Its words with one blank between them."""
    lines: str
    """The line as it is."""


@dataclass
class Block:
    """Lines that belong together: a keyword's line, and for ``iface`` and ``mapping`` the options below it."""

    words: list[str]
    """The words of the first line; none for comments and blank lines."""
    lines: list[str]
    """All lines as they are, with their ends."""
    options: list[Option] = field(default_factory=list)
    """What the other lines say, comments left out."""

    @property
    def keyword(self) -> str:
        """The first word, empty for comments and blank lines."""
        return self.words[0] if self.words else ""

    @property
    def interface(self) -> str | None:
        """The interface whose stanza this is; that of ``eth0:1`` is ``eth0``."""
        return base_name(self.words[1]) if self.keyword == "iface" and len(self.words) > 1 else None

    @property
    def family(self) -> str:
        """Of an interface's stanza: ``inet``, ``inet6`` or what stands there."""
        return self.words[2] if len(self.words) > 2 else ""

    @property
    def method(self) -> str:
        """Of an interface's stanza: ``static``, ``dhcp`` or what stands there."""
        return self.words[3] if len(self.words) > 3 else ""


def base_name(name: str) -> str:
    """Returns the interface that ``name`` is an alias of, such as ``eth0`` for ``eth0:1``."""
    return name.partition(":")[0]


class Taken(NamedTuple):
    """What was taken out of a file."""

    place: int | None
    """Where among the blocks the first of it was; None: there was nothing."""
    starter: str | None
    """The keyword of a line that had the interface brought up."""


class InterfacesFile:
    """One file.

    :param path: where it is, for errors and relative includes.
    :raises CommandError: a line belongs to nothing; the text names the file and the line.
    """

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.blocks: list[Block] = []
        for number, lines, words in _logical_lines(text):
            last = self.blocks[-1] if self.blocks else None
            if not words or _KEYWORDS.match(words[0]):
                self.blocks.append(Block(words, lines))
                continue
            # An option. Comments between it and the stanza belong to the stanza.
            owner = next((block for block in reversed(self.blocks) if block.words), None)
            if last is None or owner is None or owner.keyword not in ("iface", "mapping", "template"):
                raise CommandError(f"{path}:{number}: {words[0]!r} is no keyword, and belongs to no interface")
            while self.blocks[-1] is not owner:
                owner.lines += self.blocks.pop(self.blocks.index(owner) + 1).lines
            owner.lines += lines
            owner.options.append(Option(words[0], " ".join(words[1:]), "".join(lines)))

    def text(self) -> str:
        """Returns the whole file."""
        return "".join(line for block in self.blocks for line in block.lines)

    def stanzas(self, name: str) -> list[Block]:
        """Returns the stanzas of the interface ``name`` and of its aliases."""
        return [block for block in self.blocks if block.interface == name]

    def started(self, name: str) -> bool:
        """Returns whether a line has the interface ``name`` brought up."""
        return any(name in block.words[1:] for block in self.blocks if _starts(block))

    def take_out(self, name: str, which: Callable[[Block], bool], *, starters: Starters) -> Taken:
        """Takes the stanzas of ``name`` out for which ``which`` holds, and those of its aliases.

        :param starters: which lines that have it brought up lose its name: all, those of its own, or none. Aliases
            lose theirs in any case.
        """
        place: int | None = None
        starter: str | None = None
        index = len(self.blocks)
        while index > 0:
            index -= 1
            block = self.blocks[index]
            if block.interface == name and which(block):
                del self.blocks[index]
                place = index = self._take_label(index)
            elif _starts(block) or (starters == "all" and block.keyword in ("no-auto-down", "no-scripts")):
                own = all(base_name(word) == name for word in block.words[1:])
                too = starters == "all" or (starters == "own" and own)
                gone = [word for word in block.words[1:] if base_name(word) == name and (too or word != name)]
                if name in gone and _starts(block):
                    starter = block.keyword
                if gone and self._without(block, index, gone):
                    left = self._take_label(index)
                    place = left if place is None else place - (index - left) - 1
                    index = left
        return Taken(place, starter)

    def insert(self, place: int | None, text: str) -> None:
        """Puts ``text`` at a place among the blocks; None: at the end, after a blank line."""
        lines = text.splitlines(keepends=True)
        if place is None:
            place = len(self.blocks)
            before = self.blocks[-1].lines if self.blocks else []
            if before and not before[-1].endswith("\n"):
                before[-1] += "\n"
            if before and before[-1].strip():
                lines.insert(0, "\n")
        self.blocks[place:place] = InterfacesFile(self.path, "".join(lines)).blocks

    def _without(self, block: Block, index: int, gone: list[str]) -> bool:
        """Takes words out of a line; returns whether nothing was left of it, and it is gone."""
        kept = [word for word in block.words if word not in gone]
        if len(kept) > 1:
            self.blocks[index] = Block(kept, [" ".join(kept) + "\n"])
            return False
        del self.blocks[index]
        return True

    def _take_label(self, index: int) -> int:
        """Takes out the comment with a network's label right before ``index``; returns the place that is left."""
        first = index
        while first > 0 and not self.blocks[first - 1].words and not "".join(self.blocks[first - 1].lines).strip():
            first -= 1
        if first > 0 and not self.blocks[first - 1].words and _LABEL.match(self.blocks[first - 1].lines[0]):
            del self.blocks[first - 1 : index]
            return first - 1
        return index


def included(file: InterfacesFile) -> Iterator[tuple[str, bool]]:
    """Gives the patterns of the files that ``file`` includes, as absolute paths, and whether each is a folder."""
    folder = file.path.rpartition("/")[0]
    for block in file.blocks:
        if block.keyword in ("source", "source-directory", "source-dir"):
            for word in block.words[1:]:
                yield (word if word.startswith("/") else f"{folder}/{word}"), block.keyword != "source"


def _starts(block: Block) -> bool:
    return block.keyword == "auto" or block.keyword.startswith("allow-")


def _logical_lines(text: str) -> Iterator[tuple[int, list[str], list[str]]]:
    """Gives the number of each line, all that it is continued by, and its words; none for comments."""
    physical: Iterable[str] = text.splitlines(keepends=True)
    held: list[str] = []
    for number, line in enumerate(physical, 1):
        held.append(line)
        comment = held[0].lstrip().startswith("#")
        if line.rstrip("\r\n").endswith("\\") and not comment:
            continue
        words = [] if comment else "".join(held).replace("\\\n", " ").split()
        yield number - len(held) + 1, held, words
        held = []
    if held:
        yield number, held, "".join(held).replace("\\\n", " ").rstrip("\\").split()
