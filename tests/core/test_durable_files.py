"""Files that a crash leaves as they were or as they are to be."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from guestagent_core.durable_files import sync_folder, write_durably


def test_a_file_is_replaced_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"old")
    path.chmod(0o644)
    (tmp_path / ".key.new").write_bytes(b"left by a crash")
    write_durably(path, b"\0new")
    assert path.read_bytes() == b"\0new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


def test_content_and_name_are_on_the_disk_in_this_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "key", []

    def note(descriptor: int) -> None:
        seen.append((os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")), path.exists()))

    monkeypatch.setattr(os, "fsync", note)
    write_durably(path, b"new")
    assert seen == [(".key.new", False), (tmp_path.name, True)]


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "key"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_durably(path, b"new")
    assert path.read_bytes() == b"old"
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "none")
