"""Programs of the guest that cannot be run are told in the words that were recorded, which name no place."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .conftest import Guest
from .updates import archive

VALUE = {"activation_key": "K", "profile": "P", "domains": ["d1"]}
CASES = [
    ("#!/bin/sh\n", 0o644, "[Errno 13] Permission denied"),
    ("no program", 0o755, "[Errno 8] Exec format error"),
    ("#!/no/such/interpreter\n", 0o755, "[Errno 2] No such file or directory"),
]


@pytest.mark.parametrize(("content", "mode", "text"), CASES)
def test_the_registration_program(guest: Guest, content: str, mode: int, text: str) -> None:
    guest.file("/etc/redhat-release", "Red Hat Enterprise Linux Server release 6.4 (Santiago)\n")
    guest.file("/usr/sbin/rhnreg_ks", content, mode)
    assert guest.call("kmsactivate", VALUE) == ("500", text)


@pytest.mark.parametrize(("content", "mode", "text"), CASES)
def test_the_installer_of_an_update(new_guest: Callable[..., Guest], content: str, mode: int, text: str) -> None:
    guest = new_guest(enabled=True)
    guest.file("/etc/init.d/nova-agent", "exit 0\n", 0o755)
    digest = archive(guest, {"installer.sh": (content, mode)})
    assert guest.call("agentupdate", f"file:///srv/nova-agent-1.40.tar.gz,{digest}") == ("500", text)
    assert not list((guest.root / "usr/share").iterdir())
