"""injectfile where links are: what is replaced, what is followed, and who gets out of the root by none."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .conftest import Guest, as_root, mode


def test_a_link_is_replaced_as_recorded(guest: Guest) -> None:
    target = guest.file("/etc/target", "t\n", 0o600)
    link = guest.root / "etc/link"
    link.symlink_to("/etc/target")
    assert guest.inject("/etc/link") == ("0", "")
    [backup] = link.parent.glob("link.bak.*")
    assert os.readlink(backup) == "/etc/target"
    assert not link.is_symlink()
    assert (link.read_text(), mode(link)) == ("new\n", 0o600)
    assert target.read_text() == "t\n"


@pytest.mark.parametrize("target", ["/nowhere", "/etc", "link"])
def test_a_link_that_leads_to_no_file_is_replaced_by_a_new_one(guest: Guest, target: str) -> None:
    link = guest.root / "etc/link"
    link.symlink_to(target)
    assert guest.inject("/etc/link") == ("0", "")
    assert (link.read_text(), mode(link)) == ("new\n", 0o644)


def test_set_user_id_does_not_come_through_a_link(guest: Guest) -> None:
    guest.file("/etc/target", "t\n", 0o4755)
    link = guest.root / "etc/link"
    link.symlink_to("target")
    guest.inject("/etc/link")
    assert mode(link) == 0o755


# All by which an injection learns of the file system and changes it.
CALLS = ("open", "lstat", "fstat", "readlink", "listdir", "mkdir", "rmdir", "rename", "link", "unlink")
CALLS += ("fchmod", "fchown", "getxattr", "setxattr", "fsync")


@dataclass
class Swapped:
    """A folder that is something else from one call of an injection on, and itself again from a later one on.

    :param away: puts something else in the place of the folder, which has been moved aside.
    """

    guest: Guest
    path: str
    away: Callable[[Path], None]

    def __post_init__(self) -> None:
        self._folder = self.guest.root / self.path.lstrip("/")
        self._aside = self._folder.with_name("aside")

    def answers(self) -> Iterator[tuple[str, str]]:
        """Gives what an agent answers when the folder goes before any of its calls, and never comes back or does so
        before any later one. The file is there once then, and nothing of one that was not put.
        """
        self._make()
        most, *_ = self._inject({})
        for gone, back in itertools.combinations(range(1, most + 2), 2):  # the last one is never made
            self._make()
            _, code, message = self._inject({gone: self._go, back: self._come_back})
            files = [path.name for path in self.guest.root.rglob("*") if path.is_file()]
            assert files == (["file"] if code == "0" else []), (gone, back, message)
            yield code, message

    def _make(self) -> None:
        parent = self._folder.parent
        for path in parent.iterdir():
            path.unlink() if path.is_symlink() else shutil.rmtree(path)
        self._folder.mkdir()
        os.chown(self._folder, parent.stat().st_uid, parent.stat().st_gid)

    def _inject(self, before: Mapping[int, Callable[[], None]]) -> tuple[int, str, str]:
        """Injects a file; returns how many calls it took, and the answer."""
        number = 0

        def counting(call: Callable[..., Any]) -> Callable[..., Any]:
            def count(*arguments: Any, **options: Any) -> Any:
                nonlocal number
                number += 1
                if number in before:
                    patch.undo()
                    before[number]()
                    count_all()
                return call(*arguments, **options)

            return count

        def count_all() -> None:
            for name in CALLS:
                patch.setattr(os, name, counting(getattr(os, name)))

        with pytest.MonkeyPatch.context() as patch:
            count_all()
            answer = self.guest.inject(f"{self.path}/file", b"x")
        return number, *answer

    def _go(self) -> None:
        self._folder.rename(self._aside)
        self.away(self._folder)

    def _come_back(self) -> None:
        if self._folder.is_symlink():
            self._folder.unlink()
        elif self._folder.exists():  # the agent has made one, for there was none
            self._folder.rename(self._folder.with_name("made"))
        self._aside.rename(self._folder)


def test_whoever_swaps_a_folder_for_a_link_gets_nothing_out_of_the_root(guest: Guest, tmp_path: Path) -> None:
    """The link leads to a folder of this machine; what is below the root of that name, is not it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (guest.root / "srv").mkdir()
    top = guest.root / outside.parts[1]
    was_followed = 0
    for code, message in Swapped(guest, "/srv/folder", lambda folder: folder.symlink_to(outside)).answers():
        assert code == "0" or "Errno" in message
        assert os.listdir(outside) == []
        was_followed += top.exists()
        shutil.rmtree(top, ignore_errors=True)
    assert was_followed, "it never came to that"


def test_whoever_takes_a_folder_away_gets_it_made_anew_or_an_error(guest: Guest) -> None:
    (guest.root / "srv").mkdir()
    answers = list(Swapped(guest, "/srv/folder", lambda folder: None).answers())
    assert {code for code, _ in answers} <= {"0", "500"}
    assert ("0", "") in answers


@as_root
def test_whoever_swaps_a_folder_of_their_own_gets_nothing_into_that_of_another(guest: Guest) -> None:
    """The way is open in the guest's own view: the link of a user leads to a folder of root."""
    target = guest.root / "target"
    target.mkdir()
    home = guest.root / "users/somebody"
    home.mkdir(parents=True)
    os.chown(home, 1000, 1000)
    before = target.stat()

    def lead_to_target(folder: Path) -> None:
        folder.symlink_to("/target")
        os.lchown(folder, 1000, 1000)

    messages = []
    for _, message in Swapped(guest, "/users/somebody/folder", lead_to_target).answers():
        messages.append(message)
        assert os.listdir(target) == []
        assert target.stat() == before
    assert "" in messages
    assert any("somebody else" in message for message in messages), "it never came to that"


@as_root
def test_a_link_of_a_user_may_lead_to_a_folder_of_the_same(guest: Guest) -> None:
    home = guest.root / "users/somebody"
    (home / "real").mkdir(parents=True)
    (home / "link").symlink_to("real")
    os.chown(home / "real", 1000, 1000)
    os.chown(home / "link", 1000, 1000, follow_symlinks=False)
    assert guest.inject("/users/somebody/link/file") == ("0", "")
    assert (home / "real/file").read_text() == "new\n"
    os.chown(home / "real", 0, 0)
    code, message = guest.inject("/users/somebody/link/below/file")
    assert (code, "somebody else" in message) == ("500", True)
    assert not (home / "real/below").exists()


def test_links_on_the_way_are_followed_as_in_a_chroot(guest: Guest, tmp_path: Path) -> None:
    (guest.root / "run").mkdir()
    (guest.root / "var").mkdir()
    (guest.root / "var/run").symlink_to("/run")
    (guest.root / "var/up").symlink_to("../../../../../etc")
    (guest.root / "out").symlink_to(tmp_path)
    (guest.root / "loop").symlink_to("loop")
    assert guest.inject("/var/run/file") == ("0", "")
    assert (guest.root / "run/file").read_text() == "new\n"
    assert guest.inject("/var/up/../etc/./file") == ("0", "")
    assert (guest.root / "etc/file").read_text() == "new\n"
    assert guest.inject("/out/file") == ("0", "")
    assert (guest.root / str(tmp_path).lstrip("/") / "file").read_text() == "new\n"
    assert not (tmp_path / "file").exists()
    assert guest.inject("/loop/file")[1] == "[Errno 40] Too many levels of symbolic links: '/loop/file'"
