"""The plugins of guestagent_acme, held to their contracts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from guestagent_core import CommandRegistry
from guestagent_core.testing import CommandPackContract, ExchangeContract, RecordedPrograms, wait_until

from guestagent_acme.commands import AcmeCommands
from guestagent_acme.exchange import AcmeExchange


class TestCommands(CommandPackContract):
    entry_point = "acme"
    pack = AcmeCommands
    samples = {"acme.mounts": "", "acme.trim": "/srv"}
    files = {"/proc/mounts": "proc /proc proc rw\n/dev/xvdb /srv ext4 rw\n"}

    def test_a_disk_is_trimmed(self, registry: CommandRegistry, programs: RecordedPrograms) -> None:
        programs.reply("fstrim", stdout=b"/srv: 1 GiB trimmed")
        assert registry.run_command("acme.trim", "/srv").message == "/srv: 1 GiB trimmed"
        assert programs.argvs == [("fstrim", "--verbose", "--", "/srv")]


class File:
    """A request, from the host's side."""

    def __init__(self, folder: Path, name: str, data: bytes) -> None:
        self._request, self._answer = folder / "in" / name, folder / "out" / name
        self._request.write_bytes(data)
        self.vanish = self._request.unlink

    def answer(self, timeout: float) -> bytes:
        wait_until(self._answer.exists, timeout)
        return self._answer.read_bytes()


class TestExchange(ExchangeContract):
    entry_point = "acme"

    @pytest.fixture
    def exchange(self, tmp_path: Path) -> AcmeExchange:
        for name in ("in", "out"):
            (tmp_path / name).mkdir()
        return AcmeExchange(AcmeExchange.Options(tmp_path))

    @pytest.fixture
    def ask(self, tmp_path: Path) -> Callable[[bytes], File]:
        numbers = itertools.count()
        return lambda data: File(tmp_path, str(next(numbers)), data)
