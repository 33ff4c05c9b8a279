"""The system commands' part of ``guestagent demo``."""

from __future__ import annotations

import base64
import secrets
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guestagent_core.demo import DemoClient

__all__ = ("show_system",)


def show_system(client: DemoClient, root: Path, print: Callable[[str], object]) -> None:
    """Shows a file and a password set in the scratch root, as a host sets them."""
    (root / "etc").mkdir()
    (root / "etc/motd").write_text("Welcome\n")
    (root / "etc/motd").chmod(0o640)
    (root / "etc/shadow").write_text("root:!:15000:0:99999:7:::\ndaemon:*:15000:0:99999:7:::\n")
    (root / "etc/shadow").chmod(0o600)
    print("Put a file into the guest. The old one is kept beside it, and so is its mode:")
    client.call("injectfile", _base64(b"/etc/motd,Welcome\nThis machine is looked after by its host.\n"))
    print("A folder is no file:")
    client.call("injectfile", _base64(b"/etc,hello"))
    print("A password without keys:")
    client.call("password", _base64(b"not encrypted at all"))
    print("Exchange keys, and set the password of root. The host encrypts it with openssl:")
    if shutil.which("openssl") is None:
        print("  (openssl is not installed here)")
        return
    from .key_exchange import GENERATOR, PRIME

    private = secrets.randbelow(PRIME)
    _, public = client.call("keyinit", str(pow(GENERATOR, private, PRIME)))
    client.call("password", _encrypted("mEoW4567", str(pow(int(public), private, PRIME))))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _encrypted(password: str, shared: str) -> str:
    """Does what hosts do; the passphrase is of use for this demonstration alone, so everybody may see it."""
    command = ["openssl", "aes-128-cbc", "-A", "-a", "-nosalt", "-md", "sha256", "-pass", f"pass:{shared}"]
    return subprocess.run(command, input=f"{password}\n".encode(), capture_output=True, check=True).stdout.decode()
