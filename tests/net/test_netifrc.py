"""Gentoo's netifrc: what is written to /etc/conf.d/net, and what of it stays."""

from __future__ import annotations

import subprocess
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import ClassVar

import pytest
from tests.net.models import DictStore, files_of, nics_of, vectors

from guestagent_commands_net.backends import FileState, Snapshot
from guestagent_commands_net.model import Bond, Change, Interface, Route, Vlan
from guestagent_commands_net.readers.sources import read_store
from guestagent_commands_net.testing import NetworkBackendContract, apply_changes
from guestagent_commands_net.tools.netifrc import Netifrc

FILE = "/etc/conf.d/net"


class TestContract(NetworkBackendContract):
    files: ClassVar = {
        FILE: """\
# mine
modules="iproute2"
config_eth0="dhcp" # why
dhcpcd_eth0="-t 10"
config_eth9="198.51.100.7/24
  2001:db8:9::7/64"
routes_eth9="10.0.0.0/8 via 198.51.100.1"
preup() {
  echo "$IFACE"
}
""",
    }
    kept: ClassVar = (
        "# mine\n",
        'modules="iproute2"\n',
        "# why\n",
        'dhcpcd_eth0="-t 10"\n',
        'preup() {\n  echo "$IFACE"\n}\n',
    )
    unsupported: ClassVar = frozenset({"ra-on", "ra-off"})

    @pytest.fixture
    def backend(self) -> Netifrc:
        return Netifrc()


class TestContractBeforeOpenrc(TestContract):
    facts: ClassVar = {"style": "legacy"}


@pytest.mark.parametrize("name", ["gentoo-openrc", "gentoo-legacy"])
def test_what_was_recorded_is_configured_again(name: str) -> None:
    for case in vectors(name):
        change = read_store(DictStore(case["store"]), nics_of(case["nics"]))
        before = files_of(case["before"], FILE)
        snapshot = Snapshot(before, {"style": name.removeprefix("gentoo-")})
        after = apply_changes(before, Netifrc().render(change, snapshot))
        ours = {each.name: each for each in Netifrc().read(after)}
        theirs = {each.name: each for each in Netifrc().read(files_of(case["after"], FILE))}
        for interface in change.interfaces:
            assert ours[interface.name] == interface
            found = theirs[interface.name]
            if case["title"] not in WRONG:
                assert found == interface, case["title"]


WRONG = {"default-route-in-routes": "routes through the default gateway are lost"}


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_file_means_the_same_to_a_shell(shell: str, tmp_path: Path) -> None:
    routes = (
        Route(ip_network("0.0.0.0/0"), ip_address("192.0.2.1")),
        Route(ip_network("10.0.0.0/8"), ip_address("192.0.2.9")),
    )
    wanted = Interface("eth0.77", None, "x", (ip_interface("192.0.2.42/24"), ip_interface("2001:db8::42/64")), routes)
    style = {"sh": "openrc", "bash": "legacy"}[shell]
    (change,) = Netifrc().render(Change((wanted,), whole=False), Snapshot(facts={"style": style}))
    (tmp_path / "net").write_bytes(change.content or b"")
    words = '"${config_eth0_77[@]}" "${routes_eth0_77[@]}"' if shell == "bash" else "$config_eth0_77 $routes_eth0_77"
    shown = subprocess.run(
        [shell, "-c", f". {tmp_path}/net; echo {words}"], capture_output=True, text=True, check=True
    ).stdout
    assert shown.split() == [
        "192.0.2.42/24", "2001:db8::42/64", "default", "via", "192.0.2.1", "10.0.0.0/8", "via", "192.0.2.9",
    ]  # fmt: skip


def test_a_new_interface_gets_a_service_and_loses_it_when_that_fails() -> None:
    wanted = Interface("eth0", None, addresses=(ip_interface("192.0.2.42/24"),))
    change = Change((wanted,), whole=False)
    snapshot = Snapshot(facts={"style": "openrc", "services": "eth1"})
    plan = Netifrc().plan(change, snapshot, Netifrc().render(change, snapshot))
    assert [" ".join(step.argv) for step in plan.apply.after] == [
        "ln -s net.lo /etc/init.d/net.eth0", "rc-update add net.eth0 default", "rc-service net.eth0 start",
    ]  # fmt: skip
    assert [" ".join(step.argv) for step in plan.revert.after] == [
        "rc-update del net.eth0 default", "rm -f /etc/init.d/net.eth0",
    ]  # fmt: skip


def test_a_bond_has_each_setting_that_the_kernel_has_a_file_for() -> None:
    options = (("arp_ip_target", "10.0.0.1,10.0.0.2"), ("arp_missed_max", "3"), ("primary_reselect", "failure"))
    wanted = Interface("bond0", None, link=Bond(("eth1", "eth2"), "active-backup", options))
    before = {FILE: FileState(b'primary="mine"\nprimary_bond1="eth7"\n')}
    (change,) = Netifrc().render(Change((wanted,), whole=False), Snapshot(before))
    text = (change.content or b"").decode()
    # netifrc(8) hands the targets to the kernel one by one, and splits them at blanks.
    assert (
        text
        == """\
primary="mine"
primary_bond1="eth7"

config_bond0="null"
slaves_bond0="eth1 eth2"
mode_bond0="active-backup"
arp_ip_target_bond0="10.0.0.1 10.0.0.2"
arp_missed_max_bond0="3"
primary_reselect_bond0="failure"
"""
    )
    after = {FILE: FileState(text.encode())}
    assert {each.name: each for each in Netifrc().read(after)} == {"bond0": wanted}
    (gone,) = Netifrc().render(Change(whole=False, removed=("bond0",)), Snapshot(after))
    assert (gone.content or b"").decode().strip() == 'primary="mine"\nprimary_bond1="eth7"'


def test_a_vlan_that_gets_another_name_or_another_card_leaves_nothing_behind() -> None:
    before = Change((Interface("eth0.7", link=Vlan(7, "eth0")), Interface("san", link=Vlan(8, "eth0"))))
    files = apply_changes({}, Netifrc().render(before, Snapshot()))
    wanted = Change(
        (Interface("lan", link=Vlan(7, "eth0")), Interface("san", link=Vlan(8, "eth1"))), removed=("eth0.7",)
    )
    after = apply_changes(files, Netifrc().render(wanted, Snapshot(files)))
    assert {each.name: each.link for each in Netifrc().read(after)} == {"lan": Vlan(7, "eth0"), "san": Vlan(8, "eth1")}
    assert b'vlans_eth0="7"\n' in after[FILE].content


def test_labels_go_with_their_interfaces() -> None:
    files = {FILE: FileState(b"# mine\n")}
    wanted = Interface("eth0", None, "public", (ip_interface("192.0.2.42/24"),))
    for change in (Change((wanted,), whole=False), Change(whole=False, removed=("eth0",))) * 2:
        files = apply_changes(files, Netifrc().render(change, Snapshot(files)))
    assert files[FILE].content == b"# mine\n"


@pytest.mark.parametrize(
    "line",
    [
        "-net 10.0.0.0 netmask 255.0.0.0 gw 192.0.2.1",
        "-net 10.0.0.0/8 gw 192.0.2.1",
        "-net 10.0.0.0/8 via 192.0.2.1",
        "10.0.0.0 netmask 255.0.0.0 gw 192.0.2.1",
        "10.0.0.0/8 via 192.0.2.1",
    ],
)
def test_routes_are_read_as_people_write_them(line: str) -> None:
    text = f'config_eth0="192.0.2.42/24"\nroutes_eth0="{line}"\n'
    (found,) = Netifrc().read({FILE: FileState(text.encode())})
    assert found.routes == (Route(ip_network("10.0.0.0/8"), ip_address("192.0.2.1")),)


def test_routes_of_other_tables_stay_while_their_gateways_are_reached() -> None:
    text = 'config_eth0="192.0.2.41/24"\nroutes_eth0="\n10.1.0.0/16 via 192.0.2.3\ndefault via 192.0.2.1 table 5"\n'
    files = {FILE: FileState(text.encode())}
    for address, routes in (("192.0.2.42/24", 'routes_eth0="default via 192.0.2.1 table 5"\n'), ("203.0.113.7/24", "")):
        wanted = Interface("eth0", None, None, (ip_interface(address),))
        (change,) = Netifrc().render(Change((wanted,), whole=False), Snapshot(files))
        assert change.content == f'config_eth0="{address}"\n{routes}'.encode()
