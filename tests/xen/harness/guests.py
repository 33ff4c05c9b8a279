"""An unprivileged domain without a machine: what the toolstack makes of it, and its kernel's device."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from .daemons import Daemon
from .wire import INTRODUCE, RELEASE, ask

__all__ = ("Guest",)

_PAGE = 4096  # bytes
_RELEASE_PORT = 1  # see hypervisor.c
_KERNEL = Path(__file__).with_name("guest_kernel.py")


class Guest:
    """A domain, from the beginning of a ``with`` block to its end.

    :param daemon: a daemon that runs.
    :param domid: the domain's number, 1 to 1023.
    :param old_kernel: whether the kernel is one that answers WATCH and UNWATCH with request id 0.
    """

    def __init__(self, daemon: Daemon, domid: int, *, old_kernel: bool = False) -> None:
        self.domid = domid
        self.home = f"/local/domain/{domid}"
        """The path of the domain's own nodes."""
        self.device = daemon.folder / f"xenbus-{domid}"
        """What /dev/xen/xenbus is to the programs of this domain; any number may have it open, see guest_kernel.py."""
        self.forgets_watches = False
        """Whether the kernel does not set the watches of its programs again when the daemon has been started again."""
        self._daemon = daemon
        self._old_kernel = old_kernel
        self._page = daemon.folder / f"page-{domid}"
        self._kernel: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Guest:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Builds the domain, as the toolstack does, and boots its kernel."""
        self._daemon.guests.append(self)
        self.introduce()

    def introduce(self) -> None:
        """Tells the daemon of the domain, makes its nodes, and boots the kernel.

        A kernel that runs already goes on as after a migration: it sets the watches of its programs again, and what
        they had asked for is not answered any more.
        """
        page = self._page.with_suffix(".new")  # the kernel may still use the old one
        page.write_bytes(bytes(_PAGE))
        page.replace(self._page)
        self._make_nodes()
        ask(self._daemon.socket, INTRODUCE, b"%d" % self.domid, b"1", b"1")
        if self._kernel is None:
            self._boot()
        else:
            self._kernel.send_signal(signal.SIGUSR2 if self.forgets_watches else signal.SIGUSR1)
            self._await_kernel()

    def destroy(self, *, forget: bool = True) -> None:
        """Ends the domain, as a crash or ``xl destroy`` does.

        :param forget: whether the toolstack removes its nodes.
        """
        self._daemon.guests.remove(self)
        self._end_kernel()
        self._page.unlink()
        with open(self._daemon.folder / "events", "wb", buffering=0) as events:
            events.write(struct.pack("=I", _RELEASE_PORT))
        if forget:
            with suppress(OSError):  # the event was faster
                ask(self._daemon.socket, RELEASE, b"%d" % self.domid)
            self._daemon.host.remove(self.home)

    def close(self) -> None:
        """Ends the kernel; the daemon is not told."""
        if self in self._daemon.guests:
            self._daemon.guests.remove(self)
        self._end_kernel()

    def _make_nodes(self) -> None:
        """Makes what libxl makes for a domain, as far as an agent meets it."""
        host, owned, seen = self._daemon.host, f"n{self.domid}", ("n0", f"r{self.domid}")
        host.write(
            {
                f"{self.home}/name": b"guest%d" % self.domid,
                f"{self.home}/domid": b"%d" % self.domid,
                f"{self.home}/data": b"",
                f"{self.home}/vm-data": b"",
                f"{self.home}/attr": b"",
            }
        )
        for path, permissions in (
            (self.home, seen),
            (f"{self.home}/name", seen),
            (f"{self.home}/domid", seen),
            (f"{self.home}/vm-data", seen),
            (f"{self.home}/data", (owned,)),
            (f"{self.home}/attr", (owned,)),
        ):
            host.give(path, *permissions)

    def _boot(self) -> None:
        command = [sys.executable, os.fspath(_KERNEL), os.fspath(self._daemon.folder), str(self.domid)]
        self._kernel = subprocess.Popen(
            [*command, "--old"] if self._old_kernel else command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,  # no signal for a terminal of the tests is meant for it
        )
        self._await_kernel()

    def _await_kernel(self) -> None:
        assert self._kernel is not None
        assert self._kernel.stdout is not None
        if self._kernel.stdout.readline() != b"ready\n":
            raise RuntimeError(f"The kernel of domain {self.domid} did not boot")

    def _end_kernel(self) -> None:
        if self._kernel is not None:
            self._kernel.kill()
            self._kernel.communicate()
            self._kernel = None
            self.device.unlink(missing_ok=True)
