"""What the tests of the system commands share: a pack in a scratch root, asked on the wire of hosts."""

from __future__ import annotations

import base64
import json
import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from guestagent_commands_system import SystemCommands
from guestagent_commands_system.key_exchange import GENERATOR, PRIME
from guestagent_commands_system.options import Options, UpdateOptions
from guestagent_core import CommandRegistry, Context
from guestagent_json import JsonParser

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@dataclass
class Guest:
    """A scratch root, and a pack that takes it for the guest's ``/``."""

    root: Path
    state: Path
    update: UpdateOptions | None = None

    def __post_init__(self) -> None:
        self.context = Context(self.root, Options(agentupdate=self.update), self.state)
        self.registry = CommandRegistry([SystemCommands], self.context)
        self._parser = JsonParser(self.registry)

    def request(self, data: str) -> dict[str, str]:
        """Sends a request as it is."""
        answer = json.loads(self._parser.parse_request({"data": data})["data"])
        assert isinstance(answer, dict)
        return answer

    def call(self, name: str, value: Any = "") -> tuple[str, str]:
        """Runs a command; returns code and message."""
        answer = self.request(json.dumps({"name": name, "value": value}))
        return answer["returncode"], answer["message"]

    def set_password(self, password: str) -> tuple[str, str]:
        """Does what a host does."""
        private = secrets.randbelow(2**80) + 2
        code, public = self.call("keyinit", str(pow(GENERATOR, private, PRIME)))
        assert code == "D0"
        return self.call("password", encrypted(f"{password}\n", pow(int(public), private, PRIME)))

    def inject(self, path: str, content: bytes = b"new\n") -> tuple[str, str]:
        return self.call("injectfile", base64.b64encode(os.fsencode(path) + b"," + content).decode())

    def file(self, path: str, content: str | bytes = "", mode: int = 0o644) -> Path:
        """Makes a file."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        file.chmod(mode)
        return file

    def tree(self) -> dict[str, tuple[str, str | bytes]]:
        """Returns mode and content of every file and folder."""
        found: dict[str, tuple[str, str | bytes]] = {}
        for path in sorted(self.root.rglob("*")):
            content: str | bytes = ""
            if path.is_symlink():
                content = os.readlink(path)
            elif path.is_file():
                content = path.read_bytes()
            found["/" + str(path.relative_to(self.root))] = (f"{path.lstat().st_mode:o}", content)
        return found


def encrypted(text: str, shared: int) -> str:
    """Encrypts as a host with OpenSSL 1.1 or later does."""
    import hashlib

    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    both = hashlib.sha256(str(shared).encode()).digest()
    data = text.encode()
    length = 16 - len(data) % 16
    encryptor = Cipher(algorithms.AES(both[:16]), modes.CBC(both[16:])).encryptor()
    return base64.b64encode(encryptor.update(data + bytes([length]) * length) + encryptor.finalize()).decode()


def mode(path: Path) -> int:
    """Returns the permissions of a file, not those of what a link leads to."""
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return make_guest(tmp_path)


@pytest.fixture
def new_guest(tmp_path: Path) -> Callable[..., Guest]:
    return lambda **options: make_guest(tmp_path, UpdateOptions(**options))


@pytest.fixture
def updatable(new_guest: Callable[..., Guest]) -> Guest:
    """One that takes updates of up to a million bytes, and notes in ``/log`` that the agent restarts."""
    guest = new_guest(enabled=True, size_limit=1_000_000)
    guest.file("/etc/init.d/nova-agent", f'echo "restart $1" >> {guest.root}/log\n')
    return guest


def make_guest(folder: Path, update: UpdateOptions | None = None) -> Guest:
    root, state = folder / "root", folder / "state"
    (root / "etc").mkdir(parents=True)
    state.mkdir()
    return Guest(root, state, update)
