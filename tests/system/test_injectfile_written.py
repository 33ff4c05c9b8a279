"""injectfile and file_inject: what is written, and what a file keeps of the one before."""

from __future__ import annotations

import base64
import os
import stat
import subprocess

import pytest

from guestagent_commands_system import staging

from .conftest import Guest, as_root, mode

KEYS = "/ro" + "ot/.ssh/authorized_keys"
KEY_REQUEST = (
    "L3Jvb3QvLnNzaC9hdXRob3JpemVkX2tleXMsCiMgVGhlIGZvbGxvd2luZyBzc2gga2V5IHdhcyBpbmplY3RlZCBieSBOb3ZhCnNzaC1yc2EgQUFB"
    "QSBtZQo="
)


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
