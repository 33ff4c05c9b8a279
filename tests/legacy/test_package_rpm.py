"""What is rpm's alone: requirements, presets, and what is the operator's when the package goes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from tests.legacy.formats import FORMATS, PYTHON, Packages
from tests.legacy.machine import Machine, skip_with_another_python, skip_without_machine

from guestagent_core import __version__

skip_with_another_python()
pytestmark = pytest.mark.real

RPM = FORMATS["rpm"]
FIRST, SECOND = "/srv/shared/1.rpm", "/srv/shared/2.rpm"
ENABLED = "/etc/systemd/system/multi-user.target.wants/guestagent.service"


@pytest.fixture
def machine_of(packages: Packages) -> Iterator[Callable[[bool], Machine]]:
    """Starts a machine, with systemd or without, and with both versions of the package at hand."""
    skip_without_machine()
    started = []

    def start(systemd: bool) -> Machine:
        started.append(Machine(systemd=systemd))
        for number, package in enumerate(packages(RPM), 1):
            shutil.copy(package, started[0].shared / f"{number}.rpm")
        return started[0]

    yield start
    for machine in started:
        machine.close()


def starts(machine: Machine) -> int:
    """Returns how often systemd has started the agent since the machine is up."""
    journal = machine.run("journalctl", "--boot", "--unit", "guestagent.service", "--output", "cat").stdout
    return journal.count("Started guestagent.service")


def answers(machine: Machine, times: int) -> None:
    """Waits for the agent to answer after so many starts, and for no other one."""
    machine.wait(lambda: starts(machine) == times, "the start")
    assert machine.run("guestagent", "call", "version").stdout == f"{__version__}\n"
    assert starts(machine) == times


def test_rpm_does_not_install_it_without_its_python(machine_of: Callable[[bool], Machine]) -> None:
    machine = machine_of(False)
    refused = machine.run("rpm", "--install", FIRST, check=False)
    assert refused.returncode != 0
    assert f"/usr/bin/{PYTHON} is needed by guestagent" in refused.stderr
    assert not machine.exists("/usr/lib/guestagent")


def test_in_an_image_it_is_enabled_and_not_started(machine_of: Callable[[bool], Machine]) -> None:
    machine = machine_of(False)
    RPM.prepare(machine)
    machine.before = machine.files()
    assert machine.run("rpm", "--install", FIRST).stderr == ""
    assert machine.exists(ENABLED)
    assert not machine.exists("/run/guestagent.installed")
    assert machine.run("rpm", "--upgrade", SECOND).stderr == ""
    assert machine.exists(ENABLED)
    assert machine.run("pgrep", "--list-full", "--full", "guestagent run", check=False).stdout == ""
    assert machine.run("rpm", "--query", "--file", "/var/lib/guestagent/packs").stdout.startswith("guestagent-")
    assert machine.run("rpm", "--erase", "guestagent").stderr == ""
    assert machine.files() == machine.before


def test_what_the_operator_has_written_stays(machine_of: Callable[[bool], Machine]) -> None:
    machine = machine_of(False)
    RPM.prepare(machine)
    # No systemctl either: a container.
    machine.run("rm", "/usr/bin/systemctl")
    machine.before = machine.files()
    assert machine.run("rpm", "--install", FIRST).stderr == ""
    machine.run("sh", "-ec", "mkdir /etc/guestagent; echo '[agent]' >/etc/guestagent/config.toml; guestagent check")
    assert machine.run("rpm", "--erase", "guestagent").stderr == ""
    assert machine.files() - machine.before == {"/etc/guestagent/config.toml"}


def test_the_presets_of_the_operator_decide(machine_of: Callable[[bool], Machine]) -> None:
    machine = machine_of(True)
    RPM.prepare(machine)
    presets = "/etc/systemd/system-preset"
    machine.run("sh", "-ec", f"mkdir -p {presets}; echo disable guestagent.service >{presets}/50-site.preset")
    for command in ("--install", FIRST), ("--upgrade", SECOND):
        machine.run("rpm", *command)
        assert not machine.exists(ENABLED)
        # It is not about to start, either.
        assert machine.run("systemctl", "list-jobs", "--quiet", "guestagent.service").stdout == ""
        assert machine.shows("guestagent.service", "ActiveState") == "inactive"
    assert starts(machine) == 0
    machine.run("systemctl", "start", "guestagent.service")
    machine.run("rpm", "--erase", "guestagent")
    assert machine.shows("guestagent.service", "ActiveState") == "inactive"


def test_an_installation_starts_it_once_and_an_upgrade_once_more(machine_of: Callable[[bool], Machine]) -> None:
    machine = machine_of(True)
    RPM.prepare(machine)
    machine.run("rpm", "--install", FIRST)
    answers(machine, times=1)
    machine.run("rpm", "--upgrade", SECOND)
    answers(machine, times=2)
    # Whoever has stopped it has done so for a reason.
    machine.run("systemctl", "stop", "guestagent.service")
    machine.run("rpm", "--upgrade", "--oldpackage", FIRST)
    assert machine.run("systemctl", "list-jobs", "--quiet", "guestagent.service").stdout == ""
    assert machine.shows("guestagent.service", "ActiveState") == "inactive"


def test_the_first_boot_of_an_image_leaves_it_enabled(machine_of: Callable[[bool], Machine]) -> None:
    """systemd applies the presets then, and those of Red Hat disable whatever none of them names."""
    machine = machine_of(False)
    RPM.prepare(machine)
    machine.run("sh", "-ec", "echo 'disable *' >/usr/lib/systemd/system-preset/99-default-disable.preset")
    machine.run("rpm", "--install", FIRST)
    machine.run("rm", ENABLED)
    machine.run("systemctl", "preset-all")
    assert machine.exists(ENABLED)
