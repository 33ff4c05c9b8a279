"""FreeBSD's rc.conf: what is written to it, and what of it stays."""

from __future__ import annotations

import subprocess
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import ClassVar

import pytest
from tests.net.models import DictStore, files_of, nics_of, vectors

from guestagent_commands_net.backends import FileState, Snapshot
from guestagent_commands_net.freebsd import Freebsd
from guestagent_commands_net.model import Change, Dns, Interface, Route
from guestagent_commands_net.readers.sources import read_store
from guestagent_commands_net.testing import NetworkBackendContract, apply_changes

FILE = "/etc/rc.conf"


class TestContract(NetworkBackendContract):
    files: ClassVar = {
        FILE: """\
# mine
hostname="old"
sshd_enable="YES"
ifconfig_eth0="DHCP" # why
ifconfig_eth9="inet 172.16.5.7 netmask 0xffffff00"
ifconfig_eth9_alias0="inet6 2001:db8:9::7/64"
static_routes="lan0"
route_lan0="-net 10.0.0.0 -netmask 255.0.0.0 172.16.5.1"
""",
    }
    kept: ClassVar = ("# mine\n", 'hostname="old"\n', "# why\n", 'sshd_enable="YES"\n', 'static_routes="lan0')
    unsupported: ClassVar = frozenset({"metric", "default-metric", "dhcp6", "bond", "vlan-name"})

    @pytest.fixture
    def backend(self) -> Freebsd:
        return Freebsd()


def test_what_was_recorded_is_configured_again() -> None:
    for case in vectors("freebsd"):
        change = read_store(DictStore(case["store"]), nics_of(case["nics"]))
        before = files_of(case["before"], FILE)
        after = apply_changes(before, Freebsd().render(change, Snapshot(before)))
        ours = {each.name: each for each in Freebsd().read(after)}
        theirs = {each.name: each for each in Freebsd().read(files_of(case["after"], FILE))}
        for interface in change.interfaces:
            assert ours[interface.name] == interface, case["title"]
            if case["title"] != "no-rc-conf":  # which was an error, and is not any more
                found = theirs[interface.name]
                assert (found.addresses, found.routes) == (interface.addresses, interface.routes), case["title"]


OLD = """hostname="old"
# Label stale
ifconfig_xn0="DHCP"
ifconfig_xn0_alias0="inet 10.9.9.9 netmask 255.255.255.255"
defaultrouter="10.9.9.1"
ipv6_network_interfaces="xn5"
static_routes="lan0 vpn"
route_lan0="-net 10.0.0.0 -netmask 255.0.0.0 10.9.9.9"
route_vpn="-net 172.16.0.0/12 -interface tun0"
"""


def rendered(change: Change, text: str = OLD) -> str:
    (found,) = Freebsd().render(change, Snapshot({FILE: FileState(text.encode())}))
    return (found.content or b"").decode()


def test_what_belongs_to_the_interface_goes_and_nothing_else() -> None:
    routes = (
        Route(ip_network("10.1.0.0/16"), ip_address("192.0.2.9")),
        Route(ip_network("::/0"), ip_address("fe80::1")),
    )
    wanted = Interface("xn0", None, "public", (ip_interface("192.0.2.42/24"), ip_interface("2001:db8::42/64")), routes)
    assert (
        rendered(Change((wanted,), whole=False))
        == """hostname="old"
# Label stale
ifconfig_xn0="inet 192.0.2.42 netmask 255.255.255.0 up"
ifconfig_xn0_ipv6="inet6 2001:db8::42 prefixlen 64"
defaultrouter="10.9.9.1"
ipv6_network_interfaces="xn5 xn0"
static_routes="vpn xn0_0"
route_vpn="-net 172.16.0.0/12 -interface tun0"
route_xn0_0="-net 10.1.0.0/16 192.0.2.9"
ipv6_defaultrouter="fe80::1%xn0"
"""
    )
    assert (
        rendered(Change(whole=False, removed=("xn0",)))
        == """hostname="old"
# Label stale
defaultrouter="10.9.9.1"
ipv6_network_interfaces="xn5"
static_routes="vpn"
route_vpn="-net 172.16.0.0/12 -interface tun0"
"""
    )


def test_a_second_default_gateway_is_an_error_as_ever() -> None:
    first = Route(ip_network("0.0.0.0/0"), ip_address("192.0.2.1"))
    second = Route(ip_network("0.0.0.0/0"), ip_address("192.0.2.2"), metric=2048)
    wanted = Interface("xn0", None, addresses=(ip_interface("192.0.2.42/24"),), routes=(first, second))
    with pytest.raises(ValueError, match="Multiple IPv4 default routes specified"):
        rendered(Change((wanted,), whole=False))


def test_the_file_means_the_same_to_a_shell(tmp_path: Path) -> None:
    dns = Dns((ip_address("192.0.2.2"),), ("example.org",))
    wanted = Interface("xn0.77", None, "x", (ip_interface("192.0.2.42/24"),), dns=dns)
    script = tmp_path / "rc.conf"
    script.write_text(rendered(Change((wanted,), whole=False)))
    shown = subprocess.run(
        ["sh", "-c", f'. {script}; echo "$ifconfig_xn0_77|$guestagent_dns_xn0_77|$hostname"'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert shown == "inet 192.0.2.42 netmask 255.255.255.0 up|192.0.2.2|old\n"
