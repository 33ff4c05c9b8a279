"""Files that change together are new, or what they were: content, mode, owner and links."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from guestagent_commands_net import staging
from guestagent_commands_net.record import FileEntry, Folder, Outcome, Record
from guestagent_core.durable_files import write_durably


def entries(folder: Path) -> list[FileEntry]:
    """A file that changes, one that comes, and one that goes."""
    (folder / "changes").write_bytes(b"old")
    (folder / "changes").chmod(0o640)
    (folder / "goes").write_bytes(b"gone soon")
    return [
        staging.entry_for("/changes", folder / "changes", b"new", 0o644),
        staging.entry_for("/comes", folder / "below/comes", b"\xff\x00", 0o600),
        staging.entry_for("/goes", folder / "goes", None, 0o644),
    ]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


OLD = {"changes": b"old", "goes": b"gone soon"}
NEW = {"changes": b"new", "below/comes": b"\xff\x00"}


def test_nothing_is_seen_before_the_swap_and_all_after_it(tmp_path: Path) -> None:
    made = entries(tmp_path)
    staging.stage(made)
    assert {path: text for path, text in content(tmp_path).items() if not Path(path).name.startswith(".")} == OLD
    assert not staging.swapped(made)
    staging.swap(made)
    assert content(tmp_path) == NEW
    assert staging.swapped(made)
    assert stat.S_IMODE((tmp_path / "changes").stat().st_mode) == 0o640, "a file keeps its mode"
    assert stat.S_IMODE((tmp_path / "below/comes").stat().st_mode) == 0o600


def test_a_file_keeps_its_extended_attributes(tmp_path: Path) -> None:
    made = entries(tmp_path)
    try:
        os.setxattr(tmp_path / "changes", "user.label", b"ours")  # as an SELinux label, which needs its kernel
    except OSError:
        pytest.skip("this file system has no extended attributes")
    staging.stage(made)
    staging.swap(made)
    assert (tmp_path / "changes").read_bytes() == b"new"
    assert os.getxattr(tmp_path / "changes", "user.label") == b"ours"


def test_many_files_change_like_few(tmp_path: Path) -> None:
    made = [staging.entry_for(f"/{name}", tmp_path / f"{name}", b"new", 0o600) for name in range(20)]
    staging.stage(made)
    staging.swap(made)
    assert content(tmp_path) == {f"{name}": b"new" for name in range(20)}
    staging.restore(made)
    assert content(tmp_path) == {}


def test_what_was_staged_is_taken_away(tmp_path: Path) -> None:
    made = entries(tmp_path)
    staging.stage(made)
    staging.discard(made)
    assert content(tmp_path) == OLD


@pytest.mark.parametrize("swapped", [0, 1, 2, 3])
def test_wherever_a_swap_was_interrupted_the_old_files_come_back(tmp_path: Path, swapped: int) -> None:
    made = entries(tmp_path)
    staging.stage(made)
    staging.swap(made[:swapped])
    staging.restore(made)
    assert content(tmp_path) == OLD
    assert stat.S_IMODE((tmp_path / "changes").stat().st_mode) == 0o640
    staging.restore(made)
    assert content(tmp_path) == OLD


def test_a_link_stays_and_what_it_leads_to_changes(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    made = [staging.entry_for("/link", tmp_path / "link", b"new", 0o644)]
    staging.stage(made)
    staging.swap(made)
    assert os.readlink(tmp_path / "link") == "real"
    assert (tmp_path / "real").read_bytes() == b"new"


def test_what_somebody_else_wrote_meanwhile_is_left_and_named(tmp_path: Path) -> None:
    made = entries(tmp_path)
    staging.stage(made)
    staging.swap(made)
    (tmp_path / "changes").write_bytes(b"theirs")
    with pytest.raises(OSError, match="/changes was changed by somebody else"):
        staging.restore(made)
    assert content(tmp_path) == {**OLD, "changes": b"theirs"}


def test_a_mode_is_never_wider_than_it_was(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"old")
    (tmp_path / "secret").chmod(0o600)
    assert staging.entry_for("/secret", tmp_path / "secret", b"new", 0o644).mode_after == 0o600


def test_a_record_is_read_back_as_it_was(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.record() is None
    record = Record(
        "id", "/", "boot", 12.5, tuple(entries(tmp_path)), {"/x": b"\x00"}, hostname=("a", "b"), names=("e",)
    )
    folder.begin(record)
    assert folder.record() == record
    assert stat.S_IMODE(folder.record_path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    folder.enter("stage")
    folder.enter("validate", durable=True)
    with folder.progress_path.open("a") as file:
        file.write("arm")  # the power went here
    assert folder.steps() == ["stage", "validate"]
    folder.end(Outcome("id", "committed", names=("e",)))
    assert not folder.open_transaction()
    assert folder.last() == Outcome("id", "committed", names=("e",))
    assert folder.replaced_path.exists()


def test_a_record_of_another_form_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.path.mkdir()
    write_durably(folder.record_path, b'{"format": 1}')
    with pytest.raises(ValueError, match=str(folder.record_path)):
        folder.record()
    write_durably(folder.record_path, b'{"format": 2}')
    with pytest.raises(ValueError, match="has the form 2, not 1"):
        folder.record()
