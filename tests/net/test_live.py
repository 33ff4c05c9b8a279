"""What is read of a machine is what its own programs say: systemd, and NetworkManager with files of others around."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.net import lab
from tests.net.live import DEVICES, FILES, Connected, Running
from tests.net.scenarios import NETWORK_MANAGER, shown, wanted

pytestmark = pytest.mark.real
CONNECTIONS = "/etc/NetworkManager/system-connections"
UUID = "11111111-2222-3333-4444-555555555555"
KEYFILE = f"""\
[connection]
id=odd:na\\\\me
uuid={UUID}
type=ethernet
interface-name=eth0

[ipv4]
method=manual
address1=10.9.0.5/24

[ipv6]
method=disabled
"""
ODD = f"{CONNECTIONS}/odd:na\\me.nmconnection"
IFCFG = "/etc/sysconfig/network-scripts/ifcfg-eth0"
PLUGIN = "/usr/lib64/NetworkManager/9.9/libnm-settings-plugin-ifcfg-rh.so"
ASKED = """\
import json, sys
from guestagent_commands_net.tools import networkmanager_state, services
from guestagent_commands_net import owners
from guestagent_commands_net.nics import local_nics
from guestagent_core import Context
print(json.dumps({expression}))
"""


@pytest.fixture
def machine() -> Iterator[lab.Machine]:
    files = {
        **NETWORK_MANAGER.files,
        ODD: KEYFILE,
        IFCFG: "DEVICE=eth0\nONBOOT=yes\nBOOTPROTO=dhcp\n",
        PLUGIN: "",
        "/etc/NetworkManager/conf.d/plugins.conf": "[main]\nplugins=ifcfg-rh\n",
    }
    with lab.Machine(interfaces=3, systemd=True, files=files) as made:
        made.run("sh", "-ec", NETWORK_MANAGER.start, check=True)
        made.run("nmcli", "device", "set", "eth2", "managed", "no", check=True)
        made.run("nmcli", "--wait", "20", "connection", "up", "uuid", UUID, check=True)
        yield made


def ask(machine: lab.Machine, expression: str) -> Any:
    """Evaluates Python in the machine."""
    script = ASKED.replace("{expression}", expression)
    return json.loads(machine.python("-I", "-c", script, check=True).stdout)


def test_networkmanager_says_what_the_stand_in_says(machine: lab.Machine) -> None:
    known = {
        "eth0": Connected("connected", UUID, "odd:na\\me", ODD),
        "eth1": Connected("disconnected"),
        "eth2": Connected("unmanaged"),
    }
    running = Running(manager=known)
    for argv, about in ((DEVICES, tuple(known)), (FILES, (UUID,))):
        said = machine.run(*argv, check=True).stdout.splitlines()
        status, lines = running.answer(argv)
        assert status == 0
        assert [line for line in said if line.startswith(about)] == lines.splitlines()
    assert ask(machine, "networkmanager_state.Manager(Context()).file_of('eth0')") == ODD
    assert ask(machine, "networkmanager_state.Manager(Context()).file_of('eth1')") is None
    machine.run("systemctl", "stop", "NetworkManager", check=True)
    assert machine.run(*DEVICES).returncode == Running().answer(DEVICES)[0]
    assert ask(machine, "networkmanager_state.Manager(Context()).at_work") is False


def test_the_card_is_that_of_the_file_by_which_it_is_connected(machine: lab.Machine) -> None:
    found = ask(machine, "{name: {backend: evidence.claim for backend, evidence in each.items()} for name, each in"
                         " owners.owners_of(owners.installed_backends(), Context(), local_nics(Context())).items()}"
                )  # fmt: skip
    managing = [backend for backend, claim in found["eth0"].items() if claim == 3]
    assert managing == ["networkmanager"]
    assert "ifcfg" in found["eth0"]
    machine.write("/wanted.json", json.dumps([wanted(10)]))
    done = machine.python("-I", "-m", "guestagent_core", "net", "apply", "/wanted.json")
    assert done.returncode == 0, done.stderr
    assert (machine.addresses("eth0"), machine.routes("eth0")) == shown(10)
    assert "10.9.0.10/24" in machine.read(ODD)
    assert machine.read(IFCFG) == "DEVICE=eth0\nONBOOT=yes\nBOOTPROTO=dhcp\n"


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"/etc/NetworkManager/conf.d/a.conf": "[main]\nplugins+=foo\n"},
        {"/etc/NetworkManager/conf.d/a.conf": "[main]\nplugins-=ifupdown\nplugins+=foo\n"},
        {"/etc/NetworkManager/conf.d/a.conf": "[main]\nplugins+=foo\nplugins=a,b\nplugins-=a\nplugins+=b,c\n"},
        {"/etc/NetworkManager/NetworkManager.conf": "", "/etc/NetworkManager/conf.d/a.conf": "[main]\nplugins+=foo\n"},
        {
            "/usr/lib/NetworkManager/conf.d/a.conf": "[main]\nplugins=a\n",
            "/run/NetworkManager/conf.d/a.conf": "[main]\nplugins+=b\n",
            "/usr/lib/NetworkManager/conf.d/z.conf": "[main]\nplugins=z\n",
            "/etc/NetworkManager/NetworkManager.conf": "[main]\nno-auto-default=*\n",
        },
        {
            "/etc/NetworkManager/conf.d/a.conf": "[main]\nplugins=a\n",
            "/etc/NetworkManager/conf.d/b.conf": "[.config]\nenable=false\n\n[main]\nplugins=b\n",
            "/run/NetworkManager/conf.d/a.conf": "[main]\nplugins=c\n",
        },
    ],
)
def test_plugins_are_those_of_networkmanager_itself(files: dict[str, str]) -> None:
    with lab.Machine() as machine:
        for path, text in files.items():
            machine.write(path, text)
        printed = machine.run("NetworkManager", "--print-config", check=True).stdout
        said = next(line.partition("=")[2] for line in printed.splitlines() if line.startswith("plugins="))
        # What is named and not installed is left out: here it is.
        for name in "a", "b", "c", "z", "foo":
            machine.write(f"{PLUGIN.rpartition('/')[0]}/libnm-settings-plugin-{name}.so", "")
        loaded = [*(each.strip() for each in said.split(",")), "keyfile"]
        assert ask(machine, "networkmanager_state.settings_plugins(Context())") == list(dict.fromkeys(loaded))


def test_what_is_started_is_what_systemd_says(machine: lab.Machine) -> None:
    def compared() -> dict[str, bool]:
        lines = machine.run("systemctl", "list-unit-files", "--type=service", "--plain", "--no-legend", check=True)
        states = (line.split()[:2] for line in lines.stdout.splitlines())
        known = {"enabled": True, "disabled": False, "masked": False}
        names = {unit.removesuffix(".service"): known[state] for unit, state in states if state in known}
        names = {name: enabled for name, enabled in names.items() if "@" not in name}
        said = ask(machine, f"{{name: services.started_by(Context(), name) is not None for name in {[*names]}}}")
        assert said == names
        return names

    before = compared()
    assert (before["NetworkManager"], before["networking"], before["systemd-networkd"]) == (True, True, False)
    machine.run("systemctl", "disable", "networking", check=True)
    machine.run("systemctl", "mask", "NetworkManager", check=True)
    machine.run("systemctl", "enable", "systemd-networkd", check=True)
    after = compared()
    assert (after["NetworkManager"], after["networking"], after["systemd-networkd"]) == (False, False, True)


def test_a_stopped_systemd_networkd_does_not_run_although_its_files_stay(machine: lab.Machine) -> None:
    running = "[services.runs(Context(), 'systemd-networkd'), services.networkd_facts(Context())['networkd']]"
    machine.run("systemctl", "start", "systemd-networkd", check=True)
    assert ask(machine, running) == [True, "active"]
    machine.run("systemctl", "stop", "systemd-networkd.service", "systemd-networkd.socket", check=True)
    assert machine.read("/run/systemd/netif/state")
    assert ask(machine, running) == [False, "inactive"]
    machine.run("mv", "/run/systemd/units", "/run/systemd/no-units", check=True)  # as with an old systemd
    assert ask(machine, running) == [False, "inactive"]
    machine.run("systemctl", "start", "systemd-networkd", check=True)
    machine.run("rm", "-rf", "/run/systemd/units", check=True)
    assert ask(machine, running) == [True, "active"]
