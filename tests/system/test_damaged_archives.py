"""Archives that were damaged on the way to where their digest was made: whichever part it hits, the text is one."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
from collections.abc import Callable

import pytest

from .conftest import Guest

TEXT = random.Random(1).randbytes(40_000).hex().encode()  # which can be compressed, but not away
NAME = "nova-agent-1.40.tar.gz"


def archive(mode: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as tar:  # type: ignore[call-overload]  # of any compression
        for name, content in (("installer.sh", b"#!/bin/sh\n"), ("agent.bin", TEXT)):
            info = tarfile.TarInfo(name)
            info.mode, info.size = 0o755, len(content)
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_it_is_told_as_what_is_no_archive(
    new_guest: Callable[..., Guest], mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    guest = new_guest(enabled=True)
    guest.file("/etc/init.d/nova-agent", "exit 0\n", 0o755)
    whole, rnd = archive(mode), random.Random(mode)
    told = set()
    for _ in range(40):
        damaged = bytearray(whole)
        if rnd.random() < 0.5:
            del damaged[rnd.randrange(600, len(damaged)) :]
        else:
            start = rnd.randrange(len(damaged) - 200)
            damaged[start : start + 200] = rnd.randbytes(200)
        guest.file(f"/srv/{NAME}", bytes(damaged))
        code, message = guest.call("agentupdate", f"file:///srv/{NAME},{hashlib.md5(damaged).hexdigest()}")
        told.add((code, message.partition(": ")[2]))
        assert not list((guest.root / "usr/share").glob("nova-agent.*"))
        assert not list((guest.state / "agentupdate").iterdir())
    # What is in a file of the archive alone is for the digest to find, where there is no compression.
    assert told - {("0", "")} == {("500", "file could not be opened successfully")}
    assert not [record for record in caplog.records if record.exc_info]
