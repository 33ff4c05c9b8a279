"""What all tests share: the guard that keeps them off the machine, and what makes a `real` test skip or fail."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys
from typing import Any

import pytest

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000  # sched.h
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18  # sys/mount.h
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1  # linux/sockios.h, net/if.h

GUARDED = ("/etc", "/boot", "/var/lib/guestagent", "/run/guestagent")
"""Folders of this machine that no test may write to."""

_WRITING = {
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.chmod",
    "os.chown",
    "os.link",
    "os.symlink",
    "os.truncate",
}


def pytest_configure(config: pytest.Config) -> None:
    """Makes the machine's own settings and network unreachable, before the first test is collected."""
    sys.addaudithook(_refuse)
    if os.geteuid() == 0:
        isolate()


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """Stops this process from writing below a guarded folder, even as root and without namespaces."""
    if event == "open":
        path, mode, flags = arguments
        if not (flags & (os.O_WRONLY | os.O_RDWR) or (isinstance(mode, str) and set(mode) & set("wax+"))):
            return
    elif event not in _WRITING:
        return
    changed = arguments[1:2] if event in ("os.link", "os.symlink") else arguments[:2]
    for path in changed:
        if isinstance(path, (str, bytes)) and os.path.isabs(path):
            real = os.path.realpath(os.fsdecode(path))
            if any(f"{real}/".startswith(f"{folder}/") for folder in GUARDED):
                raise AssertionError(f"A test was about to change {real} of this machine ({event})")


def isolate() -> None:
    """Gives this process, and all that it starts, a network of its own and a read-only /etc, if it may do that."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS | _CLONE_NEWNET) != 0:
        return
    for target, flags in (
        (b"/", _MS_REC | _MS_PRIVATE),
        (b"/etc", _MS_BIND | _MS_REC),
        (b"/etc", _MS_BIND | _MS_REMOUNT | _MS_RDONLY),
    ):
        source = target if flags & _MS_BIND else None
        if libc.mount(source, target, None, ctypes.c_ulong(flags), None) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"The guard cannot make {target.decode()} read-only: {os.strerror(number)}")
    with socket.socket() as any_socket:  # loopback, which is down in a new network
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _IFF_UP))


@pytest.fixture(autouse=True)
def no_agent_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]) -> None:
    """Points every default folder of an agent into the test's own."""
    for variable in ("STATE_DIRECTORY", "RUNTIME_DIRECTORY"):
        monkeypatch.setenv(variable, os.path.join(tmp_path, variable.lower()))
    for variable in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(variable, raising=False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Turns the skip of a `real` test into a failure where everything is to be had (GUESTAGENT_REAL=1)."""
    skipped = call.excinfo is not None and isinstance(call.excinfo.value, pytest.skip.Exception)
    if skipped and os.environ.get("GUESTAGENT_REAL") and item.get_closest_marker("real"):
        assert call.excinfo is not None
        failure = AssertionError(f"skipped: {call.excinfo.value}").with_traceback(call.excinfo.tb)
        call.excinfo = pytest.ExceptionInfo.from_exception(failure)
