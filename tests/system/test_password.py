"""keyinit and password on the wire of hosts, and what becomes of the password files."""

from __future__ import annotations

import base64
import ctypes
import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.unmeasured import unmeasured

from guestagent_commands_system import passwords, shadow
from guestagent_commands_system.hashing import hash_password
from guestagent_core import ChannelRunner, Context
from guestagent_core.programs import Programs
from guestagent_json import JsonParser

from .conftest import Guest, encrypted

OTHERS = "# comment\ndaemon:*:15000:0:99999:7:::\nweird line without colons\nrootx:$1$aaaaaaaa$bbb:1:::::\n"
PASSWD = "root:x:0:0:root:/:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/false\n"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def today() -> str:
    return str(int(time.time() // 86400))


def is_hash_of(field: str, password: str) -> bool:
    """Asks the system's own crypt(3), as a login does."""
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.argtypes, crypt.restype = [ctypes.c_char_p, ctypes.c_char_p], ctypes.c_char_p
    hashed = crypt(password.encode(), field.encode())
    assert isinstance(hashed, bytes)
    return hashed.decode() == field


def fields(guest: Guest, file: str = "/etc/shadow") -> list[str]:
    [line] = [line for line in (guest.root / file[1:]).read_text().splitlines() if line.startswith("root:")]
    return line.split(":")


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
        "print(flush=True)\ntime.sleep(float(sys.argv[2]))\n"
    )

    def hold(seconds: float) -> subprocess.Popen[bytes]:
        held = subprocess.Popen([sys.executable, "-c", holding, lock, str(seconds)], stdout=subprocess.PIPE)
        assert held.stdout is not None
        held.stdout.readline()
        return held

    with hold(0.5):
        started = time.monotonic()
        assert guest.set_password("mEoW4567") == ("0", "")
        assert time.monotonic() - started > 0.3
    monkeypatch.setattr(shadow, "_LOCK_TIME", 0.2)
    with hold(60) as held:
        before = (guest.root / "etc/shadow").read_bytes()
        assert guest.set_password("other") == ("500", "Another program keeps /etc/.pwd.lock locked")
        assert (guest.root / "etc/shadow").read_bytes() == before
        held.kill()
    with lock.open("r+") as mine:
        fcntl.lockf(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody has it any more


# FreeBSD

MASTER = "# $FreeBSD$\nroot:$1$abcdefgh$xyz:0:0::0:0:Charlie &:/root:/bin/csh\ntoor:*:0:0::0:0::/root:\n"


def program(guest: Guest, path: str, script: str) -> None:
    guest.file(path, f"#!/bin/sh\n{script}\n", 0o755)


def test_without_pw_the_databases_of_freebsd_are_rebuilt(guest: Guest) -> None:
    guest.file("/etc/master.passwd", MASTER, 0o600)
    program(guest, "/usr/sbin/pwd_mkdb", f'echo "$@" > {guest.root}/said; mv "$3" {guest.root}/etc/master.passwd')
    assert guest.set_password("mEoW4567") == ("0", "")
    _, hashed, *rest = fields(guest, "/etc/master.passwd")
    assert is_hash_of(hashed, "mEoW4567")
    assert rest == ["0", "0", "", "0", "0", "Charlie &", "/root", "/bin/csh"]
    copy = f"{guest.root}/etc/master.passwd.tmp.{os.getpid()}"
    assert (guest.root / "said").read_text() == f"-d {guest.root}/etc {copy}\n"
    assert not Path(copy).exists()
    assert (guest.root / "etc/master.passwd").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("script", ["exit 1", None])
def test_databases_that_cannot_be_rebuilt_are_told_as_recorded(guest: Guest, script: str | None) -> None:
    guest.file("/etc/master.passwd", MASTER, 0o600)
    if script is not None:
        program(guest, "/usr/sbin/pwd_mkdb", script)
    assert guest.set_password("mEoW4567") == ("500", "Rebuilding the passwd database failed")
    assert (guest.root / "etc/master.passwd").read_text() == MASTER
    assert sorted(os.listdir(guest.root / "etc")) == [".pwd.lock", "master.passwd"]


def test_pw_gets_the_password_on_its_standard_input(
    guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest.file("/etc/master.passwd", MASTER, 0o600)
    program(guest, "/bin/pw", f'{{ echo "$0" "$@"; cat; }} > {tmp_path}/said')
    run = guest.context.programs.run
    monkeypatch.setattr(
        guest.context.programs, "run", lambda argv, **more: run([f"{guest.root}/bin/{argv[0]}", *argv[1:]], **more)
    )
    assert guest.set_password("mEoW4567") == ("0", "")
    assert (tmp_path / "said").read_text() == f"{guest.root}/bin/pw -R {guest.root} usermod root -h 0\nmEoW4567\n"
    assert (guest.root / "etc/master.passwd").read_text() == MASTER


# The real chpasswd


def needs_chpasswd() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can change the root")
    if shutil.which("chpasswd", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("chpasswd is not installed (Debian: passwd)")


@pytest.fixture
def whole_guest(guest: Guest) -> Guest:
    guest.file("/etc/passwd", PASSWD)
    guest.file("/etc/shadow", f"root:!:15000:0:99999:7:::\n{OTHERS}", 0o640)
    os.chown(guest.root / "etc/shadow", 0, 42)
    return guest


@pytest.mark.real
@pytest.mark.parametrize("scheme", ["YESCRYPT", "SHA512"])
def test_chpasswd_sets_it_in_another_root(guest: Guest, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_chpasswd()
    guest.file("/etc/passwd", PASSWD)
    guest.file("/etc/login.defs", f"ENCRYPT_METHOD {scheme}\n")
    guest.file("/etc/shadow", f"root:!:15000:0:99999:7:::\n{OTHERS}", 0o640)
    os.chown(guest.root / "etc/shadow", 0, 42)
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
def test_chpasswd_says_why_it_fails(guest: Guest) -> None:
    needs_chpasswd()
    guest.file("/etc/passwd", PASSWD)
    guest.file("/etc/shadow", f"root:!:15000:0:99999:7:::\n{OTHERS}", 0o640)
    guest.file("/etc/shadow.lock", "1")  # held by a process that is there
    code, message = guest.set_password("mEoW4567")
    assert code == "500"
    assert message.startswith("chpasswd failed with exit status 1: chpasswd: ")
    assert "mEoW4567" not in message
    assert fields(guest)[1] == "!"


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


# The conversation


def test_the_key_stays_until_the_password_is_set(guest: Guest) -> None:
    public = "98013499412720068566681986315768"
    assert guest.call("keyinit", public)[0] == "D0"
    invalid = ("500", "Invalid password data received")
    assert guest.call("password", "AAECAwQFBgcICQoLDA0ODw==") == invalid
    assert guest.call("password", "") == invalid
    shared = guest.call("keyinit", "7")
    assert shared[0] == "D0"
    private = 5
    _, public = guest.call("keyinit", str(pow(5, private, 2**107 - 1)))
    value = encrypted("mEoW4567\n", pow(int(public), private, 2**107 - 1))
    assert guest.call("password", value) == ("500", "Unknown password file format")
    guest.file("/etc/shadow", "root:*:15000:0:99999:7:::\n", 0o600)
    assert guest.call("password", value) == ("0", "")
    assert guest.call("password", value) == ("500", "Password without key exchange")


def test_the_order_of_the_checks_is_as_recorded(guest: Guest) -> None:
    assert guest.call("password", "kjadfkjaf") == ("500", "Couldn't decode base64 data")
    assert guest.call("password", "kjadfkjafAAA") == ("500", "Password without key exchange")
    guest.call("keyinit", "7")
    assert guest.call("password", "eHh4eHh4eHh4eA==") == ("500", "Input strings must be a multiple of 16 in length")


def test_base64_may_be_broken_into_lines(guest: Guest) -> None:
    guest.file("/etc/shadow", "root:*:15000:0:99999:7:::\n", 0o600)
    _, public = guest.call("keyinit", str(5**40))
    value = encrypted("x" * 64 + "\n", pow(int(public), 40, 2**107 - 1))
    assert guest.call("password", value[:64] + "\n" + value[64:] + "\n") == ("0", "")
    assert is_hash_of(fields(guest)[1], "x" * 64)


def test_each_channel_has_keys_of_its_own(guest: Guest) -> None:
    guest.file("/etc/shadow", "root:*:15000:0:99999:7:::\n", 0o600)

    def ask(channel: str) -> Callable[[str, str], bytes]:
        parser = JsonParser(ChannelRunner(guest.registry, channel))
        return lambda name, value: bytes(
            parser.parse_request({"data": f'{{"name": "{name}", "value": "{value}"}}'})["data"]
        )

    host, other = ask("xenstore"), ask("local")
    public = json.loads(host("keyinit", str(5**40)))["message"]
    other("keyinit", "7")
    assert b'"0"' in host("password", encrypted("mEoW4567\n", pow(int(public), 40, 2**107 - 1)))


@pytest.mark.parametrize(
    ("password", "text"),
    [
        ("a\nb", "The password holds a line break or a NUL byte; it was not changed"),
        ("a\0b", "The password holds a line break or a NUL byte; it was not changed"),
        ("x" * 512, "The password is longer than 511 bytes; it was not changed"),
        ("x" * 2**20, "The password is longer than 511 bytes; it was not changed"),
        ("", "Invalid password data received"),
        ("\n\n", "Invalid password data received"),
    ],
)
def test_what_is_no_password_is_refused(guest: Guest, password: str, text: str) -> None:
    guest.file("/etc/shadow", "root:*:15000:0:99999:7:::\n", 0o600)
    before = guest.tree()
    assert guest.set_password(password) == ("500", text)
    assert guest.tree() == before


@pytest.mark.parametrize("password", ["x" * 511, "a:b:c", " ", "\t\r", "root:x", "-e", "ü" * 255])
def test_every_password_can_be_set(guest: Guest, password: str) -> None:
    guest.file("/etc/shadow", "root:*:15000:0:99999:7:::\n", 0o600)
    assert guest.set_password(password) == ("0", "")
    assert is_hash_of(fields(guest)[1], password)


@pytest.mark.parametrize("value", [None, 5, True, [], {}, 1.5, "!", "\0", "é", "x" * (2**20 + 1), "QQ", "QQ=", "Q=Q="])
def test_bad_input_is_told_and_changes_nothing(guest: Guest, value: object) -> None:
    guest.file("/etc/shadow", "root:*:15000:0:99999:7:::\n", 0o600)
    before = guest.tree()
    guest.call("keyinit", "7")
    assert guest.call("password", value) == ("500", "Couldn't decode base64 data")
    assert guest.tree() == before


@pytest.mark.parametrize("value", [None, True, [], {}, 1.5, "", "abc", "\0", "x" * 2**20])
def test_a_bad_public_number_is_told_and_the_key_stays(guest: Guest, value: object) -> None:
    code, message = guest.call("keyinit", value)
    assert code == "500"
    assert message.startswith("invalid literal for int() with base 10: ")
    guest.file("/etc/shadow", "root:*:15000:0:99999:7:::\n", 0o600)
    _, public = guest.call("keyinit", str(5**40))
    guest.call("keyinit", value)
    assert guest.call("password", encrypted("x\n", pow(int(public), 40, 2**107 - 1))) == ("0", "")


def test_the_library_for_ciphers_is_imported_by_the_first_keyinit_and_not_before() -> None:
    script = (
        "import sys\n"
        "from guestagent_core import CommandRegistry\n"
        "from guestagent_commands_system import SystemCommands\n"
        "registry = CommandRegistry([SystemCommands])\n"
        "for name in ('cryptography', 'passlib', 'tarfile', 'urllib.request', 'subprocess', 'ctypes', 'hashlib'):\n"
        "    assert name not in sys.modules, name\n"
        "assert registry.run_command('keyinit', '7').code == 'D0'\n"
        "assert 'cryptography' in sys.modules\n"
    )
    argv = [sys.executable, "-I", "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=unmeasured())
    assert done.returncode == 0, done.stderr


def test_a_value_that_is_no_base64_of_a_password_reaches_no_log(guest: Guest, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    guest.file("/etc/shadow", "root:*:15000:0:99999:7:::\n", 0o600)
    guest.set_password("a-password-nobody-sees")
    secret = base64.b64encode(b"/etc/secret,the-content-nobody-sees").decode()
    guest.call("injectfile", secret)
    for shown in ("nobody-sees", secret):
        assert shown not in caplog.text


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


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed (Debian: openssl)")
@pytest.mark.parametrize("digest", ["md5", "sha256"])
def test_the_sequence_of_a_real_host_works(guest: Guest, digest: str) -> None:
    guest.file("/etc/shadow", "root:!:15000:0:99999:7:::\n", 0o600)
    private = 2**79 + 12345
    code, public = guest.call("keyinit", str(pow(5, private, 2**107 - 1)))
    assert code == "D0"
    shared = pow(int(public), private, 2**107 - 1)
    command = ["openssl", "aes-128-cbc", "-A", "-a", "-nosalt", "-pass", f"pass:{shared}", "-md", digest]
    done = subprocess.run(command, input="pässwörd ✓\n".encode(), capture_output=True, check=True)
    assert guest.call("password", done.stdout.decode()) == ("0", "")
    assert is_hash_of(fields(guest)[1], "pässwörd ✓")
