"""Files that change together are new, or what they were: content, mode, owner and links."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestagent_commands_net.transaction import staging
from guestagent_commands_net.transaction.record import FileEntry, Folder, Outcome, Record
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
    assert staging.swapped(made)
    staging.discard(made)
    assert content(tmp_path) == NEW
    assert stat.S_IMODE((tmp_path / "changes").stat().st_mode) == 0o640, "a file keeps its mode"
    assert stat.S_IMODE((tmp_path / "below/comes").stat().st_mode) == 0o600


LABEL = "user.label"  # as an SELinux label, which needs its kernel


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A folder in which the two old files have a label each."""
    entries(tmp_path)
    try:
        for name in OLD:
            os.setxattr(tmp_path / name, LABEL, name.encode())
    except OSError:
        pytest.skip("this file system has no extended attributes")
    (tmp_path / "goes").chmod(0o604)
    return tmp_path


def made_again(folder: Path) -> list[FileEntry]:
    """The entries for what is in ``folder`` already."""
    return [
        staging.entry_for("/changes", folder / "changes", b"new", 0o644),
        staging.entry_for("/comes", folder / "below/comes", b"\xff\x00", 0o600),
        staging.entry_for("/goes", folder / "goes", None, 0o644),
    ]


def state(folder: Path) -> dict[str, object]:
    """All of each file: content, mode, owner, label and age."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            about = path.stat()
            label = os.getxattr(path, LABEL) if LABEL in os.listxattr(path) else None
            found[str(path.relative_to(folder))] = (
                path.read_bytes(), about.st_mode, about.st_uid, about.st_gid, label, about.st_mtime_ns
            )  # fmt: skip
    return found


def test_a_file_keeps_its_extended_attributes(labelled: Path) -> None:
    made = made_again(labelled)
    staging.stage(made)
    staging.swap(made)
    assert (labelled / "changes").read_bytes() == b"new"
    assert os.getxattr(labelled / "changes", LABEL) == b"changes"


def test_a_file_that_was_removed_or_changed_comes_back_with_all_that_it_had(labelled: Path) -> None:
    before = state(labelled)
    made = made_again(labelled)
    staging.stage(made)
    staging.swap(made)
    staging.restore(made)
    assert state(labelled) == before


class CrashError(BaseException):
    """The process is gone: nothing may catch it."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A counter of the calls that change a folder; the one that takes it to 0 crashes, before or after it was made."""
    left = [1_000_000]

    def counted(name: str) -> None:
        call = getattr(os, name)

        def counting(*arguments: object, **more: object) -> object:
            left[0] -= 1
            if left[0] == 0:
                raise CrashError
            done = call(*arguments, **more)
            left[0] -= 1
            if left[0] == 0:
                raise CrashError
            return done

        monkeypatch.setattr(os, name, counting)

    for name in ("rename", "link", "unlink", "setxattr", "fchmod", "fsync"):
        counted(name)
    yield left
    monkeypatch.undo()


def test_wherever_it_crashed_on_the_way_and_back_all_is_as_it_was(labelled: Path, calls: list[int]) -> None:
    """Each call on the way is the last one once; then each one on the way back, after a whole way."""
    before = state(labelled)
    crashes = 0
    for stages in (("stage", "swap"), ("restore",)):
        for moment in range(1, 1000):
            made = made_again(labelled)
            if stages == ("restore",):
                staging.stage(made)
                staging.swap(made)
            calls[0] = moment
            try:
                for name in stages:
                    getattr(staging, name)(made)
            except CrashError:
                crashes += 1
            ended = calls[0] > 0
            calls[0] = 1_000_000
            staging.restore(made)  # what whoever finds the record does
            assert state(labelled) == before, (stages, moment)
            assert not (labelled / "below").exists() or not list((labelled / "below").iterdir())
            if ended:
                break
        else:
            raise AssertionError("it never came to an end")
    assert crashes > 20


def test_nothing_of_the_old_files_is_left_once_the_change_has_ended(tmp_path: Path) -> None:
    made = entries(tmp_path)
    staging.stage(made)
    staging.swap(made)
    assert len(content(tmp_path)) > len(NEW), "they are kept as long as there is a way back"
    staging.discard(made)
    assert content(tmp_path) == NEW


def test_what_is_left_of_an_older_change_is_not_taken_for_the_old_file(tmp_path: Path) -> None:
    made = entries(tmp_path)
    (tmp_path / ".goes.guestagent-old").write_bytes(b"older")
    (tmp_path / "below").mkdir()
    (tmp_path / "below/.comes.guestagent-old").write_bytes(b"older")
    staging.stage(made)
    staging.swap(made)
    staging.restore(made)
    assert content(tmp_path) == OLD


def test_without_what_was_kept_the_record_is_enough(tmp_path: Path) -> None:
    made = entries(tmp_path)
    staging.stage(made)
    staging.swap(made)
    for path in tmp_path.rglob(".*.guestagent-old"):
        path.unlink()  # a former version kept none
    staging.restore(made)
    assert content(tmp_path) == OLD
    assert stat.S_IMODE((tmp_path / "changes").stat().st_mode) == 0o640


def test_a_file_system_without_links_is_good_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **more: object) -> None:
        raise PermissionError("no links here")

    made = entries(tmp_path)
    monkeypatch.setattr(os, "link", refuse)
    staging.stage(made)
    staging.swap(made)
    assert {name: text for name, text in content(tmp_path).items() if not name.startswith(".")} == NEW
    staging.restore(made)
    assert content(tmp_path) == OLD


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


FORMER = {
    "format": 1, "id": "7", "root": "/", "boot_id": "boot", "until": 12.5,
    "files": [{
        "path": "/goes", "place": "PLACE", "before": "Z29uZSBzb29u", "after": None,
        "mode_before": 416, "mode_after": 416, "owner": [0, 0],
    }],
    "siblings": {}, "validate": [], "apply": {"before": [], "after": [], "harder": []},
    "revert": {"before": [], "after": [], "harder": []},
    "expected": [], "snapshot": [], "hostname": None, "names": ["e"],
}  # fmt: skip
"""A record as the version before this one wrote it, which left nothing beside the files."""


def test_a_record_of_the_former_version_is_read_and_takes_the_files_back(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "state")
    folder.path.mkdir(parents=True)
    place = str(tmp_path / "goes")
    write_durably(folder.record_path, json.dumps(FORMER).replace("PLACE", place).encode())
    record = folder.record()
    assert record is not None
    assert staging.swapped(record.files)
    staging.restore(record.files)
    assert Path(place).read_bytes() == b"gone soon"
    assert stat.S_IMODE(Path(place).stat().st_mode) == 0o640
    assert record.to_json().keys() == FORMER.keys(), "the former version is not to be surprised either"
    assert record.to_json()["files"][0].keys() == FORMER["files"][0].keys()  # type: ignore[index]
