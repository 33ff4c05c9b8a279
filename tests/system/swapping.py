"""A folder of the guest that is swapped while a file is injected: before any call, and back before any later one."""

from __future__ import annotations

import builtins
import io
import itertools
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .conftest import Guest

HOME = "users/somebody"
Away = Callable[[Path, Path], None]

# Whatever takes a path, not only what the injection works with now.
_CALLS = ["access", "chmod", "chown", "getxattr", "lchown", "link", "listdir", "lstat", "mkdir", "mknod", "open"]
_CALLS += ["readlink", "remove", "removexattr", "rename", "replace", "rmdir", "scandir", "setxattr", "stat", "symlink"]
_CALLS += ["truncate", "unlink", "utime"]
_BACKUP = re.compile(r"file\.bak\.[\d.]+")


class Start(NamedTuple):
    """What there is before the injection."""

    file: str
    """What is injected, below the folder."""
    has_folder: bool = True
    has_file: bool = False


STARTS = {
    "nothing in it": Start("file"),
    "the file": Start("file", has_file=True),
    "nothing on the way": Start("below/file"),
    "no folder": Start("below/file", has_folder=False),
}


# What somebody puts in the place of the folder, to get into `target`. The links lead there as the kernel follows them.


def nothing(folder: Path, target: Path) -> None:
    pass


def a_link(folder: Path, target: Path) -> None:
    folder.symlink_to(os.path.relpath(target, folder.parent))


def links_in_a_folder(folder: Path, target: Path) -> None:
    folder.mkdir()
    (folder / "file").symlink_to(os.path.relpath(target / "file", folder))
    (folder / "below").symlink_to(os.path.relpath(target, folder))


class Seen(NamedTuple):
    mode: int
    owner: int
    group: int
    names: int
    content: str


class Outcome(NamedTuple):
    message: str
    """What was answered."""
    place: Path | None
    """Where the file is, as seen from the guest's root; None if it was refused."""


@dataclass
class Swapping:
    """Somebody who may do anything in their home, and who has a folder there.

    :param target: a folder of another, on this machine.
    :param owner: the user ID of that somebody.
    """

    guest: Guest
    start: Start
    away: Away
    target: Path
    owner: int

    def __post_init__(self) -> None:
        self._home = self.guest.root / HOME
        self._folder = self._home / "folder"
        self._aside = self._home / "aside"
        self._other = self._home / "other"  # what was in the place of the folder
        self._before: dict[Path, Seen] = {}
        self._path = f"/{HOME}/folder/{self.start.file}"

    @property
    def leads(self) -> bool:
        """Whether what is in the place of the folder leads the way to the target."""
        return self.away is a_link or (self.away is links_in_a_folder and self.start.file != "file")

    def outcomes(self) -> Iterator[Outcome]:
        """Gives what comes of each injection, until one ends before it would have been disturbed."""
        for gone in itertools.count(1):
            for back in itertools.count(gone + 1):
                self._make()
                calls, code, message = self._inject({gone: self._go, back: self._come_back})
                if gone <= calls < back:
                    self._come_back()
                when = f"{message!r}, swapped before call {gone}, back before call {back} of {calls}"
                yield Outcome(message, self._look(code, message, when))
                if calls < back:
                    break
            if calls < gone:
                return

    def _make(self) -> None:
        shutil.rmtree(self.guest.root)
        self._home.mkdir(parents=True)
        self.target.mkdir(exist_ok=True)
        (self.target / "file").write_text("of another")
        (self.target / "file").chmod(0o600)
        if self.start.has_folder:
            self._folder.mkdir()
        if self.start.has_file:
            (self._folder / "file").write_text("old")
            (self._folder / "file").chmod(0o640)
        self._give(self._home)
        os.utime(self.target, (0, 0))
        self._before = self._tree()

    def _give(self, path: Path) -> None:
        for each in everything(path):
            os.lchown(each, self.owner, self.owner if self.owner != os.geteuid() else -1)

    def _inject(self, before: Mapping[int, Callable[[], None]]) -> tuple[int, str, str]:
        """Injects a file; returns how many calls took a path, and the answer."""
        number = 0

        def counting(call: Callable[..., Any]) -> Callable[..., Any]:
            def count(*arguments: Any, **options: Any) -> Any:
                nonlocal number
                # What is done with what is open is the same before a swap and after it.
                if not (arguments and isinstance(arguments[0], int)):
                    number += 1
                    if number in before:
                        patch.undo()
                        before[number]()
                        count_all()
                return call(*arguments, **options)

            return count

        def count_all() -> None:
            for module, name in (*((os, name) for name in _CALLS), (io, "open"), (builtins, "open")):
                patch.setattr(module, name, counting(getattr(module, name)))
            # Some thousand times that takes minutes where disks are slow; what it is for, test_crashes.py tries.
            patch.setattr(os, "fsync", lambda descriptor: None)

        with pytest.MonkeyPatch.context() as patch:
            count_all()
            answer = self.guest.inject(self._path, b"new")
        return number, *answer

    def _go(self) -> None:
        if self._folder.exists():
            self._folder.rename(self._aside)
        self.away(self._folder, self.target)
        if os.path.lexists(self._folder):
            self._give(self._folder)
            put = tree(self._folder)
            self._before.update({self._other / path.relative_to(self._folder): seen for path, seen in put.items()})

    def _come_back(self) -> None:
        if os.path.lexists(self._folder):
            self._folder.rename(self._other)
        if self._aside.exists():
            self._aside.rename(self._folder)

    def _tree(self) -> dict[Path, Seen]:
        return tree(self.guest.root) | tree(self.target)

    def _look(self, code: str, message: str, when: str) -> Path | None:
        """Returns where the file is, having made sure that all else is as it was."""
        now = self._tree()
        new = {path: seen for path, seen in now.items() if seen != self._before.get(path)}
        file = None
        assert self._before.keys() <= now.keys(), when
        assert self.target.stat().st_mtime == 0, f"something was put there, if only for a moment: {when}"
        if code == "0":
            [file] = (path for path in new if new[path].content == "new")
            self._look_at(file, new.pop(file), when)
            backups = [path for path in new if path.parent == file.parent and _BACKUP.fullmatch(path.name)]
            there = [self._before[file]] if file in self._before else []
            assert [new.pop(path) for path in backups] == there, when
            new = {path: seen for path, seen in new.items() if path in self._before or path not in file.parents}
        else:
            assert code == "500"
            assert re.fullmatch(rf"\[Errno \d+\] .+: '{re.escape(self._path)}'", message), when
        # A folder that the agent had made, and that was moved then, is none that it could find again.
        left = {self._folder, self._other} if self.away is nothing or not self.start.has_folder else set()
        assert new.keys() <= left - self._before.keys(), when
        return file and file.relative_to(self.guest.root)

    def _look_at(self, file: Path, seen: Seen, when: str) -> None:
        forms = [(0o644, os.geteuid())]
        if self.start.has_file:  # outside of the folder a link may have led to that one for a moment
            forms = [(0o640, self.owner)] + (forms if file.parent != self._folder else [])
        assert (stat.S_IMODE(seen.mode), seen.owner) in forms, when


def everything(top: Path) -> Iterator[Path]:
    """Gives a file, or a folder and all in it; no link is followed, not even at the top."""
    yield top
    if top.is_dir() and not top.is_symlink():
        for path in sorted(top.iterdir()):
            yield from everything(path)


def tree(top: Path) -> dict[Path, Seen]:
    """Returns what is to be seen of a file, or of a folder and all in it."""
    found = {}
    for path in everything(top):
        status = path.lstat()
        names, content = status.st_nlink, ""
        if stat.S_ISDIR(status.st_mode):
            names = 0  # its folders are counted there
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        else:
            content = path.read_text()
        found[path] = Seen(status.st_mode, status.st_uid, status.st_gid, names, content)
    return found
