"""resetnetwork with the tools of other distributions: the same tests as those of the first three."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.net import lab
from tests.net.scenarios import Guest, Tool
from tests.net.test_tools import (  # noqa: F401  # collected here, for the tools of this file
    test_interfaces_come_and_go_and_the_others_are_not_touched,
    test_one_interface_is_configured_changed_and_left_alone,
    test_what_the_tool_accepts_and_does_not_apply_is_found_out_and_put_back,
)

pytestmark = pytest.mark.real

NETWORKD = Tool(
    "networkd",
    True,
    {"/etc/systemd/network/80-dhcp.network": "[Match]\nName=en*\n\n[Network]\nDHCP=yes\n"},
    "systemctl stop NetworkManager; systemctl mask NetworkManager; systemctl enable --now systemd-networkd",
    "/etc/systemd/network",
    liars=("/usr/bin/networkctl",),
)
IFUPDOWN_NG = Tool(
    "ifupdown-ng",
    False,
    {"/etc/network/interfaces": "# by hand\nauto lo\niface lo inet loopback\n"},
    "for name in ifup ifdown ifquery; do ln -sf ifupdown-ng /usr/sbin/$name; done; ifup -a",
    "/etc/network",
    liars=("/usr/sbin/ifup",),
)
NETCTL = Tool(
    "netctl",
    True,
    {"/etc/netctl/home": "# by hand\nInterface=eth7\nConnection=ethernet\nIP=dhcp\n"},
    # To enable a profile means to bind it to a device of udev, which cannot run here: it would be stopped at once.
    "systemctl stop NetworkManager; systemctl mask NetworkManager; mv /usr/bin/netctl /usr/bin/netctl-itself;"
    """ printf '#!/bin/sh\n[ $1 = reenable ] || exec netctl-itself "$@"\n' > /usr/bin/netctl;"""
    " chmod +x /usr/bin/netctl",
    "/etc/netctl",
    liars=("/usr/bin/netctl",),
)
TOOLS = (NETWORKD, IFUPDOWN_NG, NETCTL)


@pytest.fixture(params=TOOLS, ids=[tool.name for tool in TOOLS])
def guest(request: pytest.FixtureRequest) -> Iterator[Guest]:
    if request.param is NETCTL and not Path(os.environ.get(lab.ROOT_VARIABLE, "/nowhere"), "usr/bin/netctl").exists():
        pytest.skip("The lab has no netctl, which .ci/run puts there")
    with Guest(request.param) as made:
        yield made


def test_an_interface_does_not_listen_to_routers_any_more(guest: Guest) -> None:
    card = {"addresses": ["10.9.0.10/24", "fd09:1::10/64"], "accept-ra": False}
    guest.machine.run("sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=1", check=True)
    guest.machine.write("/wanted.json", json.dumps({"version": 2, "ethernets": {"eth0": card}}))
    arguments = ("-I", "-m", "guestagent_core", "net", "apply", "/wanted.json", "--backend", guest.tool.name)
    done = guest.machine.python(*arguments)
    assert done.returncode == 0, done.stderr + guest.last()
    assert guest.machine.addresses("eth0") == {"10.9.0.10/24", "fd09:1::10/64"}
    assert guest.machine.read("/proc/sys/net/ipv6/conf/eth0/accept_ra") == "0\n"
