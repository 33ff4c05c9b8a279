"""Archives are looked through before anything of them is unpacked."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from guestagent_commands_system.archives import open_archive
from guestagent_core import CommandError

LIMIT = 1024 * 1024


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, mode
    return info


def archive_of(path: Path, members: list[tarfile.TarInfo], content: bytes = b"x") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for info in members:
            info.size = len(content) if info.type == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(content) if info.type == tarfile.REGTYPE else None)
    return path


def unpack(file: Path, target: Path) -> None:
    with open_archive(file, "it", LIMIT) as archive:
        archive.unpack(target)


SYM, LNK, DIR = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


@pytest.mark.parametrize(
    "members",
    [
        [member("../out")],
        [member("a/../../out")],
        [member("/out")],
        [member("..", DIR)],
        [member("a", SYM, "/etc"), member("a/out")],
        [member("a", SYM, ".."), member("a/out")],
        [member("a", SYM, "/etc/passwd")],
        [member("a/b", SYM, "../../out")],
        [member("d", SYM, "."), member("d/out")],
        [member("d", SYM, "."), member("out", SYM, "d/../../x")],
        [member("d", SYM, "."), member("out", SYM, "d/..")],
        [member("d/e", SYM, "."), member("out", SYM, "./d/e/../../..")],
        [member("a/...", SYM, ".."), member("a/out", SYM, ".../../../x")],
        [member("a/x"), member("a", SYM, "b")],
        [member("a"), member("a", SYM, "b")],
        [member("a", SYM, "b"), member("a")],
        [member("a", LNK, "/etc/passwd")],
        [member("a", LNK, "../out")],
        [member("a", LNK, "b")],
        [member("b", SYM, "c"), member("a", LNK, "b")],
        [member("a", tarfile.CHRTYPE)],
        [member("a", tarfile.BLKTYPE)],
        [member("a", tarfile.FIFOTYPE)],
    ],
    ids=lambda members: " ".join(f"{info.name}>{info.linkname}" for info in members),
)
def test_what_leads_out_is_refused_and_nothing_is_unpacked(tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    file = archive_of(tmp_path / "it.tar.gz", [member("first"), *members])
    with pytest.raises(CommandError, match="The archive is refused: ") as caught:
        unpack(file, tmp_path / "target")
    assert members[-1].name in str(caught.value) or members[0].name in str(caught.value)
    assert os.listdir(tmp_path) == ["it.tar.gz"]


def test_files_folders_and_links_inside_are_unpacked(tmp_path: Path) -> None:
    members = [
        member("./", DIR),
        member("./agent/", DIR, mode=0o500),
        member("./agent/installer.sh", mode=0o6775),
        member("agent/lib/lib.so.1.2"),
        member("agent/lib/lib.so.1", SYM, "lib.so.1.2"),
        member("agent/lib/lib.so", SYM, "./lib.so.1"),
        member("agent/current", SYM, "../agent/lib"),
        member("agent/same", LNK, "agent/lib/lib.so.1.2"),
    ]
    for info in members:
        info.uid = info.gid = 1234
    unpack(archive_of(tmp_path / "it.tar.gz", members), tmp_path / "target")
    agent = tmp_path / "target/agent"
    assert (agent / "lib/lib.so").read_bytes() == (agent / "current/lib.so").read_bytes() == b"x"
    installer = (agent / "installer.sh").stat()
    assert installer.st_mode & 0o7777 == 0o755, "set-user-ID, and writing by others, do not come along"
    assert installer.st_uid == os.geteuid()


@pytest.mark.parametrize("option", ["", "z", "j", "J"])
def test_real_archives_of_any_compression_are_read(tmp_path: Path, option: str) -> None:
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent/installer.sh").write_text("x")
    (tmp_path / "agent/link").symlink_to("installer.sh")
    subprocess.run(["tar", f"-c{option}f", "it.tar", "./agent"], cwd=tmp_path, check=True)
    with open_archive(tmp_path / "it.tar", "it", LIMIT) as archive:
        assert archive.find("installer.sh") == ["agent/installer.sh"]
        archive.unpack(tmp_path / "target")
    assert (tmp_path / "target/agent/link").read_text() == "x"


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a tar at all" * 100),
        lambda path: path.write_bytes(b"\x1f\x8b\x08" + b"\0" * 600),
        lambda path: path.write_bytes(archive_of(path, [member("a")], b"x" * 9000).read_bytes()[:60]),
        lambda path: path.write_bytes(b"PK\x03\x04" + b"\0" * 600),
    ],
)
def test_what_is_no_archive_is_told_as_recorded(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "it.tar.gz")
    with pytest.raises(CommandError) as caught:
        unpack(tmp_path / "it.tar.gz", tmp_path / "target")
    assert str(caught.value) == "it: file could not be opened successfully"
    assert not (tmp_path / "target").exists()


def test_an_archive_that_grows_without_end_is_refused(tmp_path: Path) -> None:
    file = archive_of(tmp_path / "it.tar.gz", [member(f"{number}") for number in range(4)], b"\0" * (LIMIT // 3))
    assert file.stat().st_size < 10_000
    with pytest.raises(CommandError, match="holds more than 1048576 bytes"):
        unpack(file, tmp_path / "target")
