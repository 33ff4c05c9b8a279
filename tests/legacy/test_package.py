"""The packages and the service, for real: installed, at work under systemd, upgraded, removed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator

import pytest
from tests.legacy.formats import FORMATS, Format, Packages
from tests.legacy.machine import Machine, skip_with_another_python, skip_without_machine

from guestagent_core import __version__

skip_with_another_python()
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
        done = self.context.run(value.split(), check=False)
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


@pytest.fixture(scope="module", params=FORMATS)
def package_format(request: pytest.FixtureRequest) -> Format:
    return FORMATS[request.param]


@pytest.fixture(scope="module")
def machine(package_format: Format, packages: Packages) -> Iterator[Machine]:
    skip_without_machine()
    machine = Machine()
    try:
        for number, package in enumerate(packages(package_format), 1):
            shutil.copy(package, machine.shared / f"{number}.{package_format.name}")
        package_format.prepare(machine)
        yield machine
    finally:
        machine.close()


def call(machine: Machine, *words: str) -> str:
    return str(machine.run("guestagent", "call", "--timeout", "100", *words).stdout)


def pid(machine: Machine) -> int:
    return int(machine.shows("guestagent.service", "MainPID"))


def restarted(machine: Machine, before: int) -> int:
    def other() -> int:
        active = machine.shows("guestagent.service", "ActiveState") == "active"
        number = pid(machine)
        return number if active and number not in (0, before) else 0

    return int(machine.wait(other, "the restarted agent"))


def wheel_of_a_pack(machine: Machine, name: str, version: str, source: str) -> str:
    """Returns where the machine finds the wheel of a pack with one class, ``Slow``."""
    project = machine.shared / f"{name}-{version}"
    project.mkdir()
    (project / f"{name}.py").write_text(source)
    (project / "pyproject.toml").write_text(
        textwrap.dedent(f"""\
        [build-system]
        requires = ["hatchling"]
        build-backend = "hatchling.build"
        [project]
        name = "{name}"
        version = "{version}"
        dependencies = ["guestagent_core=={__version__}"]
        [project.entry-points."guestagent.commands"]
        {name.replace("_", "-")} = "{name}:Slow"
        [tool.hatch.build.targets.wheel]
        only-include = ["{name}.py"]
        """)
    )
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", machine.shared, project], check=True)
    [wheel] = machine.shared.glob(f"{name}-{version}-*.whl")
    return f"/srv/shared/{wheel.name}"


def pip_install(machine: Machine, wheel: str) -> None:
    done = machine.run("guestagent-pip", "install", "--quiet", "--upgrade", "--no-index", wheel)
    assert (done.stdout, done.stderr) == ("", "")


def asked(machine: Machine, *words: str) -> subprocess.Popen[str]:
    return machine.start("guestagent", "call", "--timeout", "100", *words)


@pytest.fixture(scope="module")
def installed(machine: Machine, package_format: Format) -> Machine:
    """The machine with the first package, and a pack that ``guestagent-pip`` has installed beside it."""
    machine.before = machine.files()
    machine.run(*package_format.upgrade, f"/srv/shared/1.{package_format.name}")
    pip_install(machine, wheel_of_a_pack(machine, "acme_slow", "1.0", PACK))
    machine.run("systemctl", "restart", "guestagent.service")
    return machine


@pytest.fixture(autouse=True)
def uncounted(installed: Machine) -> None:
    """systemd takes each test's starts for the first ones: it allows five within ten seconds."""
    installed.run("systemctl", "reset-failed", "guestagent.service", check=False)


def test_the_installed_agent_runs_from_its_own_environment(installed: Machine) -> None:
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


def test_packs_are_replaced_and_uninstalled_and_the_agent_is_not(installed: Machine) -> None:
    def found() -> set[str]:
        lines = installed.run("find", "/var/lib/guestagent", "-name", "acme_other*", "-printf", "%f\\n").stdout
        return set(lines.split())

    for version in ("1.0", "2.0"):
        pip_install(installed, wheel_of_a_pack(installed, "acme_other", version, ""))
    compiled = f"acme_other.{sys.implementation.cache_tag}.pyc"
    assert found() == {"acme_other-2.0.dist-info", "acme_other.py", compiled}
    installed.run("guestagent-pip", "uninstall", "--yes", "acme_other")
    assert found() == set()
    kept = installed.run("guestagent-pip", "uninstall", "--yes", "guestagent_core").stdout
    assert "Not uninstalling guestagent-core at /usr/lib/guestagent" in kept


def test_packs_with_compiled_parts_are_found_in_lib64(installed: Machine) -> None:
    """Where Python has its own there, as on the 64-bit distributions of Red Hat and SUSE, pip puts them into it."""
    python = ("/usr/lib/guestagent/bin/python3", "-I", "-c")
    placing = "import sys, sysconfig; sys.platlibdir = 'lib64'; packs = '/var/lib/guestagent/packs'; "
    place = installed.run(*python, placing + "print(sysconfig.get_path('platlib', vars={'platbase': packs}))").stdout
    assert place.startswith("/var/lib/guestagent/packs/lib64/")
    installed.run("mkdir", "--parents", place.strip())
    assert place in installed.run(*python, "import sys; print(*sys.path, sep='\\n')").stdout
    installed.run("rm", "--recursive", "/var/lib/guestagent/packs/lib64")


def test_systemd_has_nothing_against_the_unit(installed: Machine) -> None:
    done = installed.run("systemd-analyze", "verify", "guestagent.service", check=False)
    assert "guestagent" not in done.stderr, done.stderr
    assert done.returncode == 0
    cycles = installed.run("journalctl", "--boot", "--grep", "ordering cycle", check=False).stdout
    assert "guestagent" not in cycles
    before = installed.shows("guestagent.service", "Before").split()
    assert {"network-online.target", "cloud-init.service"} <= set(before)


def test_stop_start_and_reload_are_the_agent_s_own(installed: Machine) -> None:
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


def test_a_killed_agent_comes_back(installed: Machine) -> None:
    first = pid(installed)
    installed.run("sh", "-c", f"kill -KILL {first}")
    restarted(installed, first)
    assert call(installed, "version") == f"{__version__}\n"


def test_what_is_detached_outlives_the_agent(installed: Machine) -> None:
    assert call(installed, "spawn") == "\n"
    installed.wait(lambda: installed.exists("/run/spawned"), "the detached program")
    installed.run("systemctl", "restart", "guestagent.service")
    number = installed.run("cat", "/run/spawned").stdout.strip()
    assert "sleep" in installed.run("cat", f"/proc/{number}/comm").stdout
    installed.run("sh", "-c", f"kill {number}")


def test_the_watchdog_restarts_an_agent_that_is_stuck(installed: Machine) -> None:
    # Seconds instead of a minute, so that nobody has to wait; all else is as it is installed. The agent itself counts
    # a call as stuck a minute after its deadline, so it is stopped in its tracks instead.
    installed.run(
        "sh",
        "-ec",
        "mkdir -p /run/systemd/system/guestagent.service.d; cd /run/systemd/system/guestagent.service.d; "
        "printf '[Service]\\nWatchdogSec=4\\n' >fast.conf; systemctl daemon-reload; systemctl restart guestagent",
    )
    first = pid(installed)
    time.sleep(5)
    assert pid(installed) == first
    installed.run("sh", "-c", f"kill -STOP {first}")
    restarted(installed, first)
    journal = installed.run("journalctl", "--boot", "--unit", "guestagent.service").stdout
    assert "Watchdog timeout" in journal
    installed.run("sh", "-ec", "rm -r /run/systemd/system/guestagent.service.d; systemctl daemon-reload")
    installed.run("systemctl", "restart", "guestagent.service")
    assert call(installed, "version") == f"{__version__}\n"


def test_an_upgrade_answers_what_is_pending_and_leaves_packs_alone(installed: Machine, package_format: Format) -> None:
    first = pid(installed)
    pending = asked(installed, "slow")
    installed.wait(lambda: installed.exists("/run/begun"), "the command")
    installed.run(*package_format.upgrade, f"/srv/shared/2.{package_format.name}")
    assert installed.exists("/usr/lib/guestagent/second")
    assert pending.poll() is None
    installed.run("touch", "/run/end")
    assert pending.communicate(timeout=60)[0] == f"ended by {first}\n"
    second = restarted(installed, first)
    assert "slow" in call(installed, "features").strip().split(",")
    # A command that changes the version of the agent is answered too.
    installed.run("rm", "/run/begun", "/run/end")
    words = " ".join((*package_format.upgrade, f"/srv/shared/1.{package_format.name}"))
    assert package_format.upgraded in call(installed, "upgrade", words)
    restarted(installed, second)
    assert not installed.exists("/usr/lib/guestagent/second")
    assert "slow" in call(installed, "features").strip().split(",")


def test_service_install_takes_its_place(installed: Machine) -> None:
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


def test_nothing_is_left_when_it_is_removed(installed: Machine, package_format: Format) -> None:
    assert installed.files() - installed.before
    assert installed.run(*package_format.verify).stdout == ""
    # What the command agentupdate puts there is not in the lists of dpkg and rpm.
    installed.run("touch", "/usr/lib/guestagent/new.py")
    said = ""
    for command, kept in package_format.removal:
        said += installed.run(*command).stdout
        assert installed.shows("guestagent.service", "ActiveState") == "inactive"
        left = installed.files() - installed.before
        assert {path for path in left if not re.fullmatch(kept, path)} == set()
        assert not installed.exists("/usr/lib/guestagent")
    assert package_format.removed in said
    for place in ("/var/lib/guestagent", "/run/guestagent", "/usr/share/doc/guestagent"):
        assert not installed.exists(place)
