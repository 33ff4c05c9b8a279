"""``/etc/network/interfaces`` and what it includes, taken apart so that lines that are not changed stay as they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from guestagent_core.errors import CommandError

if TYPE_CHECKING:
    from typing import TypeAlias

__all__ = ("COMMENT", "Block", "InterfacesFile", "Option", "Starters", "Taken", "base_name")

_KEYWORDS = re.compile(
    r"(auto|allow-\S+|iface|mapping|source|source-directory|source-dir|rename|template|no-auto-down|no-scripts)\Z"
)
_LABEL = re.compile(r"\s*#\s*Label\b")


Starters: TypeAlias = Literal["all", "own", "none"]


COMMENT = "#"
"""The key of a comment between options."""


class Option(NamedTuple):
    """One line below a keyword's line, with what it is continued by."""

    key: str
    """Its first word; :data:`COMMENT` of a comment."""
    value: str
    """Its words with one blank between them."""
    lines: str
    """The line as it is."""


class Block:
    """Lines that belong together: a keyword's line, and for ``iface`` and ``mapping`` the options below it.

    :param words: the words of the first line; none for comments and blank lines.
    :param lines: all lines as they are, with their ends.
    """

    __slots__ = ("family", "interface", "keyword", "lines", "method", "options", "starts", "words")

    def __init__(self, words: list[str], lines: list[str]) -> None:
        self.words = words
        self.lines = lines
        self.options: list[Option] = []
        """What the other lines say, comments among them included."""
        self.keyword = words[0] if words else ""
        """The first word, empty for comments and blank lines."""
        stanza = self.keyword == "iface"
        self.interface = base_name(words[1]) if stanza and len(words) > 1 else None
        """The interface whose stanza this is; that of ``eth0:1`` is ``eth0``."""
        self.family = words[2] if stanza and len(words) > 2 else ""
        """Of an interface's stanza: ``inet``, ``inet6`` or what stands there."""
        self.method = words[3] if stanza and len(words) > 3 else ""
        """Of an interface's stanza: ``static``, ``dhcp`` or what stands there."""
        self.starts = self.keyword == "auto" or self.keyword.startswith("allow-")
        """Whether it says which interfaces are brought up."""


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
        self._stanzas: dict[str, list[Block]] | None = None
        self._started: set[str] | None = None
        owner: Block | None = None
        for number, lines, words in _logical_lines(text):
            if not words or _KEYWORDS.match(words[0]):
                self.blocks.append(Block(words, lines))
                owner = self.blocks[-1] if words else owner
                continue
            # An option. Comments between it and the stanza belong to the stanza.
            if owner is None or owner.keyword not in ("iface", "mapping", "template"):
                raise CommandError(f"{path}:{number}: {words[0]!r} is no keyword, and belongs to no interface")
            between: list[list[str]] = []
            while self.blocks[-1] is not owner:
                between.append(self.blocks.pop().lines)
            between.reverse()
            owner.lines += [line for each in between for line in each] + lines
            comments = ["".join(each) for each in between if "".join(each).strip()]
            owner.options += [Option(COMMENT, "", comment) for comment in comments]
            owner.options.append(Option(words[0], " ".join(words[1:]), "".join(lines)))

    def text(self) -> str:
        """Returns the whole file."""
        return "".join(line for block in self.blocks for line in block.lines)

    def copy(self) -> InterfacesFile:
        """Returns another one that says the same; what is changed there does not change here."""
        other = InterfacesFile(self.path, "")
        other.blocks = list(self.blocks)
        return other

    def included(self) -> Iterator[tuple[str, bool]]:
        """Gives the patterns of the files that this one includes, as absolute paths, and whether each is a folder."""
        folder = self.path.rpartition("/")[0]
        for block in self.blocks:
            if block.keyword in ("source", "source-directory", "source-dir"):
                for word in block.words[1:]:
                    yield (word if word.startswith("/") else f"{folder}/{word}"), block.keyword != "source"

    def stanzas(self, name: str) -> list[Block]:
        """Returns the stanzas of the interface ``name`` and of its aliases."""
        return self._by_name().get(name, [])

    def names(self) -> list[str]:
        """Returns the interfaces that have stanzas."""
        return list(self._by_name())

    def _by_name(self) -> dict[str, list[Block]]:
        if self._stanzas is None:
            self._stanzas = {}
            for block in self.blocks:
                if block.interface is not None:
                    self._stanzas.setdefault(block.interface, []).append(block)
        return self._stanzas

    def started(self, name: str) -> bool:
        """Returns whether a line has the interface ``name`` brought up."""
        if self._started is None:
            self._started = {word for block in self.blocks if block.starts for word in block.words[1:]}
        return name in self._started

    def take_out(self, name: str, which: Callable[[Block], bool], *, starters: Starters) -> Taken:
        """Takes the stanzas of ``name`` out for which ``which`` holds, and those of its aliases.

        :param starters: which lines that have it brought up lose its name: all, those of its own, or none. Aliases
            lose theirs in any case.
        """
        place: int | None = None
        starter: str | None = None
        if not self.stanzas(name) and not any(base_name(word) == name for word in self._words()):
            return Taken(None, None)
        self._stanzas = self._started = None
        index = len(self.blocks)
        while index > 0:
            index -= 1
            block = self.blocks[index]
            if block.interface == name and which(block):
                del self.blocks[index]
                place = index = self._take_label(index)
            elif block.starts or (starters == "all" and block.keyword in ("no-auto-down", "no-scripts")):
                own = all(base_name(word) == name for word in block.words[1:])
                too = starters == "all" or (starters == "own" and own)
                gone = [word for word in block.words[1:] if base_name(word) == name and (too or word != name)]
                if name in gone and block.starts:
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
            before = self.blocks[-1].lines[-1:] if self.blocks else []
            if before and not before[0].endswith("\n"):
                lines.insert(0, "\n")
            if before and before[0].strip():
                lines.insert(0, "\n")
        self._stanzas = self._started = None
        self.blocks[place:place] = InterfacesFile(self.path, "".join(lines)).blocks

    def _words(self) -> set[str]:
        """All that lines say which bring up, or leave alone, interfaces."""
        lists = (block.words[1:] for block in self.blocks if block.starts or block.keyword.startswith("no-"))
        return {word for words in lists for word in words}

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
