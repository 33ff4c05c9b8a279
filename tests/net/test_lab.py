"""The lab is a machine of its own, and what guards this machine bites."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.net import lab


@pytest.mark.real
@pytest.mark.parametrize("systemd", [False, True])
def test_a_machine_has_its_own_network_files_and_host_name(systemd: bool) -> None:
    interfaces = Path("/proc/self/net/dev").read_text()
    with lab.Machine(interfaces=2, systemd=systemd, files={"/etc/network/interfaces": "auto lo\n"}) as machine:
        assert machine.link("eth1")["address"] == lab.mac_of(1)
        assert machine.link("eth0")["operstate"] in ("DOWN", "UP")
        assert machine.read("/etc/network/interfaces") == "auto lo\n"
        machine.write("/etc/guestagent-lab", "mine\n")
        machine.run("hostname", "other", check=True)
        assert machine.python("-c", "import guestagent_core; print(guestagent_core.__version__)").stdout == "3.0.0\n"
        assert machine.run("cat", "/proc/1/comm").stdout.strip() == ("systemd" if systemd else "bash")
        assert machine.run("touch", f"{sys.prefix}/x").returncode != 0
    assert not Path("/etc/guestagent-lab").exists()
    assert os.uname().nodename != "other"
    assert Path("/proc/self/net/dev").read_text().count(":") == interfaces.count(":")


@pytest.mark.real
def test_the_cables_lead_somewhere() -> None:
    with lab.Machine() as machine:
        machine.run("sh", "-ec", "ip addr add 10.9.0.10/16 dev eth0; ip link set eth0 up", check=True)
        assert machine.run("ping", "-c1", "-W5", "10.9.0.1").returncode == 0
        assert machine.addresses("eth0") == {"10.9.0.10/16"}


@pytest.mark.real
def test_deleted_addresses_are_counted() -> None:
    with lab.Machine(interfaces=2) as machine:
        machine.run("sh", "-ec", "ip addr add 10.9.0.10/16 dev eth0; ip link set eth0 up", check=True)
        with lab.Deletions(machine, "eth0") as nothing:
            machine.run("ip", "addr", "add", "10.9.0.11/16", "dev", "eth0")
        assert nothing.lines == []
        with lab.Deletions(machine, "eth0") as one:
            machine.run("ip", "addr", "del", "10.9.0.11/16", "dev", "eth0")
        assert any("10.9.0.11" in line for line in one.lines)


@pytest.mark.parametrize("leader", [0, 1, os.getpid()])
def test_the_guard_bites(leader: int) -> None:
    with pytest.raises(AssertionError, match="shares the net namespace with this machine"):
        lab.refuse_this_machine(leader)
    machine = object.__new__(lab.Machine)
    machine.leader = leader
    with pytest.raises(AssertionError, match="shares the net namespace"):
        machine.run("true")
