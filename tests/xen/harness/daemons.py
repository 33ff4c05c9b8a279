"""The C xenstored and oxenstored as processes: started, stopped, killed, started again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .hosts import Host
from .programs import Programs
from .wire import READ, ask

if TYPE_CHECKING:
    from .guests import Guest

__all__ = ("DAEMONS", "Daemon")

DAEMONS = ("xenstored", "oxenstored")
_START = 20.0  # seconds
# The quotas are those of the distribution's file, which are those of its C xenstored too.
_CONFIGURATION = """\
pid-file = {folder}/pid
merge-activate = true
perms-activate = true
quota-activate = true
quota-maxentity = 1000
quota-maxsize = 2048
quota-maxwatch = 100
quota-transaction = 10
conflict-burst-limit = 5.0
conflict-max-history-seconds = 0.05
conflict-rate-limit-is-aggregate = true
persistent = false
xenstored-kva = /proc/xen/xsd_kva
xenstored-port = /proc/xen/xsd_port
xenstored-log-file = {folder}/log
access-log-file = {folder}/access.log
"""


class Daemon:
    """A daemon that runs from the beginning of a ``with`` block to its end.

    :param name: one of DAEMONS.
    :param folder: what it has for itself; the path has to be short, for a socket is made there.
    :param programs: from ``find_programs``.
    """

    def __init__(self, name: str, folder: Path, programs: Programs) -> None:
        self.name = name
        self.folder = folder
        self.socket = folder / "socket"
        self.host = Host(self.socket)
        self.guests: list[Guest] = []
        """Those that are running; they are there again after a start."""
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Daemon:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        for guest in reversed(tuple(self.guests)):
            guest.close()
        self.kill()

    @property
    def pid(self) -> int:
        """The process, while there is one."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts the daemon and returns when it answers. It knows nothing but domain 0 and its guests."""
        assert self._process is None
        self.socket.unlink(missing_ok=True)
        Path(self.folder, "pid").unlink(missing_ok=True)
        program = [os.fspath(self._programs.daemons[self.name])]
        if self.name == "oxenstored":
            configuration = self.folder / "oxenstored.conf"
            configuration.write_text(_CONFIGURATION.format(folder=self.folder))
            program += ["--no-fork", "--config-file", os.fspath(configuration)]
        else:
            program += ["--no-fork", "--pid-file", os.fspath(self.folder / "pid")]
        folder = os.fspath(self.folder)
        environment = {
            "PATH": os.environ["PATH"],
            "LD_PRELOAD": os.fspath(self._programs.preload),
            "XENSTORED_RUNDIR": folder,
            "XENSTORED_ROOTDIR": folder,
            "XENSTORED_PATH": os.fspath(self.socket),
        }
        with open(self.folder / "output", "ab") as output:
            self._process = subprocess.Popen(
                program, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder
            )
        self._await_answer(self._process)
        for guest in self.guests:
            guest.introduce()

    def kill(self) -> None:
        """Ends the daemon at once, as a crash would: what it knew is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kills the daemon and starts it again, empty."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """Makes the daemon stand still, as a host that is too busy would, until :meth:`resume`."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Lets the daemon go on."""
        os.kill(self.pid, signal.SIGCONT)

    def _await_answer(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START
        while True:
            try:
                ask(self.socket, READ, b"/")
                return
            except OSError as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    said = Path(self.folder, "output").read_text(errors="replace").strip()
                    raise RuntimeError(f"{self.name} did not start ({error}): {said}") from error
            time.sleep(0.002)
