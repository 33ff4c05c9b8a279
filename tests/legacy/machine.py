"""A Debian with systemd as its first process, in namespaces of its own, for the service and the package.

It is an overlay over a folder that debootstrap filled (``GUESTAGENT_NET_ROOT``, see ``.ci/run``); nothing of the
machine that runs the tests can be reached from it, and all that it changes goes with it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT_VARIABLE = "GUESTAGENT_NET_ROOT"
PATIENCE = 90.0  # seconds
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", "LC_ALL": "C", "TERM": "dumb"}
_UNSHARE = ("unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--fork", "--kill-child")


def root_with_python() -> tuple[Path, tuple[int, int]] | None:
    """Returns the Debian, and the version of its Python; None if there is none."""
    root = Path(os.environ.get(ROOT_VARIABLE) or "/nonexistent")
    try:
        version = re.fullmatch(r"python3\.(\d+)", os.readlink(root / "usr/bin/python3"))
    except OSError:
        return None
    return (root, (3, int(version[1]))) if version else None


def skip_with_another_python() -> None:
    """Leaves out the module that is being collected unless this is the Debian's Python, or there is no Debian."""
    found = root_with_python()
    if found is not None and found[1] != sys.version_info[:2]:
        # One Python is enough, and it has to be that of the Debian: not even a skip, which CI would not let pass.
        pytest.skip("another Python than that of the Debian", allow_module_level=True)


def skip_without_machine() -> Path:
    """Returns the Debian; skips the test if it or the right to make namespaces is lacking."""
    if os.geteuid() != 0 or subprocess.run([*_UNSHARE, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("needs root, for namespaces")
    found = root_with_python()
    if found is None:
        pytest.skip(f"no Debian with Python ({ROOT_VARIABLE}; .ci/run makes one by debootstrap)")
    return found[0]


class Machine:
    """A running machine; :meth:`close` ends everything in it."""

    before: set[str]
    """The :meth:`files` that were there before a test has changed any."""

    def __init__(self, *, systemd: bool = True) -> None:
        lower = skip_without_machine()
        self.work = Path(tempfile.mkdtemp(prefix="ga-machine-"))
        for name in ("upper", "work", "root", "shared"):
            (self.work / name).mkdir()
        self.shared = self.work / "shared"
        self._cgroup = _new_cgroup(self.work.name) if systemd else None
        script = self.work / "init.sh"
        script.write_text(_init_script(self.work, lower, systemd))
        into = f"echo $$ > {self._cgroup}/cgroup.procs; " if self._cgroup else ""
        with (self.work / "console").open("wb") as console:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "sh", "-c", f'{into}exec "$@"', "sh", *_UNSHARE, "sh", str(script)],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self.wait((self.shared / "ready").exists, "the first process")
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
            self.leader = int(children.split()[0])
            if systemd:
                self.wait(self._is_up, "systemd")
        except BaseException:
            self.close()
            raise

    def _is_up(self) -> bool:
        state = self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip()
        return state in ("running", "degraded")

    def command(self, *argv: object) -> list[str]:
        """Returns the command line that runs ``argv`` in the machine and nowhere else."""
        for name in ("mnt", "pid", "net"):
            assert os.readlink(f"/proc/{self.leader}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}")
        return ["nsenter", f"--target={self.leader}", "--all", "--", "env", "--chdir=/", *map(str, argv)]

    def run(self, *argv: object, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Runs a program in the machine."""
        done = subprocess.run(
            self.command(*argv),
            capture_output=True,
            text=True,
            timeout=timeout,
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert not check or done.returncode == 0, f"{argv}: {done.returncode}: {done.stdout}{done.stderr}"
        return done

    def start(self, *argv: object) -> subprocess.Popen[str]:
        """Starts a program in the machine."""
        return subprocess.Popen(
            self.command(*argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=_ENVIRONMENT,
        )

    def shows(self, unit: str, name: str) -> str:
        """Returns a property of a unit."""
        return self.run("systemctl", "show", "--property", name, "--value", unit).stdout.strip()

    def exists(self, path: str) -> bool:
        return self.run("test", "-e", path, check=False).returncode == 0

    def files(self) -> set[str]:
        """Returns every file of the machine, but for what the system itself keeps at work."""
        found = self.run("find", "/etc", "/usr", "/opt", "/var", "-xdev", "!", "-type", "d").stdout.split("\n")
        databases = ("/var/lib/dpkg/", "/var/lib/rpm/")
        kept = (*databases, "/var/log/", "/var/lib/systemd/", "/var/cache/", "/var/tmp/", "/etc/resolv.conf")
        return {path for path in found if path and not path.startswith(kept) and "/__pycache__/" not in path}

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + PATIENCE
        while not (value := condition()):
            console = (self.work / "console").read_text()
            assert self._process.poll() is None, f"the machine has ended: {console}"
            assert time.monotonic() < deadline, f"{what} did not come; console: {console}"
            time.sleep(0.05)
        return value

    def close(self) -> None:
        """Ends every process of the machine, and takes its folders away."""
        self._process.kill()  # and with it, by --kill-child, the first process of the machine, and so all others
        self._process.wait(10)
        if self._cgroup is not None:
            _remove_cgroup(self._cgroup)
        shutil.rmtree(self.work, ignore_errors=True)


def _init_script(work: Path, lower: Path, systemd: bool) -> str:
    lines = [
        "set -e",
        "mount --make-rprivate /",
        f"mount -t overlay overlay -o lowerdir={lower},upperdir={work}/upper,workdir={work}/work {work}/root",
        f"cd {work}/root",
        "mkdir -p proc sys dev run old",
        "mount -t proc proc proc",
        "mount -t sysfs -o ro sysfs sys",
        "mount --bind proc/sys proc/sys; mount -o remount,ro,bind proc/sys",
        "mount -t tmpfs -o mode=755 tmpfs dev",
        "for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done",
        "mkdir dev/pts dev/shm",
        "mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts",
        "ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd",
        "mount -t tmpfs -o mode=755 tmpfs run",
        "mkdir -p run/lock srv/shared",
        f"mount --bind {work}/shared srv/shared",
        ": > etc/machine-id",
        "hostname machine",
        "ip link set lo up || true",
    ]
    if systemd:
        lines += ["mount -t cgroup2 cgroup2 sys/fs/cgroup", "ln -sf /dev/null etc/systemd/system/tmp.mount"]
    lines += ["touch srv/shared/ready", "pivot_root . old", "umount -l /old"]
    clean = "exec env -i container=lab TERM=dumb PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot ."
    init = "/lib/systemd/systemd --log-target=journal --show-status=no"
    lines.append(f"{clean} {init}" if systemd else f"{clean} sh -c 'sleep infinity & while :; do wait; done'")
    return "\n".join(lines) + "\n"


def _new_cgroup(name: str) -> Path:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[fields.index("-") + 1] == "cgroup2":
            group = Path(fields[4], name)
            group.mkdir()
            return group
    pytest.skip("no cgroup2 is mounted, which systemd needs")


def _remove_cgroup(group: Path) -> None:
    deadline = time.monotonic() + 10
    while group.exists() and time.monotonic() < deadline:
        for folder, _, _ in os.walk(group, topdown=False):
            try:
                Path(folder).rmdir()
            except OSError:  # its last process is not gone yet
                break
        time.sleep(0.02)
