"""Reading the files of a guest through a context, as snapshots of backends hold them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_core.errors import CommandError

from .backends import FileState

if TYPE_CHECKING:
    from guestagent_core import Context

    from .model import Change, Interface

__all__ = (
    "all_readable",
    "check_kept",
    "find_files",
    "find_paths",
    "program",
    "read_file",
    "read_files",
    "read_text",
    "target_of",
)

_LARGEST = 4 << 20  # bytes; no file that configures a network is larger
_FOLDERS = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")


def all_readable(read: Callable[[dict[str, CommandError]], tuple[Interface, ...]]) -> tuple[Interface, ...]:
    """Returns the interfaces that ``read`` finds, if it notes none that cannot be understood.

    :param read: puts the errors of those into the dictionary that it is given, by their names.
    :raises CommandError: the first of them.
    """
    broken: dict[str, CommandError] = {}
    found = read(broken)
    for error in broken.values():
        raise error
    return found


def check_kept(change: Change, broken: Mapping[str, CommandError]) -> None:
    """Makes sure that what a change leaves of its interfaces is known: what is replaced as a whole may be broken, and
    what others have is theirs.

    :param broken: the errors of interfaces that cannot be understood.
    :raises CommandError: one of which only an IP version changes is among them.
    """
    for interface in change.interfaces:
        if interface.partial and interface.name in broken:
            raise broken[interface.name]


def read_file(context: Context, path: str) -> FileState | None:
    """Returns the file at ``path``, None if there is none; a symbolic link is read through.

    :raises OSError: it is there and cannot be read, or is larger than 4 MiB.
    """
    place = context.path(path, follow=False)
    link = os.readlink(place) if place.is_symlink() else None
    try:
        with open(context.path(path), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return None if link is None else FileState(b"", 0o644, link)
            if status.st_size > _LARGEST:
                raise OSError(f"{path} is larger than {_LARGEST} bytes")
            return FileState(file.read(), stat.S_IMODE(status.st_mode), link)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None if link is None else FileState(b"", 0o644, link)


def read_files(context: Context, paths: Iterable[str]) -> dict[str, FileState]:
    """Returns the files that are there, by their paths.

    :raises OSError: as for :func:`read_file`.
    """
    found = ((path, read_file(context, path)) for path in paths)
    return {path: state for path, state in found if state is not None}


def read_text(context: Context, path: str) -> str:
    """Returns the text of the file at ``path``, empty if there is none or it cannot be read."""
    try:
        return context.path(path).read_text(errors="replace")
    except OSError:
        return ""


def find_files(context: Context, pattern: str) -> list[str]:
    """Returns the files whose paths in the guest fit ``pattern``, in their order; links out of the root are not
    followed. Wildcards may stand anywhere; names that begin with a dot fit only a dot.
    """
    return [path for path in _fitting(context, pattern) if context.path(path).is_file()]


def find_paths(context: Context, pattern: str) -> list[str]:
    """Returns what :func:`find_files` does, and folders, and links that lead nowhere."""
    return [path for path in _fitting(context, pattern) if os.path.lexists(context.path(path, follow=False))]


def _fitting(context: Context, pattern: str) -> list[str]:
    found = [""]
    parts = [part for part in pattern.split("/") if part]
    for part in parts:
        following: list[str] = []
        for folder in found:
            if not any(character in part for character in "*?["):
                following.append(f"{folder}/{part}")
                continue
            try:
                names = sorted(os.listdir(context.path(folder or "/")))
            except OSError:
                continue
            following += [
                f"{folder}/{name}"
                for name in names
                if fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))
            ]
        found = following
    return found


def program(context: Context, *names: str) -> str | None:
    """Returns the first of ``names`` that is installed as a program in the guest, None if none is."""
    for name in names:
        for folder in _FOLDERS:
            place = context.path(f"{folder}/{name}")
            if place.is_file() and os.access(place, os.X_OK):
                return name
    return None


def target_of(context: Context, name: str) -> str | None:
    """Returns what the program ``name`` is in the end, such as ``busybox``, without its folder.

    None: there is no such program.
    """
    for folder in _FOLDERS:
        place = context.path(f"{folder}/{name}")
        if context.root == Path("/"):
            place = place.resolve()
        if place.is_file() and os.access(place, os.X_OK):
            return place.name
    return None
