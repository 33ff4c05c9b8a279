"""Files that change together: staged beside their places, swapped in by renaming, and put back.

What a file was stays beside it under a hidden name until the change has ended, and is put back by renaming too: with
its SELinux label and all else that a file has, and also on a disk that is full meanwhile. Where there is no such thing,
the content is written anew: the record has it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from guestagent_core.durable_files import sync_folder

from .record import FileEntry

__all__ = ("discard", "entry_for", "restore", "stage", "swap", "swapped")

_MANY = 8  # files; more of them are flushed to the disk together, with all else: each alone costs as much
# No tool takes a hidden file of these names for a configuration.
_NEW = ".guestagent-new"
_OLD = ".guestagent-old"


def entry_for(path: str, place: Path, after: bytes | None, mode: int) -> FileEntry:
    """Returns the entry for a file that is to hold ``after``, None to be removed.

    A file that exists keeps its owner, and its mode less what ``mode`` does not allow.

    :param path: as the guest sees it.
    :param place: where it lies; a link there is followed, so that it stays.
    """
    real = os.path.realpath(place)
    try:
        descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return FileEntry(path, real, None, after, mode, mode)
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        before = file.read()
    old_mode = stat.S_IMODE(found.st_mode)
    return FileEntry(path, real, before, after, old_mode, old_mode & mode, (found.st_uid, found.st_gid))


def stage(entries: Iterable[FileEntry]) -> None:
    """Writes every new content beside its place, and makes sure that it is on disk.

    :raises OSError: there is no room, or the file system is read-only.
    """
    entries = list(entries)
    discard(entries)  # what a change before this one may have left would be taken for the old files
    written = [entry for entry in entries if entry.after is not None]
    many = len(written) > _MANY
    for entry in written:
        _write_beside(entry, entry.after or b"", entry.mode_after, flush=not many)
    if many:
        os.sync()


def swap(entries: Iterable[FileEntry]) -> None:
    """Puts what was staged into place, and keeps what was there until :func:`discard`.

    :raises OSError: it was not staged, or the file system refuses.
    """
    folders = set()
    for entry in entries:
        if entry.after is None:
            with suppress(FileNotFoundError):
                os.rename(entry.place, _beside(entry, _OLD))
        else:
            with suppress(OSError):  # there is no old one, or the file system knows no links
                os.link(entry.place, _beside(entry, _OLD))
            os.rename(_beside(entry, _NEW), entry.place)
        folders.add(os.path.dirname(entry.place))
    _sync(folders)


def swapped(entries: Iterable[FileEntry]) -> bool:
    """Returns whether any file is not what it was before."""
    return any(_content(entry.place) != entry.before for entry in entries)


def restore(entries: Iterable[FileEntry]) -> None:
    """Puts every file back that is not what it was; what is as it was stays untouched.

    :raises OSError: a file could not be put back, or somebody else changed it; all others have been tried.
    """
    folders = set()
    problems: list[OSError] = []
    for entry in entries:
        try:
            present = _content(entry.place)
            if present == entry.before:
                continue
            if present != entry.after:
                problems.append(OSError(f"{entry.path} was changed by somebody else meanwhile, and is left as it is"))
                continue
            if entry.before is None:
                os.unlink(entry.place)
            elif _content(_beside(entry, _OLD)) == entry.before:
                os.rename(_beside(entry, _OLD), entry.place)
            else:
                _write_beside(entry, entry.before, entry.mode_before)
                os.rename(_beside(entry, _NEW), entry.place)
            folders.add(os.path.dirname(entry.place))
        except OSError as error:
            problems.append(error)
    _sync(folders)
    discard(entries)
    if problems:
        raise problems[0]


def discard(entries: Iterable[FileEntry]) -> None:
    """Takes away what was staged and not swapped in, and what was kept of the old files."""
    for entry in entries:
        for suffix in (_NEW, _OLD):
            with suppress(OSError):  # it is not there, or stays: it is hidden, and the next change takes it away
                os.unlink(_beside(entry, suffix))


def _beside(entry: FileEntry, suffix: str) -> str:
    folder, name = os.path.split(entry.place)
    return os.path.join(folder, f".{name}{suffix}")


def _write_beside(entry: FileEntry, content: bytes, mode: int, *, flush: bool = True) -> None:
    path = _beside(entry, _NEW)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with suppress(FileNotFoundError):
        os.unlink(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        if os.geteuid() == 0:
            os.fchown(descriptor, *entry.owner)
        os.fchmod(descriptor, mode)
        _keep_labels(entry.place, descriptor)
        if flush:
            os.fsync(descriptor)


def _keep_labels(source: str, descriptor: int) -> None:
    """Gives the new file the extended attributes of the old one, such as its SELinux label."""
    with suppress(OSError):  # there is no old one, or the file system has none
        for name in os.listxattr(source):
            with suppress(OSError):
                os.setxattr(descriptor, name, os.getxattr(source, name))


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _sync(folders: Iterable[str]) -> None:
    for folder in folders:
        with suppress(FileNotFoundError):
            sync_folder(folder)
