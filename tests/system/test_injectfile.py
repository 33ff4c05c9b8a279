"""injectfile and file_inject: what was recorded, what was wrong, and what goes wrong."""

from __future__ import annotations

import base64
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from guestagent_commands_system import staging

from .conftest import Guest

PATIENCE = 60.0  # seconds
NO_SUCH = "[Errno 2] No such file or directory: ''"
KEYS = "/ro" + "ot/.ssh/authorized_keys"
KEY_REQUEST = (
    "L3Jvb3QvLnNzaC9hdXRob3JpemVkX2tleXMsCiMgVGhlIGZvbGxvd2luZyBzc2gga2V5IHdhcyBpbmplY3RlZCBieSBOb3ZhCnNzaC1yc2EgQUFB"
    "QSBtZQo="
)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize(
    ("value", "path", "content"),
    [
        ("L2V0Yy9tb3RkMixoZWxsbwo=", "/etc/motd2", b"hello\n"),
        (KEY_REQUEST, KEYS, b"\n# The following ssh key was injected by Nova\nssh-rsa AAAA me\n"),
        ("L2V0Yy9lbXB0eSw=", "/etc/empty", b""),
        ("L2V0Yy9hIGIudHh0LHg=", "/etc/a b.txt", b"x"),
    ],
)
def test_new_files_are_as_recorded(guest: Guest, value: str, path: str, content: bytes) -> None:
    answer = guest.request(f'{{"name": "injectfile", "value": "{value}"}}')
    assert answer == {"message": "", "returncode": "0"}
    file = guest.root / path.lstrip("/")
    assert file.read_bytes() == content
    assert mode(file) == 0o644
    assert (file.stat().st_uid, file.stat().st_gid) == (os.geteuid(), os.getegid())
    assert [item.name for item in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("value", ["cmVsYXRpdmUudHh0LHg=", "LHg="])
def test_a_path_that_is_relative_or_empty_is_refused_as_recorded(guest: Guest, value: str) -> None:
    assert guest.call("injectfile", value) == ("500", NO_SUCH)
    assert guest.tree() == {"/etc": ("40755", "")}


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


@as_root
def test_an_existing_file_keeps_its_owner(guest: Guest) -> None:
    old = guest.file("/etc/keep", "old\n", 0o4755)
    os.chown(old, 3, 4)
    old.chmod(0o4755)
    guest.inject("/etc/keep")
    [backup] = old.parent.glob("keep.bak.*")
    for file in (old, backup):
        assert (file.stat().st_uid, file.stat().st_gid, mode(file)) == (3, 4, 0o4755)


@as_root
def test_an_existing_file_keeps_its_label_and_its_access_list(guest: Guest) -> None:
    old = guest.file("/etc/keep", "old\n", 0o640)
    access = bytes.fromhex("02000000 01000600ffffffff 04000400ffffffff 10000600ffffffff 20000000ffffffff")
    try:
        os.setxattr(old, "security.selinux", b"system_u:object_r:etc_t:s0\0")
        os.setxattr(old, "system.posix_acl_access", access)
    except OSError as error:
        pytest.skip(f"this file system takes no labels: {error}")
    listed = os.getxattr(old, "system.posix_acl_access")
    guest.inject("/etc/keep")
    assert os.getxattr(old, "security.selinux") == b"system_u:object_r:etc_t:s0\0"
    assert os.getxattr(old, "system.posix_acl_access") == listed
    assert old.read_text() == "new\n"


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


@pytest.mark.parametrize("size", [0, 1, 2990, 4 * 1024 * 1024])
def test_any_bytes_of_any_size_arrive(guest: Guest, size: int) -> None:
    content = os.urandom(size) if size > 1 else b"\xff" * size
    assert guest.inject("/etc/data", b",\0\n" + content) == ("0", "")
    assert (guest.root / "etc/data").read_bytes() == b",\0\n" + content


def test_a_path_need_not_be_utf8(guest: Guest) -> None:
    assert guest.inject(os.fsdecode(b"/etc/caf\xe9")) == ("0", "")
    assert os.listdir(os.fsencode(guest.root / "etc")) == [b"caf\xe9"]


def test_both_forms_do_the_same(guest: Guest) -> None:
    value = {"b64_path": base64.b64encode(b"/etc/motd,1").decode(), "b64_file": base64.b64encode(b"a,b").decode()}
    assert guest.call("file_inject", value) == ("0", "")
    assert (guest.root / "etc/motd,1").read_bytes() == b"a,b"


@pytest.mark.parametrize("path", ["/", "/etc", "/etc/", "/etc/.", "/etc/..", "/.", "//", "/etc/new/"])
def test_a_folder_is_not_replaced(guest: Guest, path: str) -> None:
    before = guest.tree()
    code, message = guest.inject(path)
    assert code == "500"
    assert "Is a directory" in message
    assert path in message
    assert guest.tree() == before


def test_a_device_a_queue_and_a_socket_are_not_replaced(guest: Guest) -> None:
    os.mkfifo(guest.root / "etc/queue")
    before = os.getcwd()
    os.chdir(guest.root / "etc")  # the path of a socket has to be short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
    finally:
        os.chdir(before)
    names = ["queue", "socket"]
    if os.geteuid() == 0:
        try:
            os.mknod(guest.root / "etc/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
            names.append("null")
        except PermissionError:  # a container may not
            pass
    for name in names:
        code, message = guest.inject(f"/etc/{name}")
        assert code == "500"
        assert message == f"[Errno 22] Neither a file nor a link to one: '/etc/{name}'"
    assert sorted(os.listdir(guest.root / "etc")) == sorted(names)


def test_a_file_on_the_way_is_an_error(guest: Guest) -> None:
    guest.file("/etc/file", "x")
    before = guest.tree()
    assert guest.inject("/etc/file/below/it") == ("500", "[Errno 20] Not a directory: '/etc/file/below/it'")
    assert guest.tree() == before


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 2100 + "x", "x/" * 100_000 + "x"])
def test_a_name_that_is_too_long_leaves_nothing(guest: Guest, name: str) -> None:
    code, message = guest.inject(f"/etc/new/{name}")
    assert code == "500"
    assert "File name too long" in message
    assert guest.tree() == {"/etc": ("40755", "")}, "folders made on the way are removed again"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "Error doing base64 decoding of data"),
        (None, "Error doing base64 decoding of data"),
        ([], "Error doing base64 decoding of data"),
        ({}, "Error doing base64 decoding of data"),
        ("L2V0Yy9tb3RkMixoZWxsbwo", "Error doing base64 decoding of data"),
        ("L2V0!Yy9tb3RkMixoZWxsbwo=", "Error doing base64 decoding of data"),
        ("é" * 4, "Error doing base64 decoding of data"),
        ("\0", "Error doing base64 decoding of data"),
        ("x" * (2**20 + 1), "Error doing base64 decoding of data"),
        ("", "need more than 1 value to unpack"),
        (base64.b64encode(b"/etc/motd").decode(), "need more than 1 value to unpack"),
        (base64.b64encode(b"/" * 2**20).decode(), "need more than 1 value to unpack"),
        (base64.b64encode(b"/etc/a\0b,x").decode(), "The path holds a NUL byte"),
        (base64.b64encode(b"\n/etc/a,x").decode(), NO_SUCH),
    ],
)
def test_bad_input_is_told_and_changes_nothing(guest: Guest, value: object, text: str) -> None:
    assert guest.call("injectfile", value) == ("500", text)
    assert guest.tree() == {"/etc": ("40755", "")}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "Invalid arguments"),
        (None, "Invalid arguments"),
        ([], "Invalid arguments"),
        ("L2V0Yy9tb3RkLGhlbGxv", "Invalid arguments"),
        ("x" * 2**20, "Invalid arguments"),
        ({}, "Missing b64_path or b64_file in dictionary arguments"),
        ({"b64_path": "L2V0Yy9tb3Rk"}, "Missing b64_path or b64_file in dictionary arguments"),
        ({"b64_path": 5, "b64_file": ""}, "Error doing base64 decoding of data"),
        ({"b64_path": "L2V0Yy9tb3Rk", "b64_file": "*"}, "Error doing base64 decoding of data"),
        ({"b64_path": "", "b64_file": ""}, NO_SUCH),
    ],
)
def test_bad_input_of_the_other_form_too(guest: Guest, value: object, text: str) -> None:
    assert guest.call("file_inject", value) == ("500", text)
    assert guest.tree() == {"/etc": ("40755", "")}


def test_the_new_content_is_never_readable_before_it_may_be(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    guest.file("/etc/keep", "old\n", 0o600)
    seen = []
    write = staging._write

    def watching(descriptor: int, content: bytes) -> None:
        write(descriptor, content)
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))

    monkeypatch.setattr(staging, "_write", watching)
    umask = os.umask(0)
    try:
        guest.inject("/etc/keep")
        guest.inject("/etc/new/file")
    finally:
        os.umask(umask)
    assert seen == [0o600, 0o600]
    assert mode(guest.root / "etc/keep") == 0o600
    assert mode(guest.root / "etc/new") == 0o755


def test_what_a_crash_has_left_goes_but_not_what_another_agent_has_begun(guest: Guest) -> None:
    import fcntl

    left = guest.file("/etc/.guestagent-0123456789abcdef.stage", "half")
    begun = guest.file("/etc/.guestagent-fedcba9876543210.stage", "half")
    other = guest.file("/etc/.guestagent-mine.stage", "mine")
    with begun.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        guest.inject("/etc/motd")
    assert not left.exists()
    assert begun.exists()
    assert other.exists()


# Whenever its folder is away, the agent may make a new one, which then has to go out of the way.
SWAPPER = """
import itertools, os, sys
from contextlib import suppress
folder, outside = sys.argv[1:]
aside = folder + ".aside"
print(flush=True)
for number in itertools.count():
    os.rename(folder, aside)
    with suppress(OSError):
        os.symlink(outside, folder)
        os.unlink(folder)
    while os.path.exists(aside):
        with suppress(OSError):
            os.rename(aside, folder)
            break
        with suppress(OSError):
            os.rename(folder, f"{folder}.{number}")
"""


def test_whoever_swaps_a_folder_for_a_link_gets_nothing_out_of_the_root(guest: Guest, tmp_path: Path) -> None:
    """The link leads to a folder of this machine; what is below the root of that name, is not it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = guest.root / "srv/folder"
    folder.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", SWAPPER, folder, outside], stdout=subprocess.PIPE) as swapper:
        assert swapper.stdout is not None
        swapper.stdout.readline()
        try:
            written = tried = 0
            end = time.monotonic() + PATIENCE
            while (tried < 500 or written < 5) and time.monotonic() < end:
                tried += 1
                written += guest.inject("/srv/folder/file", b"x")[0] == "0"
        finally:
            swapper.kill()
    assert written >= 5
    assert os.listdir(outside) == []


@as_root
def test_whoever_swaps_a_folder_of_their_own_gets_nothing_into_that_of_another(guest: Guest) -> None:
    """The way is open in the guest's own view: the link of a user leads to a folder of root."""
    target = guest.root / "target"
    target.mkdir()
    home = guest.root / "users/somebody"
    (home / "folder").mkdir(parents=True)
    for path in (home, home / "folder"):
        os.chown(path, 1000, 1000)
    (guest.root / "users").chmod(0o755)
    user = "import contextlib, itertools, os, sys\nos.setgid(1000); os.setuid(1000)\n" + SWAPPER
    # The way to the scratch root may be closed to the user, so the process goes there first.
    with subprocess.Popen(
        [sys.executable, "-c", user, "folder", "/target"], stdout=subprocess.PIPE, cwd=home
    ) as swapper:
        assert swapper.stdout is not None
        swapper.stdout.readline()
        try:
            written = tried = caught = 0
            end = time.monotonic() + PATIENCE
            while (tried < 500 or written < 5 or caught < 5) and time.monotonic() < end:
                tried += 1
                code, message = guest.inject("/users/somebody/folder/file", b"x")
                written += code == "0"
                caught += "somebody else" in message
        finally:
            swapper.kill()
    assert written >= 5
    assert caught >= 5, "it never came to that"
    assert os.listdir(target) == []


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


@pytest.mark.real
def test_a_full_disk_leaves_the_old_file_as_it_was(guest: Guest) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(guest.root)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"this root may not mount: {mounted.stderr.strip()}")
    try:
        old = guest.file("/etc/keep", b"o" * 30_000, 0o640)
        before = guest.tree()
        for path in ("/etc/keep", "/etc/new/file"):
            assert guest.inject(path, b"n" * 60_000) == ("500", f"[Errno 28] No space left on device: {path!r}")
            assert guest.tree() == before
        assert guest.inject("/etc/keep", b"fits") == ("0", "")
        assert old.read_bytes() == b"fits"
    finally:
        subprocess.run(["umount", str(guest.root)], check=True)
