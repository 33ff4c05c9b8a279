"""The .deb where there is no systemd."""

from __future__ import annotations

import re
import shutil

import pytest
from tests.legacy.formats import FORMATS, Packages
from tests.legacy.machine import Machine, skip_with_another_python, skip_without_machine

from guestagent_core import __version__

skip_with_another_python()
pytestmark = pytest.mark.real


def test_without_systemd_the_script_of_sysv_does_the_same(packages: Packages) -> None:
    skip_without_machine()
    machine = Machine(systemd=False)
    try:
        shutil.copy(packages(FORMATS["deb"])[0], machine.shared / "1.deb")
        machine.run("dpkg", "--install", "/srv/shared/1.deb")
        script = "/etc/init.d/guestagent"
        # Here is no init, and so no runlevel, without which Debian's invoke-rc.d starts nothing.
        assert machine.run(script, "start").stdout == "guestagent started\n"
        machine.wait(lambda: machine.exists("/run/guestagent/agent.sock"), "the agent")
        assert machine.run("guestagent", "call", "version").stdout == f"{__version__}\n"
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
