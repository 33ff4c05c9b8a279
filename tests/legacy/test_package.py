"""The .deb and the service, for real: installed, at work under systemd, upgraded, removed."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guestagent_core import __version__

ROOT = Path(__file__).parents[2]


def _load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


machines = _load("machine")
found = machines.root_with_python()
if found is not None and found[1] != sys.version_info[:2]:
    # One Python is enough, and it has to be that of the Debian: not even a skip, which CI would not let pass.
    pytest.skip("another Python than that of the Debian", allow_module_level=True)
pytestmark = pytest.mark.real

PACK = """
import os, time
from pathlib import Path
from guestagent_core import CommandBase, command

class Slow(CommandBase):
    @command("slow", timeout=600)
    def slow(self, value):
        self.context.run(["sh", "-c", 'touch /run/begun; until [ -e /run/end ]; do sleep 0.05; done'])
        return 0, f"ended by {os.getpid()}"

    @command("upgrade", timeout=600)
    def upgrade(self, value):
        done = self.context.run(["dpkg", "--install", value], check=False)
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    @command("stuck", timeout=0.001)
    def stuck(self, value):
        while True:
            time.sleep(0.1)

    @command("spawn")
    def spawn(self, value):
        self.context.detach(["sh", "-c", "echo $$ >/run/spawned; exec sleep infinity"])
        return 0, ""
"""


def build(folder: Path, version: str) -> Path:
    subprocess.run(
        [sys.executable, ROOT / "tools/deb.py", folder, "--version", version], check=True, stdout=subprocess.DEVNULL
    )
    [package] = folder.glob(f"guestagent_{version}_*.deb")
    return package


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Returns a package, and one of the next version."""
    machines.skip_without_machine()
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    folder = tmp_path_factory.mktemp("packages")
    first = build(folder, f"{__version__}-1")
    # The next version is the same content: built once, it is packed twice.
    tree = folder / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", first, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace(f"{__version__}-1", f"{__version__}-2"))
    (tree / "usr/lib/guestagent/second").touch()
    second = folder / "second.deb"
    subprocess.run(
        ["dpkg-deb", "--build", "-Znone", "--root-owner-group", tree, second], check=True, stdout=subprocess.DEVNULL
    )
    return [first, second]


@pytest.fixture(scope="module")
def machine(packages: list[Path]) -> Iterator[Any]:
    machine = machines.Machine()
    try:
        for number, package in enumerate(packages, 1):
            shutil.copy(package, machine.shared / f"{number}.deb")
        yield machine
    finally:
        machine.close()


def call(machine: Any, *words: str) -> str:
    return str(machine.run("guestagent", "call", "--timeout", "100", *words).stdout)


def pid(machine: Any) -> int:
    return int(machine.shows("guestagent.service", "MainPID"))


def restarted(machine: Any, before: int) -> int:
    def other() -> int:
        active = machine.shows("guestagent.service", "ActiveState") == "active"
        number = pid(machine)
        return number if active and number not in (0, before) else 0

    return int(machine.wait(other, "the restarted agent"))


def asked(machine: Any, *words: str) -> subprocess.Popen[str]:
    return machine.start("guestagent", "call", "--timeout", "100", *words)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def installed(machine: Any) -> Any:
    """The machine with the first package, and a pack that ``guestagent-pip`` has installed beside it."""
    machine.before = machine.files()
    machine.run("dpkg", "--install", "/srv/shared/1.deb")
    project = machine.shared / "slow"
    project.mkdir()
    (project / "acme_slow.py").write_text(PACK)
    (project / "pyproject.toml").write_text(
        textwrap.dedent(f"""\
        [build-system]
        requires = ["hatchling"]
        build-backend = "hatchling.build"
        [project]
        name = "acme_slow"
        version = "1.0"
        dependencies = ["guestagent_core=={__version__}"]
        [project.entry-points."guestagent.commands"]
        acme-slow = "acme_slow:Slow"
        [tool.hatch.build.targets.wheel]
        only-include = ["acme_slow.py"]
        """)
    )
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", machine.shared, project], check=True)
    machine.run("sh", "-ec", "guestagent-pip install --quiet --no-index /srv/shared/acme_slow-*.whl")
    machine.run("systemctl", "restart", "guestagent.service")
    return machine


@pytest.fixture(autouse=True)
def uncounted(installed: Any) -> None:
    """systemd takes each test's starts for the first ones: it allows five within ten seconds."""
    installed.run("systemctl", "reset-failed", "guestagent.service", check=False)


def test_the_installed_agent_runs_from_its_own_environment(installed: Any) -> None:
    assert installed.shows("guestagent.service", "ActiveState") == "active"
    assert installed.run("systemctl", "is-enabled", "guestagent.service").stdout.strip() == "enabled"
    assert call(installed, "version") == f"{__version__}\n"
    assert "slow" in call(installed, "features").strip().split(",")
    where = "import guestagent_core, pluggy, acme_slow; print(guestagent_core.__file__, acme_slow.__file__)"
    core, pack = installed.run("/usr/lib/guestagent/bin/python3", "-I", "-c", where).stdout.split()
    assert core.startswith("/usr/lib/guestagent/lib/")
    assert pack.startswith("/var/lib/guestagent/packs/lib/")
    assert installed.run("guestagent-legacy", "--help").stdout.startswith("Usage: guestagent-legacy")
    refused = installed.run("guestagent-pip", "install", "--no-index", "guestagent_core==2.0", check=False)
    assert refused.returncode != 0


def test_systemd_has_nothing_against_the_unit(installed: Any) -> None:
    done = installed.run("systemd-analyze", "verify", "guestagent.service", check=False)
    assert "guestagent" not in done.stderr, done.stderr
    assert done.returncode == 0
    cycles = installed.run("journalctl", "--boot", "--grep", "ordering cycle", check=False).stdout
    assert "guestagent" not in cycles
    before = installed.shows("guestagent.service", "Before").split()
    assert {"network-online.target", "cloud-init.service"} <= set(before)


def test_stop_start_and_reload_are_the_agent_s_own(installed: Any) -> None:
    first = pid(installed)
    installed.run("systemctl", "reload", "guestagent.service")
    assert pid(installed) == first
    pending = asked(installed, "slow")
    installed.wait(lambda: installed.exists("/run/begun"), "the command")
    stopping = installed.start("systemctl", "stop", "guestagent.service")
    time.sleep(0.5)
    assert stopping.poll() is None
    installed.run("touch", "/run/end")
    assert pending.communicate(timeout=60)[0] == f"ended by {first}\n"
    stopping.communicate(timeout=60)
    assert stopping.returncode == 0
    assert installed.shows("guestagent.service", "Result") == "success"
    assert not installed.exists("/run/guestagent/agent.sock")
    installed.run("rm", "/run/begun", "/run/end")
    installed.run("systemctl", "start", "guestagent.service")
    assert call(installed, "version") == f"{__version__}\n"


def test_a_killed_agent_comes_back(installed: Any) -> None:
    first = pid(installed)
    installed.run("sh", "-c", f"kill -KILL {first}")
    restarted(installed, first)
    assert call(installed, "version") == f"{__version__}\n"


def test_what_is_detached_outlives_the_agent(installed: Any) -> None:
    assert call(installed, "spawn") == "\n"
    installed.wait(lambda: installed.exists("/run/spawned"), "the detached program")
    installed.run("systemctl", "restart", "guestagent.service")
    number = installed.run("cat", "/run/spawned").stdout.strip()
    assert "sleep" in installed.run("cat", f"/proc/{number}/comm").stdout
    installed.run("sh", "-c", f"kill {number}")


def test_the_watchdog_restarts_an_agent_that_is_stuck(installed: Any) -> None:
    # A second instead of a minute, so that nobody has to wait; all else is as it is installed. The agent itself counts
    # a call as stuck a minute after its deadline, so it is stopped in its tracks instead.
    installed.run(
        "sh",
        "-ec",
        "mkdir -p /run/systemd/system/guestagent.service.d; cd /run/systemd/system/guestagent.service.d; "
        "printf '[Service]\\nWatchdogSec=2\\n' >fast.conf; systemctl daemon-reload; systemctl restart guestagent",
    )
    first = pid(installed)
    time.sleep(3)
    assert pid(installed) == first
    installed.run("sh", "-c", f"kill -STOP {first}")
    restarted(installed, first)
    journal = installed.run("journalctl", "--boot", "--unit", "guestagent.service").stdout
    assert "Watchdog timeout" in journal
    installed.run("sh", "-ec", "rm -r /run/systemd/system/guestagent.service.d; systemctl daemon-reload")
    installed.run("systemctl", "restart", "guestagent.service")
    assert call(installed, "version") == f"{__version__}\n"


def test_an_upgrade_answers_what_is_pending_and_leaves_packs_alone(installed: Any) -> None:
    first = pid(installed)
    pending = asked(installed, "slow")
    installed.wait(lambda: installed.exists("/run/begun"), "the command")
    installed.run("dpkg", "--install", "/srv/shared/2.deb")
    assert installed.exists("/usr/lib/guestagent/second")
    assert pending.poll() is None
    installed.run("touch", "/run/end")
    assert pending.communicate(timeout=60)[0] == f"ended by {first}\n"
    second = restarted(installed, first)
    assert "slow" in call(installed, "features").strip().split(",")
    # A command that upgrades the agent is answered too.
    installed.run("rm", "/run/begun", "/run/end")
    assert "Setting up guestagent" in call(installed, "upgrade", "/srv/shared/2.deb")
    restarted(installed, second)
    assert call(installed, "version") == f"{__version__}\n"


def test_service_install_takes_its_place(installed: Any) -> None:
    """The same unit by ``guestagent service``, with another path of the program."""
    first = pid(installed)
    program = "/usr/lib/guestagent/bin/guestagent"
    said = installed.run(program, "service", "install", "--now").stdout
    assert "systemd: systemctl restart guestagent.service is done" in said
    second = restarted(installed, first)
    assert program in installed.run("cat", f"/proc/{second}/cmdline").stdout
    assert installed.run(program, "service", "install").stdout == "systemd: nothing is to be done\n"
    installed.run(program, "service", "uninstall")
    assert not installed.exists("/etc/systemd/system/guestagent.service")
    installed.run("systemctl", "restart", "guestagent.service")


def test_nothing_is_left_when_it_is_purged(installed: Any) -> None:
    assert installed.files() - installed.before
    installed.run("dpkg", "--remove", "guestagent")
    assert installed.shows("guestagent.service", "ActiveState") == "inactive"
    left = {path for path in installed.files() - installed.before if not path.startswith("/var/lib/guestagent/")}
    assert left <= {"/etc/init.d/guestagent"} | {path for path in left if re.match(r"/etc/rc\d\.d/", path)}
    installed.run("dpkg", "--purge", "guestagent")
    assert installed.files() - installed.before == set()
    assert not installed.exists("/var/lib/guestagent")
    assert not installed.exists("/usr/lib/guestagent")
    assert not installed.exists("/run/guestagent")


def test_without_systemd_the_script_of_sysv_does_the_same(packages: list[Path]) -> None:
    machine = machines.Machine(systemd=False)
    try:
        shutil.copy(packages[0], machine.shared / "1.deb")
        machine.run("dpkg", "--install", "/srv/shared/1.deb")
        script = "/etc/init.d/guestagent"
        # Here is no init, and so no runlevel, without which Debian's invoke-rc.d starts nothing.
        assert machine.run(script, "start").stdout == "guestagent started\n"
        machine.wait(lambda: machine.exists("/run/guestagent/agent.sock"), "the agent")
        assert call(machine, "version") == f"{__version__}\n"
        assert re.fullmatch(r"guestagent is running \(pid \d+\)\n", machine.run(script, "status").stdout)
        assert machine.run(script, "start").stdout == "guestagent is running already\n"
        machine.run("mv", "/var/log/guestagent.log", "/var/log/guestagent.log.1")
        machine.run(script, "reload")
        machine.wait(lambda: machine.exists("/var/log/guestagent.log"), "the new log")
        assert machine.run("stat", "--format", "%a", "/var/log/guestagent.log").stdout == "600\n"
        assert machine.run(script, "stop").stdout == "guestagent stopped\n"
        assert machine.run(script, "status", check=False).returncode == 3
        assert machine.run(script, "try-restart").stdout == ""
        assert machine.run(script, "restart").stdout == "guestagent is not running\nguestagent started\n"
        machine.wait(lambda: machine.exists("/run/guestagent/agent.sock"), "the agent")
        number = machine.run("cat", "/run/guestagent.pid").stdout.strip()
        machine.run("sh", "-c", f"kill -KILL {number}")
        machine.wait(lambda: machine.run(script, "status", check=False).returncode == 1, "the dead agent")
        assert machine.run(script, "start").stdout == "guestagent started\n"
        machine.run("sh", "-c", "echo no TOML >/srv/bad.toml; mkdir -p /etc/default")
        machine.run(script, "stop")
        machine.run("sh", "-c", "echo 'OPTIONS=\"run --config /srv/bad.toml\"' >/etc/default/guestagent")
        assert machine.run(script, "start", check=False).returncode == 1
        machine.run("dpkg", "--purge", "guestagent")
        assert not machine.exists(script)
    finally:
        machine.close()
