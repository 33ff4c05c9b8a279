"""FreeBSD's rc.conf: what is written to it, and what of it stays."""

from __future__ import annotations

import subprocess
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import ClassVar

import pytest
from tests.net.models import DictStore, files_of, nics_of, vectors

from guestagent_commands_net.backends import FileState, Snapshot
from guestagent_commands_net.model import Bond, Change, Dns, Interface, Route, Vlan
from guestagent_commands_net.readers.sources import read_store
from guestagent_commands_net.testing import NetworkBackendContract, apply_changes
from guestagent_commands_net.tools.freebsd import Freebsd
from guestagent_core import CommandError

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
    unsupported: ClassVar = frozenset({"metric", "default-metric", "dhcp6", "bond"})

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


def test_dhcp_beside_addresses_vlans_of_any_name_and_bonds_are_what_rc_conf_5_has_for_them() -> None:
    """Written as rc.conf(5), ifconfig(8) and lagg(4) describe it."""
    cards = (Interface("xn1"), Interface("xn2"))
    bond = Bond(
        ("xn1", "xn2"), "active-backup", (("primary", "xn2"), ("xmit_hash_policy", "layer3+4"), ("lacp_rate", "fast"))
    )
    wanted = (
        Interface("xn0", None, addresses=(ip_interface("192.0.2.42/24"), ip_interface("192.0.2.43/24")), dhcp4=True),
        *cards,
        Interface("lagg0", None, addresses=(ip_interface("198.51.100.7/25"),), mtu=1400, link=bond),
        Interface("storage", None, addresses=(ip_interface("10.1.2.3/8"),), link=Vlan(77, "lagg0")),
        Interface("xn0.5", None, link=Vlan(5, "xn0")),
    )
    text = rendered(Change(wanted, whole=False), "")
    assert (
        text
        == """\
ifconfig_xn0="DHCP"
ifconfig_xn0_alias0="inet 192.0.2.42 netmask 255.255.255.0"
ifconfig_xn0_alias1="inet 192.0.2.43 netmask 255.255.255.0"
ifconfig_xn1="up"
ifconfig_xn2="up"
ifconfig_lagg0="laggproto failover laggport xn2 laggport xn1 lacp_fast_timeout lagghash l3,l4 inet 198.51.100.7 \
netmask 255.255.255.128 mtu 1400 up"
cloned_interfaces="lagg0"
ifconfig_storage="inet 10.1.2.3 netmask 255.0.0.0 up"
vlans_lagg0="storage"
create_args_storage="vlan 77"
ifconfig_xn0_5="up"
vlans_xn0="5"
"""
    )
    files = {FILE: FileState(text.encode())}
    assert {each.name: each for each in Freebsd().read(files)} == {each.name: each for each in wanted}
    gone = rendered(Change(whole=False, removed=("lagg0", "storage", "xn0.5")), text)
    assert not any(word in gone for word in ("lagg", "vlan", "storage", "cloned"))


def test_a_bond_as_the_handbook_has_it_is_read() -> None:
    text = """\
ifconfig_em0="up"
ifconfig_em1="up"
cloned_interfaces="lagg0:sticky tap3"
ifconfig_lagg0="laggproto lacp laggport em0 laggport em1 10.0.0.3/24"
"""
    (found,) = (each for each in Freebsd().read({FILE: FileState(text.encode())}) if each.name == "lagg0")
    assert found.link == Bond(("em0", "em1"), "802.3ad")
    assert found.addresses == (ip_interface("10.0.0.3/24"),)
    gone = rendered(Change(whole=False, removed=("lagg0",)), text)
    assert 'cloned_interfaces="tap3"\n' in gone
    with pytest.raises(CommandError, match=r"/etc/rc\.conf: lagg0: laggproto none is not known here"):
        Freebsd().read({FILE: FileState(text.replace("lacp", "none").encode())})


def test_what_somebody_has_told_the_card_stays() -> None:
    own = "-tso -lro media 1000baseT ether 02:00:00:00:00:01"
    text = f'ifconfig_xn0="inet 10.9.9.9/24 {own} broadcast 10.9.9.255 mtu 9000"\n'
    (found,) = Freebsd().read({FILE: FileState(text.encode())})
    assert found == Interface("xn0", addresses=(ip_interface("10.9.9.9/24"),), mtu=9000)
    wanted = Interface("xn0", addresses=(ip_interface("192.0.2.42/24"),), mtu=1400)
    changed = rendered(Change((wanted,), whole=False), text)
    assert changed == f'ifconfig_xn0="inet 192.0.2.42 netmask 255.255.255.0 mtu 1400 {own} up"\n'
    assert rendered(Change((Interface("xn0", dhcp4=True, mtu=1400),), whole=False), changed) == (
        f'ifconfig_xn0="DHCP mtu 1400 {own}"\n'
    )


def test_all_forms_of_further_addresses_are_read_and_go() -> None:
    old = """\
ifconfig_xn0_aliases="inet 10.0.0.6/32 inet6 2001:db8::6/64"
ifconfig_xn0="inet 10.0.0.5-7/24 -tso"
ifconfig_xn0_alias0="inet 10.0.1.5-6/32"
ipv4_addrs_xn0="10.0.2.5/24 10.0.2.7-8/28"
"""
    (found,) = Freebsd().read({FILE: FileState(old.encode())})
    assert [str(address) for address in found.addresses] == [
        "10.0.0.5/24", "10.0.0.6/32", "10.0.0.7/32", "10.0.1.5/32", "10.0.1.6/32",
        "10.0.2.5/24", "10.0.2.7/28", "10.0.2.8/32", "2001:db8::6/64",
    ]  # fmt: skip
    wanted = Interface("xn0", None, None, (ip_interface("192.0.2.42/24"),))
    assert (
        rendered(Change((wanted,), whole=False), old)
        == 'ifconfig_xn0="inet 192.0.2.42 netmask 255.255.255.0 -tso up"\n'
    )
    assert rendered(Change(whole=False, removed=("xn0",)), old) == ""


def test_lists_that_are_put_behind_themselves_stay() -> None:
    own = 'static_routes="${static_routes} mine"\nroute_mine="-net 172.16.0.0/12 -interface tun0"\n'
    old = f'ifconfig_xn0="inet 192.0.2.42/24"\nroute_xn0_0="-net 10.0.0.0/8 192.0.2.1"\nstatic_routes="xn0_0"\n{own}'
    assert rendered(Change(whole=False, removed=("xn0",)), old) == own


def test_labels_go_with_their_interfaces() -> None:
    wanted = Interface("xn0", None, "public", (ip_interface("192.0.2.42/24"),))
    text = "# mine\n"
    for change in (Change((wanted,), whole=False), Change(whole=False, removed=("xn0",))) * 2:
        text = rendered(change, text)
    assert text == "# mine\n"


def test_routes_that_are_bound_to_the_interface_go_and_those_by_names_of_hosts_stay() -> None:
    others = 'route_vpn="-net 172.16.0.0/12 gateway.example.org"\nroute_far="-net 10.9.0.0/16 192.0.2.3"\n'
    old = f"""\
ifconfig_xn0="NOAUTO inet 192.0.2.41/24"
ifconfig_xn0_ipv6="inet6 2001:db8::5/64 auto_linklocal"
defaultrouter="router.example.org"
static_routes="lan0:xn0 vpn far:xn1"
route_lan0="-net 10.0.0.0/8 198.51.100.1"
{others}"""
    wanted = Interface("xn0", None, None, (ip_interface("192.0.2.42/24"),))
    assert (
        rendered(Change((wanted,), whole=False), old)
        == f"""\
ifconfig_xn0="inet 192.0.2.42 netmask 255.255.255.0 up"
ifconfig_xn0_ipv6="inet6 auto_linklocal"
defaultrouter="router.example.org"
static_routes="vpn far:xn1"
{others}"""
    )
