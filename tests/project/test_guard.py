"""The guard bites: nothing here can touch the machine's own settings or network."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "write",
    [
        lambda: Path("/etc/guestagent-guard").write_text("x"),
        lambda: Path("/etc/guestagent-guard").mkdir(),
        lambda: os.open("/etc/guestagent-guard", os.O_WRONLY | os.O_CREAT, 0o600),
        lambda: Path("/etc/hostname").rename("/tmp/guestagent-guard"),
        lambda: Path("/etc/hostname").unlink(),
        lambda: Path("/run/guestagent").mkdir(),
        lambda: Path("/proc/self/root/etc/guestagent-guard").write_text("x"),
    ],
)
def test_this_process_cannot_write_there(write: object) -> None:
    assert callable(write)
    with pytest.raises(AssertionError, match="A test was about to change"):
        write()


def test_reading_is_free() -> None:
    assert Path("/etc/passwd").read_text()


def needs_namespaces() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be kept off by namespaces; nobody else may write to /etc anyway")
    if os.access("/etc", os.W_OK):
        pytest.skip("this root may not make namespaces (CAP_SYS_ADMIN)")


@pytest.mark.real
def test_programs_cannot_write_there_either() -> None:
    needs_namespaces()
    done = subprocess.run(["touch", "/etc/guestagent-guard"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Read-only file system" in done.stderr
    assert not Path("/etc/guestagent-guard").exists()


@pytest.mark.real
def test_the_network_is_one_of_our_own() -> None:
    needs_namespaces()
    assert [name for _, name in socket.if_nameindex()] == ["lo"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
