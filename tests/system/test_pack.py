"""The pack is held to the contract of all packs; the examples of its documentation are what hosts send."""

from __future__ import annotations

import hashlib
import io
import secrets
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import pytest

from guestagent_commands_system import SystemCommands
from guestagent_commands_system.options import Options, UpdateOptions
from guestagent_core import Context
from guestagent_core.testing import CommandPackContract


def archive() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        info = tarfile.TarInfo("installer.sh")
        script = b"#!/bin/sh\n"
        info.mode, info.size = 0o755, len(script)
        tar.addfile(info, io.BytesIO(script))
    return made.getvalue()


class TestContract(CommandPackContract):
    pack = SystemCommands
    samples: ClassVar[dict[str, Any]] = {
        "keyinit": "98013499412720068566681986315768",
        "password": "Z+3ILEVMWWkdISrYwvWkYQ==",  # for the private number 1
        "injectfile": "L2V0Yy9tb3RkLGhlbGxv",
        "file_inject": {"b64_path": "L2V0Yy9tb3Rk", "b64_file": "aGVsbG8="},
        "agentupdate": f"file:///agent.tar,{hashlib.md5(archive()).hexdigest()}",
        "kmsactivate": {"activation_key": "K", "profile": "P", "domains": ["d1"]},
    }

    @pytest.fixture
    def context(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
        monkeypatch.setattr(secrets, "randbelow", lambda below: -1)
        root, state = tmp_path / "root", tmp_path / "state"
        state.mkdir()
        for name, content, mode in (
            ("etc/shadow", b"root:*:15000:0:99999:7:::\n", 0o600),
            ("etc/redhat-release", b"Red Hat Enterprise Linux release 9\n", 0o644),
            ("etc/init.d/guestagent", b"exit 0\n", 0o755),
            ("usr/sbin/rhnreg_ks", b"#!/bin/sh\n", 0o755),
            ("agent.tar", archive(), 0o644),
        ):
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod(mode)
        return Context(root, Options(agentupdate=UpdateOptions(enabled=True)), state)
