"""keyinit and password on the wire of hosts: what is answered to what, and in which order."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest
from tests.unmeasured import unmeasured

from guestagent_core import ChannelRunner
from guestagent_json import JsonParser

from .conftest import Guest, encrypted
from .shadow_files import fields, is_hash_of


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


def test_neither_a_password_nor_the_content_of_a_file_reaches_the_log(
    guest: Guest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    guest.file("/etc/shadow", "root:*:15000:0:99999:7:::\n", 0o600)
    guest.set_password("a-password-nobody-sees")
    guest.call("password", "no-base64-nobody-sees")
    secret = base64.b64encode(b"/etc/secret,the-content-nobody-sees").decode()
    guest.call("injectfile", secret)
    for shown in ("nobody-sees", secret):
        assert shown not in caplog.text


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
