"""password edits the shadow file: what it writes, what it leaves as it was, and whom it waits for."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from guestagent_commands_system import shadow
from guestagent_commands_system.hashing import hash_password

from .conftest import Guest, as_root
from .shadow_files import OTHERS, fields, is_hash_of, today


@pytest.mark.parametrize(
    ("old", "mode"),
    [
        ("$6$saltsalt$oldhash", 0o640),
        ("$1$abcdefgh$xyz", 0o600),
        ("!$6$saltsalt$oldhash", 0o400),
        ("$6$rounds=5000$saltsalt$oldhash", 0o400),
        ("!", 0o640),
        ("*", 0o640),
        ("!!", 0 if os.geteuid() == 0 else 0o600),  # as Red Hat has it
        ("", 0o640),
        ("!*", 0o640),
    ],
)
def test_the_shadow_file_is_edited(guest: Guest, old: str, mode: int) -> None:
    """As recorded, but that weak schemes are not kept, and the day of the change is noted."""
    file = guest.file("/etc/shadow", f"root:{old}:15000:0:99999:7:::\n{OTHERS}", mode)
    assert guest.set_password("mEoW4567") == ("0", "")
    name, hashed, day, *rest = fields(guest)
    assert hashed.startswith("$6$")
    assert is_hash_of(hashed, "mEoW4567")
    assert (name, day, rest) == ("root", today(), ["0", "99999", "7", "", "", ""])
    assert file.read_text().partition("\n")[2] == OTHERS
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert {path.name for path in file.parent.iterdir()} == {"shadow", ".pwd.lock"}


@as_root
def test_owner_and_label_of_the_shadow_file_stay(guest: Guest) -> None:
    file = guest.file("/etc/shadow", f"root:*:15000:0:99999:7:::\n{OTHERS}", 0o640)
    os.chown(file, 0, 42)
    os.setxattr(file, "security.selinux", b"system_u:object_r:shadow_t:s0\0")
    assert guest.set_password("mEoW4567") == ("0", "")
    assert (file.stat().st_uid, file.stat().st_gid, stat.S_IMODE(file.stat().st_mode)) == (0, 42, 0o640)
    assert os.getxattr(file, "security.selinux") == b"system_u:object_r:shadow_t:s0\0"


def test_a_shadow_file_behind_a_link_is_edited_where_it_is(guest: Guest) -> None:
    real = guest.file("/persistent/shadow", f"root:*:15000:0:99999:7:::\n{OTHERS}", 0o600)
    (guest.root / "etc/shadow").symlink_to("/persistent/shadow")
    assert guest.set_password("mEoW4567") == ("0", "")
    assert is_hash_of(fields(guest, "/persistent/shadow")[1], "mEoW4567")
    assert (guest.root / "etc/shadow").is_symlink()
    assert real.is_file()


@pytest.mark.parametrize(
    ("old", "login_defs", "beginning"),
    [
        ("*", "ENCRYPT_METHOD YESCRYPT\n", "$y$"),
        ("*", "# ENCRYPT_METHOD YESCRYPT\nENCRYPT_METHOD\tSHA512\n", "$6$"),
        ("$y$j9T$salt$hash", "", "$y$"),
        ("!$y$j9T$salt$hash", "", "$y$"),
        ("$y$j9T$salt$hash", "ENCRYPT_METHOD SHA512\n", "$6$"),
        ("$5$salt$hash", "ENCRYPT_METHOD SHA256\n", "$6$"),
        ("ab1234567890.", "ENCRYPT_METHOD DES\n", "$6$"),
        ("$6$rounds=7000$salt$hash", "", "$6$rounds=7000$"),
        ("*", "SHA_CRYPT_MAX_ROUNDS 9000\n", "$6$rounds=9000$"),
        ("$6$rounds=999999999$salt$hash", "SHA_CRYPT_MIN_ROUNDS 6000\n", "$6$rounds=1000000$"),
    ],
)
def test_the_scheme_is_the_one_of_the_system(old: str, login_defs: str, beginning: str) -> None:
    hashed = hash_password("pässwörd ✓", old, login_defs)
    assert hashed.startswith(beginning)
    assert is_hash_of(hashed, "pässwörd ✓")
    assert hash_password("pässwörd ✓", old, login_defs) != hashed, "the salt is a new one each time"


def test_without_libxcrypt_it_is_sha512(monkeypatch: pytest.MonkeyPatch) -> None:
    from guestagent_commands_system import hashing

    monkeypatch.setattr(hashing, "_LIBRARIES", ("libno-such-crypt.so.1", "libc.so.6"))
    hashed = hash_password("x", "*", "ENCRYPT_METHOD YESCRYPT\n")
    assert hashed.startswith("$6$")
    assert is_hash_of(hashed, "x")


def test_without_a_password_file_it_is_an_error_as_recorded(guest: Guest) -> None:
    assert guest.set_password("mEoW4567") == ("500", "Unknown password file format")
    assert guest.tree() == {"/etc": ("40755", "")}


def test_without_an_account_it_is_an_error_and_nothing_changes(guest: Guest) -> None:
    guest.file("/etc/shadow", OTHERS + "root:x\n", 0o600)
    before = (guest.root / "etc/shadow").read_bytes()
    assert guest.set_password("mEoW4567") == ("500", "There is no account 'root' in /etc/shadow")
    assert (guest.root / "etc/shadow").read_bytes() == before


def test_another_program_is_waited_for_but_not_for_ever(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    guest.file("/etc/shadow", "root:*:15000:0:99999:7:::\n", 0o600)
    lock = guest.file("/etc/.pwd.lock", "", 0o600)
    holding = (
        "import fcntl, sys, time\nfile = open(sys.argv[1], 'r+')\nfcntl.lockf(file, fcntl.LOCK_EX)\n"
        "print(flush=True)\ntime.sleep(600)\n"
    )

    @contextmanager
    def held() -> Iterator[subprocess.Popen[bytes]]:
        with subprocess.Popen([sys.executable, "-c", holding, lock], stdout=subprocess.PIPE) as holder:
            try:
                assert holder.stdout is not None
                holder.stdout.readline()
                yield holder
            finally:
                holder.kill()

    with held() as holder, monkeypatch.context() as patched:

        def end_it_meanwhile(seconds: float) -> None:
            holder.kill()
            holder.wait()

        patched.setattr(time, "sleep", end_it_meanwhile)
        assert guest.set_password("mEoW4567") == ("0", "")
        assert holder.returncode is not None, "it was waited for"
    monkeypatch.setattr(shadow, "_LOCK_TIME", 0.2)
    with held():
        before = (guest.root / "etc/shadow").read_bytes()
        assert guest.set_password("other") == ("500", "Another program keeps /etc/.pwd.lock locked")
        assert (guest.root / "etc/shadow").read_bytes() == before
    with lock.open("r+") as mine:
        fcntl.lockf(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody has it any more
