"""Files that cannot be understood: a reset replaces them, and what is wrong with others is no matter of its own."""

from __future__ import annotations

import time
from dataclasses import replace
from ipaddress import ip_interface
from pathlib import Path

import pytest
from tests.net.models import CARDS

from guestagent_commands_net.model import Change, Interface
from guestagent_commands_net.planning import plan
from guestagent_commands_net.transaction.record import Folder
from guestagent_core import Context
from guestagent_core.errors import CommandError

SCRIPTS = "/etc/sysconfig/network-scripts"
NETWORKD = "/etc/systemd/network"
FILES = {
    "ifupdown": {"/etc/network/interfaces": "iface {} inet static\n    address {}\n"},
    "netctl": {"/etc/netctl/{}": "Interface={}\nConnection=ethernet\nIP=static\nAddress=('{}/24')\n"},
    "networkd": {f"{NETWORKD}/10-{{}}.network": "[Match]\nName={}\n[Network]\nAddress={}/24\n[Route]\nGateway=x\n"},
    "ifcfg": {f"{SCRIPTS}/ifcfg-{{}}": "DEVICE={}\nIPADDR={}\nNETMASK=255.255.255.0\n"},
    "wicked": {"/etc/sysconfig/network/ifcfg-{}": "# {}\nIPADDR={}/24\n"},
    "netifrc": {"/etc/conf.d/net": 'config_{}="{}/24"\n'},
    "freebsd": {"/etc/rc.conf": 'ifconfig_{}="inet {} netmask 0xffffff00"\n'},
}
PROGRAMS = ("/sbin/ifup", "/usr/bin/netctl", "/usr/bin/networkctl", "/usr/sbin/wicked", "/etc/init.d/net.lo",
            "/etc/rc.d/netif")  # fmt: skip
WANTED = Interface("eth0", CARDS[0].mac, None, (ip_interface("192.0.2.42/24"),))


def planned(root: Path, backend: str, change: Change) -> dict[str, bytes | None]:
    found = plan(change, Context(root=root), Folder(root / "state"), until=time.monotonic() + 30, backend=backend)
    return {} if found.record is None else {entry.path: entry.after for entry in found.record.files}


def put(root: Path, path: str, text: str) -> None:
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("a") as file:
        file.write(text)


@pytest.mark.parametrize("backend", FILES)
@pytest.mark.parametrize("name", ["eth0", "eth7"])
def test_what_is_wrong_with_a_file_does_not_keep_an_interface_from_being_reset(
    tmp_path: Path, backend: str, name: str
) -> None:
    for path in PROGRAMS:
        put(tmp_path, path, "")
        (tmp_path / path.lstrip("/")).chmod(0o755)
    put(tmp_path, "/sys/class/net/eth0/address", f"{CARDS[0].mac}\n")
    for path, text in FILES[backend].items():
        put(tmp_path, path.format(name), text.format(name, "198.51.100.777"))
    changes = planned(tmp_path, backend, Change((WANTED,), whole=False))
    everything = b"".join(content or b"" for content in changes.values())
    assert b"192.0.2.42" in everything
    left = [path for path in changes if (tmp_path / path.lstrip("/")).exists()]
    assert (b"198.51.100.777" in everything) == (name == "eth7" and bool(left)), "that of another stays"
    partial = Change((replace(WANTED, versions=(4,)),), whole=False)
    if name == "eth0":
        with pytest.raises(CommandError, match=r"198\.51\.100\.777"):
            planned(tmp_path, backend, partial)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Wired_connection_1", "TYPE=Ethernet\nBOOTPROTO=dhcp\nNAME='Wired connection 1'\n"),
        ("ib0", "DEVICE=ib0\nHWADDR=80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:1b:5c:01\n"),
    ],
)
def test_files_that_are_for_no_card_of_ours_are_no_error(tmp_path: Path, name: str, text: str) -> None:
    put(tmp_path, "/sys/class/net/eth0/address", f"{CARDS[0].mac}\n")
    put(tmp_path, f"{SCRIPTS}/ifcfg-{name}", text)
    assert list(planned(tmp_path, "ifcfg", Change((WANTED,), whole=False))) == [f"{SCRIPTS}/ifcfg-eth0"]
