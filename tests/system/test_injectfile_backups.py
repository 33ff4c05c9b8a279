"""injectfile keeps what was there before: under which names, how often, and who can read what."""

from __future__ import annotations

import os
import time

import pytest

from .conftest import Guest, mode


def test_an_existing_file_keeps_its_mode_and_stays_as_a_backup(guest: Guest) -> None:
    old = guest.file("/etc/keep", "old\n", 0o640)
    inode = old.stat().st_ino
    assert guest.inject("/etc/keep") == ("0", "")
    [backup] = old.parent.glob("keep.bak.*")
    assert old.read_text() == "new\n"
    assert mode(old) == mode(backup) == 0o640
    assert backup.read_text() == "old\n"
    assert backup.stat().st_ino == inode, "the old file itself is the backup, with all that belongs to it"
    assert abs(float(backup.name.removeprefix("keep.bak.")) - time.time()) < 60


def test_at_most_five_backups_are_kept_and_only_those_are_removed(guest: Guest) -> None:
    file = guest.file("/etc/keep", "0")
    others = ["keep.bak.txt", "keep.bak.1.2.3", "keeper.bak.1", "keep.bak.", "xkeep.bak.1.0"]
    for name in others:
        guest.file(f"/etc/{name}", "mine")
    guest.file("/etc/keep.bak.1400000000.0", "of the original agent")
    (guest.root / "etc/keep.bak.1400000001.0").mkdir()  # the original agent did that to folders
    for number in range(1, 9):
        assert guest.inject("/etc/keep", str(number).encode()) == ("0", "")
    kept = [path for path in file.parent.glob("keep.bak.1*") if path.is_file() and path.name not in others]
    assert sorted(path.read_text() for path in kept) == ["3", "4", "5", "6", "7"]
    assert all((file.parent / name).exists() for name in others)
    assert (file.parent / "keep.bak.1400000001.0").is_dir()


def test_backups_of_one_moment_have_different_names(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1400000000.0)
    guest.file("/etc/keep", "0")
    for number in range(1, 4):
        guest.inject("/etc/keep", str(number).encode())
    names = sorted(path.name for path in (guest.root / "etc").iterdir())
    assert names == ["keep", *(f"keep.bak.{1400000000 + number}.0" for number in range(3))]


def test_where_files_have_one_name_only_the_backup_is_a_copy(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    old = guest.file("/etc/keep", "old\n", 0o640)
    (guest.root / "etc/link").symlink_to("keep")
    assert guest.inject("/etc/keep") == ("0", "")
    assert guest.inject("/etc/link") == ("0", "")
    [backup] = old.parent.glob("keep.bak.*")
    assert (backup.read_text(), mode(backup)) == ("old\n", 0o640)
    [backup] = old.parent.glob("link.bak.*")
    assert os.readlink(backup) == "keep"
