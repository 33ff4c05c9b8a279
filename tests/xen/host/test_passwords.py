"""Passwords that the host sends: to agents of either kind, never in sight of others, never taken for another one."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from guestagent_xen.host import AgentError, Answer, AnswerError, GuestClient, OpensslError
from guestagent_xen.host import __main__ as host

PRIME = 162259276829213363391578010288127

# As recorded of the original agent: what the host and the agent keep secret, what they send, and what comes of it.
RECORDED = [
    ("316059037807746189465", 1, "98013499412720068566681986315768", "5", "Z+3ILEVMWWkdISrYwvWkYQ=="),
    ("1208925819614629174706175", 2, "59421224823516443715133786982655", "25", "+QH5oL9vKWF0Yw3LGrq+eQ=="),
    ("7", 123456789012345678901234567890, "78125", "87026283966945425842820102345650", "+BLNnGramTNeSz7RF/XmDg=="),
]

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed (Debian: openssl)")


class KeyAgent:
    """An old agent: its ``keyinit`` and ``password``, with the lenient look at the padding that the original has."""

    def __init__(self, *digests: str, private: int = 0) -> None:
        self.digests = digests
        self.private = private
        self.shared = ""
        self.passwords: list[bytes] = []
        self.exchanges = 0
        self.values: list[object] = []

    def call(self, name: str, value: object = "") -> Answer:
        self.values.append(value)
        if name == "keyinit":
            self.exchanges += 1
            private = self.private or int.from_bytes(os.urandom(16), "big")
            self.shared = str(pow(int(str(value)), private, PRIME))
            return Answer("D0", str(pow(5, private, PRIME)))
        assert name == "password"
        if not self.shared:
            return Answer("500", "Password without key exchange")
        for digest in self.digests:
            plain = self.decrypt(base64.b64decode(str(value)), digest)
            if plain[-1] <= 16:
                self.passwords.append(plain[: -plain[-1]].strip(b"\n") if plain[-1] else b"")
                self.shared = ""
                return Answer("0", "")
        return Answer("500", "Invalid password data received")

    def decrypt(self, data: bytes, digest: str) -> bytes:
        if digest == "md5":
            key = hashlib.md5(self.shared.encode()).digest()
            vector = hashlib.md5(key + self.shared.encode()).digest()
        else:
            both = hashlib.sha256(self.shared.encode()).digest()
            key, vector = both[:16], both[16:]
        command = ["openssl", "enc", "-d", "-aes-128-cbc", "-nopad", "-K", key.hex(), "-iv", vector.hex()]
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def client_of(agent: KeyAgent, monkeypatch: pytest.MonkeyPatch) -> GuestClient:
    client = GuestClient(7)
    monkeypatch.setattr(client, "call", agent.call)
    return client


@pytest.mark.parametrize("digests", [("md5",), ("sha256",), ("md5", "sha256")])
@pytest.mark.parametrize("first", ["md5", "sha256"])
def test_agents_of_either_kind_understand(
    digests: tuple[str, ...], first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = KeyAgent(*digests)
    client_of(agent, monkeypatch).set_password("pässwörd ✓", first)
    assert agent.passwords == ["pässwörd ✓".encode()]


@pytest.mark.parametrize(("host_private", "agent_private", "host_public", "agent_public", "encrypted"), RECORDED)
def test_it_is_what_was_recorded(
    host_private: str,
    agent_private: int,
    host_public: str,
    agent_public: str,
    encrypted: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shared = str(pow(int(agent_public), int(host_private), PRIME))
    assert base64.b64encode(host._openssl(b"mEoW4567\n", shared, "md5", "-e")).decode() == encrypted
    numbers = iter([int(host_private)])
    monkeypatch.setattr(host, "_private_number", lambda: next(numbers))
    agent = KeyAgent("md5", private=agent_private)
    client = client_of(agent, monkeypatch)
    if host._openssl(base64.b64decode(encrypted), shared, "sha256", "-d", "-nopad")[-1] > 16:
        client.set_password("mEoW4567", "md5")
        assert agent.values == [host_public, encrypted]
        assert agent.passwords == [b"mEoW4567"]
    else:  # and an agent of the other kind would take it for a password
        with pytest.raises(StopIteration):
            client.set_password("mEoW4567", "md5")
        assert agent.values == [host_public]


def test_what_the_wrong_agent_would_take_for_a_password_is_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of these are tried the wrong way first; without care, three of 48 agents would set something else."""
    for number in range(48):
        agent = KeyAgent("md5")
        client_of(agent, monkeypatch).set_password(f"secret {number}")
        assert agent.passwords == [b"secret %d" % number]


def test_keys_are_exchanged_anew_until_the_wrong_agent_is_certain_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = KeyAgent("sha256")
    real, wrong = host._openssl, iter([b"\x00", b"\x10", b"\x11"])

    def openssl(data: bytes, passphrase: str, digest: str, *options: str) -> bytes:
        return next(wrong) if "-d" in options else real(data, passphrase, digest, *options)

    monkeypatch.setattr(host, "_openssl", openssl)
    client_of(agent, monkeypatch).set_password("secret")
    assert agent.exchanges == 3
    assert agent.passwords == [b"secret"]


def test_keys_are_not_exchanged_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_openssl", lambda *_: b"\x01")
    with pytest.raises(AnswerError, match="of no use"):
        client_of(KeyAgent("md5"), monkeypatch).set_password("secret")


@pytest.mark.parametrize("public", ["0", "1", str(PRIME - 1), str(PRIME), "-5", "five", ""])
def test_a_number_that_makes_no_secret_is_refused(public: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = GuestClient(7)
    monkeypatch.setattr(client, "call", lambda name, value="": Answer("D0", public))
    with pytest.raises(AnswerError, match="no number to exchange keys with"):
        client.set_password("secret")


def test_what_really_failed_is_told_and_not_the_other_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    for first in ("md5", "sha256"):
        agent = KeyAgent("md5")

        def failing(name: str, value: object = "", agent: KeyAgent = agent) -> Answer:
            answer = agent.call(name, value)
            return Answer("500", "Unknown password file format") if answer == Answer("0", "") else answer

        client = GuestClient(7)
        monkeypatch.setattr(client, "call", failing)
        with pytest.raises(AgentError, match="Unknown password file format"):
            client.set_password("secret", first)


def test_an_agent_without_the_command_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def call(name: str, value: object = "") -> Answer:
        asked.append(name)
        return Answer("404", f"No such agent command '{name}'")

    client = GuestClient(7)
    monkeypatch.setattr(client, "call", call)
    with pytest.raises(AgentError, match="404: keyinit: No such agent command"):
        client.set_password("secret")
    assert asked == ["keyinit"]


@pytest.mark.parametrize("password", ["", "a\nb", "a\n", "a\0b", "\r"])
def test_what_is_no_password_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="one line, and not empty"):
        GuestClient(7).set_password(password)


def test_others_on_the_machine_see_neither_password_nor_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.which("openssl")
    spy = tmp_path / "openssl"
    spy.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        f"open({str(tmp_path / 'seen')!r}, 'a').write(repr((sys.argv, dict(os.environ))))\n"
        f"os.execv({real!r}, sys.argv)\n"
    )
    spy.chmod(0o755)
    agent = KeyAgent("md5")
    keys = []
    client = client_of(agent, monkeypatch)
    power = pow

    def noted(base: int, exponent: int, modulus: int) -> int:
        keys.append(power(base, exponent, modulus))
        return keys[-1]

    monkeypatch.setattr(host, "pow", noted, raising=False)
    with monkeypatch.context() as patched:
        patched.setattr(agent, "decrypt", lambda data, digest: b"secret-5417\n" + b"\4" * 4)
        patched.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        client.set_password("secret-5417")
    seen = (tmp_path / "seen").read_text()
    assert "aes-128-cbc" in seen
    assert "secret-5417" not in seen
    assert keys
    assert not any(str(key) in seen for key in keys)


def test_a_missing_openssl_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OpensslError, match="openssl cannot be run"):
        client_of(KeyAgent("md5"), monkeypatch).set_password("secret")


def test_a_failing_openssl_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "openssl").write_text("#!/bin/sh\necho 'md5 is disabled' >&2\nexit 3\n")
    (tmp_path / "openssl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(OpensslError, match="exit status 3: md5 is disabled"):
        client_of(KeyAgent("md5"), monkeypatch).set_password("secret")
