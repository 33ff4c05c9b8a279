"""Writes a version into every place that holds one: ``python tools/bump.py 3.1.0``.

Versions are literals, so that a checkout says what it is without being built, and siblings are pinned exactly, so that
distributions of one release are used together. A test holds all the places together.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
_VERSION = r"\d+\.\d+\.\d+"


def places() -> Iterator[tuple[Path, re.Pattern[str]]]:
    """Gives each file that holds the version, and a pattern whose groups surround it there."""
    yield (
        ROOT / "guestagent_core/src/guestagent_core/version.py",
        re.compile(rf'(?m)^(VERSION = ")({_VERSION})(")$'),
    )
    for project in sorted(ROOT.glob("guestagent_*/pyproject.toml")):
        yield project, re.compile(rf'(?m)^(version = ")({_VERSION})(")$')
        if project.parent.name != "guestagent_core":
            yield project, re.compile(rf'("guestagent_\w+==)({_VERSION})(")')


def versions() -> dict[str, set[str]]:
    """Returns the versions that each place holds at present; none if the place is missing."""
    return {
        f"{path.relative_to(ROOT)}: {pattern.pattern}": {match[2] for match in pattern.finditer(path.read_text())}
        for path, pattern in places()
    }


def bump(version: str) -> None:
    """Writes ``version`` everywhere."""
    for path, pattern in places():
        path.write_text(pattern.sub(rf"\g<1>{version}\g<3>", path.read_text()))


if __name__ == "__main__":
    if len(sys.argv) != 2 or not re.fullmatch(_VERSION, sys.argv[1]):
        sys.exit("usage: python tools/bump.py MAJOR.MINOR.PATCH (dotted numbers only: hosts compare them)")
    bump(sys.argv[1])
