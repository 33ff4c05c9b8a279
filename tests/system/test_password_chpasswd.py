"""password where chpasswd is: the real one does it, and that of busybox is given a hash."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from guestagent_commands_system import passwords
from guestagent_core import Context
from guestagent_core.programs import Programs

from .conftest import Guest
from .shadow_files import OTHERS, PASSWD, fields, is_hash_of, needs_chpasswd, today


@pytest.fixture
def whole_guest(guest: Guest) -> Guest:
    """One that chpasswd is content with."""
    needs_chpasswd()
    guest.file("/etc/passwd", PASSWD)
    guest.file("/etc/shadow", f"root:!:15000:0:99999:7:::\n{OTHERS}", 0o640)
    os.chown(guest.root / "etc/shadow", 0, 42)
    return guest


@pytest.mark.real
@pytest.mark.parametrize("scheme", ["YESCRYPT", "SHA512"])
def test_chpasswd_sets_it_in_another_root(whole_guest: Guest, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = whole_guest
    guest.file("/etc/login.defs", f"ENCRYPT_METHOD {scheme}\n")
    monkeypatch.setattr(passwords, "edit_shadow", None)  # it is not this one
    before = Path("/etc/shadow").read_bytes()
    assert guest.set_password("pässwörd: ✓") == ("0", "")
    assert is_hash_of(fields(guest)[1], "pässwörd: ✓")
    assert fields(guest)[1].startswith({"YESCRYPT": "$y$", "SHA512": "$6$"}[scheme])
    assert fields(guest)[2] == today()
    file = guest.root / "etc/shadow"
    assert file.read_text().partition("\n")[2] == OTHERS
    assert (file.stat().st_uid, file.stat().st_gid, stat.S_IMODE(file.stat().st_mode)) == (0, 42, 0o640)
    assert Path("/etc/shadow").read_bytes() == before


@pytest.mark.real
def test_chpasswd_says_why_it_fails(whole_guest: Guest) -> None:
    whole_guest.file("/etc/shadow.lock", "1")  # held by a process that is there
    code, message = whole_guest.set_password("mEoW4567")
    assert code == "500"
    assert message.startswith("chpasswd failed with exit status 1: chpasswd: ")
    assert "mEoW4567" not in message
    assert fields(whole_guest)[1] == "!"


IN_A_NAMESPACE = """
import sys, json
sys.path[:0] = json.loads(sys.argv[1])
from guestagent_core import CommandRegistry, Context
from guestagent_commands_system import SystemCommands
from guestagent_commands_system.key_exchange import GENERATOR, PRIME
from tests.system.conftest import encrypted
import pathlib
registry = CommandRegistry([SystemCommands], Context(state_dir=pathlib.Path(sys.argv[2])))
_, public = registry.run_command("keyinit", str(pow(GENERATOR, 12345, PRIME)))
print(registry.run_command("password", encrypted("mEoW4567\\n", pow(int(public), 12345, PRIME))))
"""


@pytest.mark.real
def test_the_systems_own_chpasswd_sets_it_with_the_root_itself(tmp_path: Path) -> None:
    """With a copy of /etc in the place of the real one, in a mount namespace."""
    needs_chpasswd()
    if os.access("/etc", os.W_OK):
        pytest.skip("this root may not make namespaces (CAP_SYS_ADMIN)")
    copy = tmp_path / "etc"
    shutil.copytree("/etc", copy, symlinks=True, ignore=shutil.ignore_patterns("*.lock", "ssl", "alternatives"))
    before = Path("/etc/shadow").read_bytes()
    script = (
        f"mount --make-rprivate / && umount -l /etc; mount --bind {copy} /etc || exit 77\n"
        'touch /etc/is-a-copy && test -e "$1/is-a-copy" || exit 77\n'
        'shift; exec "$@"'
    )
    paths = [str(Path(__file__).parents[2])]
    done = subprocess.run(
        [
            "unshare",
            "-m",
            "sh",
            "-c",
            script,
            "sh",
            str(copy),
            sys.executable,
            "-c",
            IN_A_NAMESPACE,
            json.dumps(paths),
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip(f"this root may not mount: {done.stderr}")
    assert done.stdout == "CommandResult(code=0, message='')\n", done.stderr
    [line] = [line for line in (copy / "shadow").read_text().splitlines() if line.startswith("root:")]
    assert is_hash_of(line.split(":")[1], "mEoW4567")
    assert Path("/etc/shadow").read_bytes() == before


class Noted(Programs):
    """Programs that are only noted."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[tuple[list[str], bytes]] = []

    def run(self, argv: Sequence[str], *, input: bytes = b"", **more: object) -> subprocess.CompletedProcess[bytes]:
        self.runs.append((list(argv), input))
        return subprocess.CompletedProcess(list(argv), 0, b"", b"")


@pytest.mark.skipif(not os.access("/etc/shadow", os.R_OK), reason="only root reads the shadow file")
@pytest.mark.parametrize("program", ["chpasswd", "busybox", "busybox.static"])
def test_with_the_root_itself_the_system_hashes_but_busybox_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    (tmp_path / program).touch(0o755)
    if program != "chpasswd":
        (tmp_path / "chpasswd").symlink_to(program)
    monkeypatch.setattr(passwords, "_PATH", str(tmp_path))
    programs = Noted()
    passwords.set_password(Context(programs=programs), "root", "mEoW4567")
    [(argv, told)] = programs.runs
    if program == "chpasswd":
        assert (argv, told) == (["chpasswd"], b"root:mEoW4567\n")
    else:
        assert argv == ["chpasswd", "-e"]
        assert is_hash_of(told.decode().removeprefix("root:").rstrip("\n"), "mEoW4567")
