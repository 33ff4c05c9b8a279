"""A small Debian in namespaces of its own: where the real network tools are let loose.

A machine is an overlay over a folder that debootstrap filled (``GUESTAGENT_NET_ROOT``, see ``.ci/run``), with its own
mounts, network, processes, host name and control groups, and with systemd as the first process if a test needs it. Its
interfaces eth0, eth1, ... are cables to a second network, where ``10.9.0.1`` and ``fd09::1`` answer. The Python of the
tests, with what is installed there, is mounted into it; nothing of the machine that runs the tests can be written.
"""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

ROOT_VARIABLE = "GUESTAGENT_NET_ROOT"
HERE = "/lab"
"""Where a machine finds this folder."""
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C", "TERM": "dumb"}
_NAMESPACES = ("net", "mnt", "pid", "uts", "ipc")
_UNSHARE = ("unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--fork", "--kill-child")


def needs_the_lab() -> Path:
    """Returns the folder with the Debian; skips the test if there is none or namespaces cannot be had."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for namespaces")
    if os.access("/etc", os.W_OK):
        pytest.skip("this root may not make namespaces (CAP_SYS_ADMIN)")
    folder = os.environ.get(ROOT_VARIABLE)
    if not folder or not Path(folder, "usr").is_dir():
        pytest.skip(f"no root folder with the network tools ({ROOT_VARIABLE}; .ci/run makes one by debootstrap)")
    return Path(folder)


class Machine:
    """A running machine; :meth:`close` ends everything in it.

    :param interfaces: how many cables it has.
    :param systemd: whether systemd runs in it, else a shell that only reaps.
    :param files: what lies in it when it starts, text by path; a file that is executable ends in ``*``.
    """

    def __init__(self, *, interfaces: int = 1, systemd: bool = False, files: dict[str, str] | None = None) -> None:
        lower = needs_the_lab()
        self.work = Path(tempfile.mkdtemp(prefix="ga-lab-"))
        self.root = self.work / "root"
        self.leader = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._cgroup: Path | None = None
        for name in ("upper", "work", "root"):
            (self.work / name).mkdir()
        try:
            for path, text in {**(files or {}), "/etc/machine-id": "", "/etc/hostname": "lab\n"}.items():
                place = self.work / "upper" / path.lstrip("/").removesuffix("*")
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(textwrap.dedent(text))
                private = place.suffix in (".yaml", ".nmconnection")
                place.chmod(0o755 if path.endswith("*") else 0o600 if private else 0o644)
            self._start(lower, systemd)
            self._wire(interfaces)
            if systemd:
                self._wait_for_systemd()
        except BaseException:
            self.close()
            raise

    def _start(self, lower: Path, systemd: bool) -> None:
        script = self.work / "init.sh"
        script.write_text(_init_script(self.work, lower, systemd))
        self._cgroup = _new_cgroup(self.work.name) if systemd else None
        into = f"echo $$ > {self._cgroup}/cgroup.procs; " if self._cgroup else ""
        # pdeathsig and --kill-child: whatever kills the tests ends the machine too.
        with (self.work / "console").open("wb") as console:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "sh", "-c", f'{into}exec "$@"', "sh", *_UNSHARE, "sh", str(script)],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        end = time.monotonic() + 20
        while not (self.work / "upper/ready").exists():
            if self._process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"the machine did not start: {(self.work / 'console').read_text()}")
            time.sleep(0.01)
        leader = int(children.read_text().split()[0])
        while Path(f"/proc/{leader}/comm").read_text().strip() not in ("systemd", "bash"):
            time.sleep(0.005)  # it is still making itself at home
        self.leader = leader

    def _wire(self, interfaces: int) -> None:
        """Lays the cables; the other ends are on a bridge in a network that a sleeping process keeps."""
        self.run("sh", "-c", "unshare --net sleep infinity >/dev/null 2>&1 & echo $! >/peer", check=True)
        peer = self.run("cat", "/peer").stdout.strip()
        far = f"nsenter --net=/proc/{peer}/ns/net "
        end = time.monotonic() + 10
        while self.run("readlink", f"/proc/{peer}/ns/net").stdout == self.run("readlink", "/proc/1/ns/net").stdout:
            assert time.monotonic() < end
            time.sleep(0.01)
        lines = [
            "ip link set lo up",
            f"{far}ip link add br0 type bridge",
            f"{far}ip link set br0 up",
            f"{far}ip addr add 10.9.0.1/16 dev br0",
            f"{far}ip addr add fd09::1/64 dev br0 nodad",
        ]
        for number in range(interfaces):
            mac = mac_of(number)
            lines += [
                f"ip link add eth{number} address {mac} type veth peer name p{number} netns {peer}",
                f"{far}ip link set p{number} master br0 up",
            ]
        self.far = shlex.split(far)
        self.run("sh", "-ec", "\n".join(lines), check=True)

    def _wait_for_systemd(self) -> None:
        end = time.monotonic() + 60
        state = ""
        while state not in ("running", "degraded"):  # --wait waits for all but its own connection
            assert time.monotonic() < end, f"systemd is {state or 'not there'}"
            time.sleep(0.05)
            state = self.run("systemctl", "is-system-running", "--wait").stdout.strip()

    def run(self, *argv: str, check: bool = False, timeout: float = 60, input: str = "") -> Any:
        """Runs a program in the machine; returns its ``CompletedProcess`` of text."""
        done = subprocess.run(
            self.command(*argv), capture_output=True, text=True, timeout=timeout, env=_ENVIRONMENT, input=input
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{shlex.join(argv)}: exit status {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """Starts a program in the machine."""
        return subprocess.Popen(
            self.command(*argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_ENVIRONMENT
        )

    def command(self, *argv: str) -> list[str]:
        """Returns the command line that runs ``argv`` in the machine and nowhere else."""
        refuse_this_machine(self.leader)
        return ["nsenter", f"--target={self.leader}", "--all", "--wd", "--", *argv]

    def python(self, *arguments: str, **options: Any) -> Any:
        """Runs the Python of the tests in the machine."""
        return self.run(sys.executable, *arguments, **options)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Writes a file of the machine."""
        self.run("sh", "-c", 'umask 077; mkdir -p "${0%/*}"; cat >"$0"; chmod "$1" "$0"', path, f"{mode:o}",
                 input=textwrap.dedent(text), check=True)  # fmt: skip

    def read(self, path: str) -> str:
        """Returns the text of a file of the machine."""
        return str(self.run("cat", path, check=True).stdout)

    def addresses(self, interface: str) -> set[str]:
        """Returns the lasting addresses of an interface, as ``ip -j`` shows them; not those of the link itself."""
        done = self.run("ip", "-j", "addr", "show", "dev", interface)
        links = json.loads(done.stdout or "[]")
        return {
            f"{address['local']}/{address['prefixlen']}"
            for link in links
            for address in link.get("addr_info", [])
            if address["scope"] != "link" and not address.get("dynamic")
        }

    def routes(self, interface: str) -> set[str]:
        """Returns the routes of an interface that somebody set, as ``ip -j`` shows them: ``default via 10.9.0.1``."""
        found = set()
        for family in ("-4", "-6"):
            done = self.run("ip", "-j", family, "route", "show", "dev", interface)
            for route in json.loads(done.stdout or "[]"):
                if route.get("protocol") not in ("kernel", "ra"):
                    found.add(f"{route['dst']} via {route['gateway']}" if "gateway" in route else route["dst"])
        return found

    def link(self, interface: str) -> dict[str, Any]:
        """Returns what ``ip -j link`` shows of an interface."""
        (found,) = json.loads(self.run("ip", "-j", "link", "show", "dev", interface, check=True).stdout)
        return dict(found)

    def close(self) -> None:
        """Ends every process of the machine, and takes its folders away."""
        if self._process is not None:
            self._process.kill()  # and with it, by --kill-child, the first process of the machine, and so all others
            self._process.wait(10)
        if self._cgroup is not None:
            _remove_cgroup(self._cgroup)
        shutil.rmtree(self.work, ignore_errors=True)

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Deletions:
    """Counts what the kernel of a machine reports as deleted between the beginning and the end of a ``with``."""

    def __init__(self, machine: Machine, interface: str) -> None:
        self.machine = machine
        self.interface = interface
        self.lines: list[str] = []

    def __enter__(self) -> Deletions:
        self._monitor = self.machine.start("stdbuf", "-oL", "ip", "monitor", "link", "address", "route")
        assert self._monitor.stdout is not None
        self._output = b""
        # Until it listens it misses events: one is made for it to show, again and again.
        while not self._until("probe0", 0.1):
            self._touch("probe0")
        return self

    def __exit__(self, *exception: object) -> None:
        self._touch("probe1")
        assert self._until("probe1", 10), "ip monitor does not show what happens"
        # The monitor is a child of nsenter; it ends when nobody reads.
        for stream in (self._monitor.stdout, self._monitor.stderr):
            assert stream is not None
            stream.close()
        self._monitor.kill()
        self._monitor.wait()
        lines = self._output.decode().splitlines()
        self.lines = [
            line for line in lines if line.startswith("Deleted") and re.search(rf"\b{self.interface}\b", line)
        ]

    def _touch(self, name: str) -> None:
        self.machine.run("sh", "-ec", f"ip link add {name} type bridge; ip link del {name}", check=True)

    def _until(self, name: str, timeout: float) -> bool:
        """Reads until the deletion of ``name`` is shown; returns whether it was within ``timeout`` seconds."""
        assert self._monitor.stdout is not None
        number = self._monitor.stdout.fileno()
        end = time.monotonic() + timeout
        while not re.search(rf"(?m)^Deleted .*\b{name}\b.*$", self._output.decode()):
            if not select.select([number], [], [], max(end - time.monotonic(), 0))[0]:
                return False
            self._output += os.read(number, 65536)
        return True


def mac_of(number: int) -> str:
    """Returns the MAC of the interface ``eth<number>``."""
    return f"02:00:00:00:{number // 256 + 1:02x}:{number % 256:02x}"


def refuse_this_machine(leader: int) -> None:
    """Raises AssertionError unless ``leader`` lives in namespaces other than those of this process and its parents."""
    for name in _NAMESPACES:
        theirs = ""
        with suppress(PermissionError):  # what cannot be looked at is not ours
            theirs = os.readlink(f"/proc/{leader}/ns/{name}") if leader else ""
        if not theirs or theirs in _namespaces_of_this_machine(name):
            raise AssertionError(f"The process {leader} shares the {name} namespace with this machine")


def _namespaces_of_this_machine(name: str) -> set[str]:
    found = set()
    process = os.getpid()
    while process:
        with suppress(PermissionError):  # of the first process, where root is not all-powerful
            found.add(os.readlink(f"/proc/{process}/ns/{name}"))
        # The name of the program, in parentheses, may hold anything.
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return found


def _init_script(work: Path, lower: Path, systemd: bool) -> str:
    """Returns what the first process of a machine does before it becomes systemd, or a shell that waits."""
    mounts = dict.fromkeys((os.path.realpath(sys.base_prefix), os.path.realpath(sys.prefix)))
    if "/usr" in mounts:
        pytest.skip("the tests must run with a Python that can be mounted into the machine: not the one in /usr")
    binds = [(source, source) for source in mounts] + [(str(Path(__file__).parent), HERE)]
    lines = [
        "set -e",
        "mount --make-rprivate /",
        f"mount -t overlay overlay -o lowerdir={lower},upperdir={work}/upper,workdir={work}/work {work}/root",
        f"cd {work}/root",
        "mkdir -p proc sys dev run old",
        # Read only: there is no udev, and nobody shall wait for it.
        "mount -t proc proc proc",
        "mount -t sysfs -o ro sysfs sys",
        "mount --bind sys/devices/virtual/net sys/devices/virtual/net",
        "mount -o remount,rw,bind sys/devices/virtual/net",
        "mount --bind proc/sys proc/sys",
        "mount -o remount,ro,bind proc/sys",
        "mount --bind proc/sys/net proc/sys/net",
        "mount -o remount,rw,bind proc/sys/net",
        "mount -t tmpfs -o mode=755 tmpfs dev",
        "for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done",
        "mkdir dev/pts dev/shm",
        "mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts",
        "ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd",
        "mount -t tmpfs -o mode=755 tmpfs run",
        "mkdir -p run/lock run/network run/resolvconf",
    ]
    for source, target in binds:
        lines += [f"mkdir -p .{target}", f"mount --bind {source} .{target}", f"mount -o remount,ro,bind .{target}"]
    if systemd:
        lines += [
            "mount -t cgroup2 cgroup2 sys/fs/cgroup",
            "mkdir -p etc/systemd/system",
            # A /tmp of its own would hide what is mounted below it.
            "ln -sf /dev/null etc/systemd/system/tmp.mount",
        ]
    lines += [
        "hostname lab",
        "touch ready",
        "pivot_root . old",
        "umount -l /old",
    ]
    clean = "exec env -i container=lab TERM=dumb PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot ."
    if systemd:
        lines.append(f"{clean} /lib/systemd/systemd --log-target=journal --show-status=no")
    else:
        lines.append(f"{clean} bash -c 'trap exit TERM; sleep infinity & while :; do wait; done'")
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
    end = time.monotonic() + 10
    while group.exists():
        for folder, _, _ in os.walk(group, topdown=False):
            try:
                Path(folder).rmdir()
            except OSError:  # its last process is not gone yet
                break
        if time.monotonic() > end:
            return
        time.sleep(0.02)


def lines_of(text: str) -> Sequence[str]:
    """Returns the lines of ``text`` without blanks around them, for comparisons."""
    return [line.strip() for line in text.splitlines() if line.strip()]
