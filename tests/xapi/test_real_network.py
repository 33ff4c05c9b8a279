"""Addresses that the host sets, applied by the real tools in machines of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.net import lab
from tests.net.scenarios import TOOLS, Guest, Tool
from tests.xen.harness import DAEMONS, Daemon, ProgramsMissingError, find_programs

from guestagent_xen.host.xapi import XapiHost

from .conftest import until

pytestmark = pytest.mark.real
CONFIGURATION = """\
[[channel]]
exchange = "xapi-vif"
parser = "xapi-vif"
[channel.options]
path = "/xs/socket"
[channel.store_options]
path = "/nothing"
[hooks.xapi]
path = "/xs/socket"
"""


@contextmanager
def host_of(guest: Guest, kind: str) -> Iterator[XapiHost]:
    """Runs a daemon whose socket is in the machine too; there, the agent is domain 0."""
    try:
        programs = find_programs()
    except ProgramsMissingError as error:
        pytest.skip(str(error))
    folder = Path("/proc", str(guest.machine.leader), "root", "xs")
    guest.machine.run("mkdir", "/xs", check=True)
    with Daemon(kind, folder, programs) as daemon, XapiHost(0, socket=str(daemon.socket)) as host:
        host.make()
        yield host


def start_agent(guest: Guest) -> None:
    guest.machine.write("/agent.toml", CONFIGURATION)
    argv = (
        f"{sys.executable} -I -m guestagent_core run --config /agent.toml --log-file /agent.log --pid-file /agent.pid"
    )
    guest.machine.run("sh", "-c", f"rm -f /agent.pid; {argv} >/dev/null 2>&1 &", check=True)


def kill_agent(guest: Guest) -> None:
    guest.machine.run("sh", "-c", "kill -9 $(cat /agent.pid)", check=True)


def outcome(host: XapiHost, number: int = 0) -> dict[str, str]:
    """Waits until the host's orders are carried out, and returns what stands beside them."""
    until(lambda: not {"enabled", "enabled6"} & set(host.setting(number)), 60)
    return {name: text for name, text in host.setting(number).items() if name.startswith("error")}


FINE = {"error-code": "0", "error-msg": ""}


@pytest.mark.parametrize("tool", TOOLS, ids=[tool.name for tool in TOOLS])
def test_what_the_host_sets_is_applied_and_what_it_takes_back_is_as_before(tool: Tool) -> None:
    with Guest(tool, interfaces=1) as guest, host_of(guest, DAEMONS[0]) as host:
        guest.apply({"mac": lab.mac_of(0), "ips": [{"ip": "10.9.0.5", "netmask": "255.255.255.0", "enabled": "1"}]})
        start_agent(guest)
        host.plug(0, lab.mac_of(0))
        assert outcome(host) == FINE
        assert guest.state()[0] == {"10.9.0.5/24"}, guest.machine.read("/agent.log")
        host.static(0, "10.9.0.10/24", "10.9.0.1")
        assert outcome(host) == FINE
        assert guest.state() == ({"10.9.0.10/24"}, {"default via 10.9.0.1"})
        until(lambda: host.view().networks.get("0/ip") == "10.9.0.10")
        host.static(0, "fd09::10/64", family=6)
        assert outcome(host) == FINE
        assert guest.state() == ({"10.9.0.10/24", "fd09::10/64"}, {"default via 10.9.0.1"})
        with lab.Deletions(guest.machine, "eth0") as deletions:
            host.static(0, "10.9.0.10/24", "10.9.0.1")  # as at every start of the guest
            assert outcome(host) == FINE
        assert deletions.lines == []
        host.none(0)
        assert outcome(host) == FINE
        assert guest.state()[0] == {"10.9.0.5/24", "fd09::10/64"}
        until(lambda: host.view().networks.get("0/ip") == "10.9.0.5")
        host.none(0, family=6)
        assert outcome(host) == FINE
        assert guest.state()[0] == {"10.9.0.5/24"}


@pytest.mark.parametrize("kind", DAEMONS)
def test_what_is_wrong_stands_beside_the_order_and_changes_nothing(kind: str) -> None:
    tool = TOOLS[0]
    with Guest(tool, interfaces=1) as guest, host_of(guest, kind) as host:
        guest.apply({"mac": lab.mac_of(0), "ips": [{"ip": "10.9.0.5", "netmask": "255.255.255.0", "enabled": "1"}]})
        start_agent(guest)
        host.plug(0, lab.mac_of(0))
        assert outcome(host) == FINE
        for address, gateway, word in (
            ("junk", "", "'address' has no prefix"),
            ("10.9.0.300/24", "", "10.9.0.300"),
            ("10.9.0.10/24", "fe80::1", "fe80::1"),
        ):
            host.static(0, address, gateway)
            found = outcome(host)
            assert found["error-code"] not in ("", "0")
            assert word in found["error-msg"]
            assert guest.state()[0] == {"10.9.0.5/24"}
        host.none(0)  # nothing has come of the orders, so there is nothing to take back
        assert outcome(host) == FINE
        assert guest.state()[0] == {"10.9.0.5/24"}
        guest.machine.run("mv", "/usr/sbin/ifup", "/usr/sbin/ifup.real", check=True)
        guest.machine.write("/usr/sbin/ifup", "#!/bin/sh\nexit 0\n", 0o755)  # a tool that lies
        host.static(0, "10.9.0.10/24")
        found = outcome(host)
        assert found["error-code"] == "500"
        assert "eth0" in found["error-msg"]
        assert guest.state()[0] == {"10.9.0.5/24"}


def test_an_agent_that_is_killed_meanwhile_carries_the_order_out_when_it_is_back() -> None:
    with Guest(TOOLS[0], interfaces=1) as guest, host_of(guest, DAEMONS[0]) as host:
        guest.apply({"mac": lab.mac_of(0), "ips": [{"ip": "10.9.0.5", "netmask": "255.255.255.0", "enabled": "1"}]})
        start_agent(guest)
        host.plug(0, lab.mac_of(0))
        assert outcome(host) == FINE
        for number in range(20, 26):
            host.static(0, f"10.9.0.{number}/24")
            guest.machine.run("sleep", f"0.{number - 19}")
            kill_agent(guest)
            start_agent(guest)
            assert outcome(host) == FINE, guest.machine.read("/agent.log")
            assert guest.state()[0] == {f"10.9.0.{number}/24"}
        host.none(0)
        assert outcome(host) == FINE
        assert guest.state()[0] == {"10.9.0.5/24"}
