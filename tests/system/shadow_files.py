"""Password files of a guest, and what is in them."""

from __future__ import annotations

import ctypes
import os
import shutil
import time

import pytest

from .conftest import Guest

OTHERS = "# comment\ndaemon:*:15000:0:99999:7:::\nweird line without colons\nrootx:$1$aaaaaaaa$bbb:1:::::\n"
PASSWD = "root:x:0:0:root:/:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/false\n"


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


def needs_chpasswd() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can change the root")
    if shutil.which("chpasswd", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("chpasswd is not installed (Debian: passwd)")
