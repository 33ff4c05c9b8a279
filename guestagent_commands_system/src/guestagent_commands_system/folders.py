"""The way to a folder of the guest, gone step by step, so that nobody can bend it meanwhile.

A path that is checked first and used afterwards leads elsewhere if somebody swaps a part of it for a link in between.
Here each part is opened below the one before, links are followed by hand, and what is done then is done in the folder
that was reached, whatever its name leads to by that time.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ("Place", "open_place", "synchronise")

_MOST_LINKS = 40  # the kernel's own limit (MAXSYMLINKS)
_LONGEST_PATH = 4096  # bytes with the last one, 0 (PATH_MAX); step by step one gets further than others can follow
_SEARCH = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)


@dataclass(frozen=True)
class Place:
    """A name in an open folder."""

    folder: int
    """A descriptor of the folder."""
    name: str

    def look(self) -> os.stat_result | None:
        """Returns what is there; None if nothing is."""
        try:
            return os.lstat(self.name, dir_fd=self.folder)
        except FileNotFoundError:
            return None


@contextmanager
def open_place(root: Path, path: str, *, create: bool = False, follow: bool = False) -> Iterator[Place]:
    """Gives the place ``path`` of the guest whose ``/`` is ``root``; its folder stays open for the ``with`` block.

    Links are followed as in a chroot. One that belongs to neither root nor this process may only lead to a folder of
    the same owner: else its owner could have files put where they may not put any.

    :param create: whether folders that are missing are made. If the ``with`` block fails, they are removed again.
    :param follow: whether a link in the last place is followed too.
    :raises OSError: there is no such folder, it cannot be made, or a link leads where it may not.
    """
    walk = _Walk(root, path, create, follow)
    try:
        yield walk.go()
    except BaseException:
        walk.undo()
        raise
    finally:
        walk.close()


@dataclass
class _Walk:
    root: Path
    path: str
    create: bool
    follow: bool
    open: list[int] = field(default_factory=list)  # the folders on the way, from the root on
    made: list[tuple[int, str]] = field(default_factory=list)
    owners: set[int] = field(default_factory=set)  # of the links that were followed and are not trusted

    def go(self) -> Place:
        pending = deque(part for part in self.path.split("/") if part not in ("", "."))
        if not pending or pending[-1] == ".." or self.path.endswith(("/", "/.")):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.path)
        if len(os.fsencode(self.path)) >= _LONGEST_PATH:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), self.path)
        self.open.append(os.open(self.root, _SEARCH & ~os.O_NOFOLLOW))
        links = 0
        while True:
            part = pending.popleft()
            if part == "..":
                if len(self.open) > 1:
                    os.close(self.open.pop())
                continue
            if (not pending and not self.follow) or (target := self._target(part)) is None:
                if not pending:
                    break
                self._enter(part)
                continue
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self.path)
            if target.startswith("/"):
                while len(self.open) > 1:
                    os.close(self.open.pop())
            pending.extendleft(reversed([step for step in target.split("/") if step not in ("", ".")]))
            if not pending:
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.path)
        self._check_owner()
        # What is only searched cannot be synchronised.
        self.open.append(os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.open[-1]))
        return Place(self.open[-1], part)

    def _target(self, part: str) -> str | None:
        """Returns where the link ``part`` leads, None if it is no link."""
        try:
            found, target = _read_link(part, self.open[-1])
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINVAL):
                return None
            raise
        if target is None:
            return None
        if found.st_uid not in (0, os.geteuid()):
            self.owners.add(found.st_uid)
        return target

    def _enter(self, part: str) -> None:
        here = self.open[-1]
        try:
            self.open.append(os.open(part, _SEARCH, dir_fd=here))
        except FileNotFoundError:
            if not self.create:
                raise
            self._check_owner()
            os.mkdir(part, 0o755, dir_fd=here)
            self.made.append((os.dup(here), part))
            self.open.append(os.open(part, _SEARCH, dir_fd=here))
            _synchronise_reopened(here)

    def _check_owner(self) -> None:
        """Makes sure that the links so far were allowed to lead here. They have no say in what is made here then, which
        belongs to root; those that come later have: what was just made may have been swapped already.
        """
        if self.owners - {os.fstat(self.open[-1]).st_uid}:
            raise PermissionError(errno.EPERM, "A link on the way leads to a folder of somebody else", self.path)
        self.owners.clear()

    def undo(self) -> None:
        for folder, part in reversed(self.made):
            with suppress(OSError):  # somebody uses it already
                os.rmdir(part, dir_fd=folder)

    def close(self) -> None:
        for descriptor in (*self.open, *(folder for folder, _ in self.made)):
            os.close(descriptor)


def _read_link(part: str, folder: int) -> tuple[os.stat_result, str | None]:
    """Returns what is at ``part``, and where it leads if it is a link: of one and the same link, whoever swaps it."""
    if not hasattr(os, "O_PATH"):
        found = os.lstat(part, dir_fd=folder)
        return found, os.readlink(part, dir_fd=folder) if stat.S_ISLNK(found.st_mode) else None
    descriptor = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        found = os.fstat(descriptor)
        return found, os.readlink("", dir_fd=descriptor) if stat.S_ISLNK(found.st_mode) else None
    finally:
        os.close(descriptor)


def synchronise(folder: int) -> None:
    """Returns when what was done in a folder is on the disk, where the file system can tell."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def _synchronise_reopened(folder: int) -> None:
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        synchronise(descriptor)
    finally:
        os.close(descriptor)
