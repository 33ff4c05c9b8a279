"""``commands.init(testmode=True)``: a password is decrypted and checked as ever, and not set."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Any

import pytest

PRIME = 2**107 - 1


def encrypted(text: bytes, shared: int) -> str:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    both = hashlib.sha256(str(shared).encode()).digest()
    length = 16 - len(text) % 16
    encryptor = Cipher(algorithms.AES(both[:16]), modes.CBC(both[16:])).encryptor()
    return base64.b64encode(encryptor.update(text + bytes([length]) * length) + encryptor.finalize()).decode()


@pytest.mark.parametrize("keywords", ["testmode=True", "testmode=1, tmpdir='/tmp'", "testmode=False", ""])
def test_a_password_is_checked_and_set_only_outside_of_it(old_agent: Any, keywords: str) -> None:
    shadow = old_agent.root / "etc/shadow"
    shadow.write_text("root:*:15000:0:99999:7:::\n")
    old_agent.config.write_text(old_agent.config.read_text().replace("init()", f"init({keywords})"))
    old_agent.start(old_agent.config)
    assert old_agent.ask("password", "kjadfkjaf") == ("500", "Couldn't decode base64 data")
    assert old_agent.ask("password", "kjadfkjafAAA") == ("500", "Password without key exchange")
    private = secrets.randbelow(2**80) + 2
    code, public = old_agent.ask("keyinit", str(pow(5, private, PRIME)))
    assert code == "D0"
    assert old_agent.ask("password", "A" * 22 + "==")[0] == "500"
    value = encrypted(b"mEoW4567\n", pow(int(public), private, PRIME))
    assert old_agent.ask("password", value) == ("0", "")
    assert old_agent.ask("password", value) == ("500", "Password without key exchange")
    assert (shadow.read_text() == "root:*:15000:0:99999:7:::\n") == keywords.startswith(("testmode=T", "testmode=1"))
