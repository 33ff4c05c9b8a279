"""What hosts write, and what is understood."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest
from tests.net.models import CARDS, DictStore, nics_of, vectors

from guestagent_commands_net.model import Bond, Change, Dns, Interface, Route, Vlan
from guestagent_commands_net.readers.sources import NoRecordError, read_store, read_value, says_something
from guestagent_core import InvalidArgumentError

RECORD = {
    "label": "public",
    "mac": "BC:76:4E:20:00:40",
    "gateway": "192.0.2.1",
    "ips": [{"ip": "192.0.2.42", "netmask": "255.255.255.0", "enabled": "1"}],
}
PLAIN = Interface(
    "eth0",
    addresses=(ip_interface("192.0.2.42/24"),),
    routes=(Route(ip_network("0.0.0.0/0"), ip_address("192.0.2.1")),),
)

BUGS: dict[str, dict[str, Any]] = {
    "null address gateway overrides gateway6": {"gateway6": "fe80::1"},
    "ipv6 route as nova sends it": {
        "routes": [{"network": "2001:db8:1::", "prefixlen": 48, "gateway": "fe80::1"}],
    },
    "routes null": {"routes": []},
    "route with null gateway": {"routes": []},
    "empty hostname": {"hostname": None},
}
"""The recorded cases in which the original was wrong, and what is right."""


def read(record: dict[str, Any], **more: Any) -> Interface:
    (interface,) = read_value([{**record, **more}], CARDS).interfaces
    return interface


def as_recorded(interface: Interface) -> dict[str, Any]:
    """The original's own form of an interface, without what it keeps but does not use."""
    return {
        "label": interface.label,
        "mac": interface.mac,
        "gateway4": _text(interface.gateway(4)),
        "gateway6": _text(interface.gateway(6)),
        "dns": [str(server) for server in interface.dns.servers],
        "routes": [
            {
                "network": str(route.destination.network_address),
                "prefixlen": route.destination.prefixlen,
                "gateway": _text(route.gateway),
            }
            for route in interface.routes
            if not route.is_default
        ],
        "ip4s": [str(address) for address in interface.addresses_of(4)],
        "ip6s": [str(address) for address in interface.addresses_of(6)],
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def recorded(found: dict[str, Any]) -> dict[str, Any]:
    return {
        **{key: found[key] for key in ("label", "mac", "gateway4", "gateway6", "dns")},
        "routes": [{key: route[key] for key in ("network", "prefixlen", "gateway")} for route in found["routes"]],
        **{key: [f"{address['address']}/{address['prefixlen']}" for address in found[key]] for key in ("ip4s", "ip6s")},
    }


@pytest.mark.parametrize("case", vectors("normalise"), ids=lambda case: case["title"])
def test_records_are_read_as_recorded(case: dict[str, Any]) -> None:
    store, nics = DictStore(case["store"]), nics_of(case["nics"])
    fixed = BUGS.get(case["title"])
    if case["interfaces"] == {}:
        with pytest.raises(NoRecordError):
            read_store(store, nics)
    elif case["error"] is not None and fixed is None:
        with pytest.raises(InvalidArgumentError) as caught:
            read_store(store, nics)
        assert str(caught.value) == case["error"]
    else:
        change = read_store(store, nics)
        fixed = fixed or {}
        assert change.hostname == fixed.get("hostname", "example")
        found = {interface.name: as_recorded(interface) for interface in change.interfaces}
        if case["interfaces"] is not None:
            for name, interface in case["interfaces"].items():
                assert found[name] == {**recorded(interface), **{k: v for k, v in fixed.items() if k != "hostname"}}
            assert found.keys() == case["interfaces"].keys()
        else:
            (only,) = found.values()
            assert {key: only[key] for key in fixed} == fixed


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"ips": [{"ip": "192.0.2.42", "netmask": "255.0.255.0", "enabled": 1}]}, "u'255.0.255.0'"),
        ({"ips": [{"ip": "192.0.2.42", "netmask": 24, "enabled": 1}]}, "24"),
        ({"ips": [{"ip": "192.0.2.42", "netmask": "255.255.255.0", "enabled": "true"}]},
         "Invalid value u'true' for 'enabled' key"),
        ({"ips": None, "ip6s": None}, "No IPs found for interface"),
        ({"ip6s": [{"netmask": 64, "enabled": 1}]}, "Missing 'ip' or 'address' key for IPv6 address"),
        ({"routes": [{"route": "10.0.0.0", "netmask": "255.0.0.0"}]}, "Missing 'gateway' key for route"),
        ({"mac": "00:00:00:00:00:0A"}, "Unknown interface MAC 00:00:00:00:00:0a"),
        ({"ips": [None]}, "'NoneType' object has no attribute 'get'"),
        ({"ips": [{"ip": "10.9.0.999", "netmask": "255.0.0.0", "enabled": 1}]},
         "eth0 (bc:76:4e:20:00:40): 'ips': '10.9.0.999' is not an IPv4 address"),
        ({"gateway": "192.0.2.1\nup reboot"},
         "eth0 (bc:76:4e:20:00:40): gateway: '192.0.2.1\\nup reboot' is not an IPv4 address"),
        ({"gateway": "fe80::1"}, "eth0 (bc:76:4e:20:00:40): gateway: 'fe80::1' is not an IPv4 address"),
        ({"dns": ["$(reboot)"]}, "eth0 (bc:76:4e:20:00:40): 'dns': '$(reboot)' is not an IP address"),
        ({"dns": "192.0.2.2"}, "eth0 (bc:76:4e:20:00:40): 'dns': expected a list"),
        ({"dns_search": ["a;b"]}, "'a;b' is not a domain"),
        ({"mtu": 12}, "eth0: MTU 12 is not in 68-65535"),
        ({"mtu": True}, "eth0 (bc:76:4e:20:00:40): 'mtu': 'True' is not a number"),
        ({"ip6s": [{"ip": "fe80::1%eth0", "netmask": 64, "enabled": 1}]},
         "eth0 (bc:76:4e:20:00:40): 'ip6s': 'fe80::1%eth0' is not an IPv6 address"),
        ({"ip6s": [{"ip": "2001:db8::1", "netmask": 129, "enabled": 1}]},
         "eth0 (bc:76:4e:20:00:40): 'ip6s': '129' is neither the length of a prefix nor a mask of IPv6"),
        ({"ips": [{"ip": "224.0.0.1", "netmask": "255.0.0.0", "enabled": 1}]},
         "eth0: 224.0.0.1/8 cannot be an address of an interface"),
        ({"family": "ipx"}, "eth0 (bc:76:4e:20:00:40): 'family' is 'ipx', not ipv4 or ipv6"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(more: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        read(RECORD, **more)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("more", "gateway"),
    [
        ({"gateway_v6": "fe80::def"}, "fe80::def"),
        ({"gateway6": "fe80::6"}, "fe80::6"),
        ({"gateway_v6": "fe80::def", "gateway6": "fe80::6"}, "fe80::def"),
        ({"gateway_v6": None, "gateway6": "fe80::6"}, "fe80::6"),
        ({}, None),
    ],
)
@pytest.mark.parametrize("own", [None, "", "fe80::1"])
def test_the_ipv6_gateway_is_the_address_own_or_that_of_either_spelling(
    more: dict[str, Any], gateway: str | None, own: str | None
) -> None:
    address = {"ip": "2001:db8::42", "netmask": 64, "enabled": 1, "gateway": own}
    expected = own or gateway
    assert read(RECORD, ip6s=[address], **more).gateway(6) == (ip_address(expected) if expected else None)


def test_routes_may_repeat_the_default_route_and_be_of_both_versions() -> None:
    interface = read(
        RECORD,
        routes=[
            {"route": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"},
            {"route": "10.208.3.4", "netmask": "255.240.0.0", "gateway": "192.0.2.9"},
            {"route": "10.208.0.0", "netmask": "255.240.0.0", "gateway": "192.0.2.9"},
            {"route": "2001:db8:1::", "netmask": "ffff:ffff:ffff::", "gateway": "fe80::1"},
            {"route": "2001:db8:2::", "netmask": "48", "gateway": "2001:db8::5"},
            {"route": "10.0.0.0", "netmask": "255.0.0.0", "gateway": None},
        ],
    )
    assert interface.routes == (
        Route(ip_network("0.0.0.0/0"), ip_address("192.0.2.1")),
        Route(ip_network("10.208.0.0/12"), ip_address("192.0.2.9")),
        Route(ip_network("2001:db8:1::/48"), ip_address("fe80::1")),
        Route(ip_network("2001:db8:2::/48"), ip_address("2001:db8::5"), on_link=True),
    )


def test_a_second_way_to_a_place_stands_behind_the_first() -> None:
    second = {**RECORD, "mac": CARDS[1].mac, "gateway": "192.0.2.9"}
    second["ips"] = [{"ip": "192.0.2.43", "netmask": "255.255.255.0", "enabled": "1"}]
    change = read_value([RECORD, second], CARDS)
    assert [interface.routes[0].metric for interface in change.interfaces] == [None, 2048]


def test_a_gateway_outside_of_every_network_is_on_the_link() -> None:
    assert read(RECORD, gateway="198.51.100.1").routes[0].on_link
    assert not read(RECORD).routes[0].on_link


def test_a_label_is_no_reason_to_fail_and_stays_one_line() -> None:
    for label in ("pub'lic\nauto eth1", "$(reboot)", "x" * 500, 5, "\x00"):
        found = read(RECORD, label=label).label or ""
        assert len(found) <= 64
        assert not set(found) & set("\n'\"$()`;&|<>\\\0#{}[]*?!")


@pytest.mark.parametrize("name", ["a b", "a'b", "a\nb", "-a", "a..b", "x" * 65, "a$b", "a/b", "a_b", "é"])
def test_a_host_name_that_is_none_is_refused(name: str) -> None:
    store = DictStore({"vm-data/networking/A": json.dumps(RECORD), "vm-data/hostname": name})
    with pytest.raises(InvalidArgumentError, match="is not a host name"):
        read_store(store, CARDS)


@pytest.mark.parametrize(
    ("text", "name"),
    [("web\n", "web"), ("  ", None), ("web.example.org", "web.example.org"), ("RESCUE-web", "RESCUE-web")],
)
def test_a_host_name_is_trimmed(text: str, name: str | None) -> None:
    store = DictStore({"vm-data/networking/A": json.dumps(RECORD), "vm-data/hostname": text})
    assert read_store(store, CARDS).hostname == name


def test_no_record_is_no_order_unless_that_is_allowed() -> None:
    store = DictStore({"vm-data/hostname": "web"})
    with pytest.raises(NoRecordError, match=r"No record of a network interface below"):
        read_store(store, CARDS)
    assert read_store(store, CARDS, allow_none=True) == Change((), hostname="web")
    with pytest.raises(NoRecordError):
        read_value([], CARDS)


def test_invalid_json_is_said_in_the_words_that_hosts_know() -> None:
    for text in ("", "{", "nope"):
        with pytest.raises(InvalidArgumentError, match=r"^No JSON object could be decoded$"):
            read_store(DictStore({"vm-data/networking/A": text}), CARDS)


@pytest.mark.parametrize("value", ["", None, "agent", 5, "5", True])
def test_values_that_say_nothing(value: object) -> None:
    assert not says_something(value)


def test_a_change_is_a_whole_set_one_card_or_one_version_of_it() -> None:
    assert read_value([RECORD], CARDS) == Change((PLAIN,))
    assert read_value(json.dumps([RECORD]), CARDS) == Change((PLAIN,))
    assert read_value({"networking": {"A": RECORD}, "hostname": "web"}, CARDS) == Change((PLAIN,), hostname="web")
    assert read_value({"networking": [RECORD], "whole": False}, CARDS) == Change((PLAIN,), whole=False)
    assert read_value(RECORD, CARDS) == Change((PLAIN,), whole=False)
    (only,) = read_value(
        {**RECORD, "family": "ipv4", "ip6s": [{"ip": "2001:db8::1", "netmask": 64, "enabled": 1}]}, CARDS
    ).interfaces
    assert (only.versions, only.addresses, only.routes) == ((4,), PLAIN.addresses, PLAIN.routes)


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [
        (
            {"family": "ipv4", "mode": "static", "address": "192.0.2.42/24", "gateway": "192.0.2.1"},
            {"addresses": PLAIN.addresses, "routes": PLAIN.routes, "versions": (4,)},
        ),
        ({"family": "ipv4", "mode": "dhcp"}, {"dhcp4": True, "versions": (4,)}),
        ({"family": "ipv6", "mode": "dhcp", "dns": ["2001:db8::53"]},
         {"accept_ra": True, "versions": (6,), "dns": Dns((ip_address("2001:db8::53"),))}),
        ({"family": "ipv6", "mode": "none"}, {"versions": (6,)}),
    ],
)  # fmt: skip
def test_a_setting_of_one_version_is_read_and_described(setting: dict[str, Any], wanted: dict[str, Any]) -> None:
    from guestagent_commands_net.readers.family import describe

    change = read_value({**setting, "mac": CARDS[0].mac.upper()}, CARDS)
    assert change == Change((Interface("eth0", **wanted),), whole=False)
    described = describe(change.interfaces[0], CARDS[0].mac, setting["family"])
    assert read_value(json.loads(json.dumps(described)), CARDS) == change


ANSIBLE = {
    "vm-data/networks/0/name": "VM Network", "vm-data/networks/0/mac": CARDS[0].mac,
    "vm-data/networks/0/type": "static",
    "vm-data/networks/0/ip": "192.0.2.42", "vm-data/networks/0/prefix": "24",
    "vm-data/networks/0/netmask": "255.255.255.0",
    "vm-data/networks/0/gateway": "192.0.2.1",
    "vm-data/networks/1/name": "Storage", "vm-data/networks/1/mac": CARDS[1].mac, "vm-data/networks/1/type": "dhcp",
    "vm-data/networks/1/ip": "left over", "vm-data/networks/1/type6": "static", "vm-data/networks/1/ip6": "2001:db8::7",
    "vm-data/networks/1/prefix6": "64", "vm-data/networks/1/gateway6": "",
    "vm-data/networks/2/mac": "00:00:00:00:00:01", "vm-data/networks/2/type": "dhcp",
    "vm-data/networks/3/name": "nothing said", "vm-data/networks/3/mac": CARDS[3].mac,
    "vm-data/networks/4/type6": "none",
}  # fmt: skip


def test_what_ansible_publishes_is_about_the_versions_that_it_names() -> None:
    change = read_store(DictStore(ANSIBLE), CARDS)
    assert change == Change(
        (
            Interface("eth0", addresses=PLAIN.addresses, routes=PLAIN.routes, versions=(4,)),
            Interface("eth1", addresses=(ip_interface("2001:db8::7/64"),), dhcp4=True),
            Interface("eth4", versions=(6,)),
        ),
        whole=False,
    )


NETWORK_DATA = {
    "links": [
        {"id": "tap1", "type": "phy", "ethernet_mac_address": CARDS[0].mac.upper(), "mtu": 1450, "vif_id": "x"},
        {"id": "tap2", "type": "ovs", "ethernet_mac_address": CARDS[1].mac},
        {"id": "tap3", "type": "phy", "ethernet_mac_address": CARDS[2].mac},
        {"id": "b", "type": "bond", "bond_links": ["tap2", "tap3"], "bond_mode": "802.3ad", "bond_miimon": 100,
         "bond_hash_policy": "layer3+4", "ethernet_mac_address": "bc:76:4e:20:00:99"},
        {"id": "v", "type": "vlan", "vlan_link": "b", "vlan_id": 77, "vlan_mac_address": "bc:76:4e:20:00:98"},
    ],
    "networks": [
        {"id": "n0", "link": "tap1", "type": "ipv4", "ip_address": "192.0.2.42", "netmask": "255.255.255.0",
         "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"},
                    {"network": "10.0.0.0", "netmask": "255.0.0.0", "gateway": "192.0.2.9"}],
         "services": [{"type": "dns", "address": "192.0.2.2"}]},
        {"id": "n1", "link": "tap1", "type": "ipv6", "ip_address": "2001:db8::42", "netmask": "ffff:ffff:ffff:ffff::",
         "routes": [{"network": "::", "netmask": "::", "gateway": "fe80::def"}]},
        {"id": "n2", "link": "b", "type": "ipv4_dhcp"},
        {"id": "n3", "link": "v", "type": "ipv6_slaac"},
    ],
    "services": [{"type": "dns", "address": "8.8.8.8"}],
}  # fmt: skip


def test_openstack_network_data() -> None:
    assert read_value(NETWORK_DATA, CARDS) == Change(
        (
            Interface(
                "eth0",
                addresses=(ip_interface("192.0.2.42/24"), ip_interface("2001:db8::42/64")),
                routes=(
                    *PLAIN.routes,
                    Route(ip_network("10.0.0.0/8"), ip_address("192.0.2.9")),
                    Route(ip_network("::/0"), ip_address("fe80::def")),
                ),
                dns=Dns((ip_address("192.0.2.2"),)),
                mtu=1450,
            ),
            Interface("eth1"),
            Interface("eth2"),
            Interface(
                "bond0",
                dhcp4=True,
                link=Bond(("eth1", "eth2"), "802.3ad", (("miimon", "100"), ("xmit_hash_policy", "layer3+4"))),
            ),
            Interface("bond0.77", accept_ra=True, link=Vlan(77, "bond0")),
        )
    )


VERSION_1 = {
    "version": 1,
    "config": [
        {"type": "physical", "name": "nic0", "mac_address": CARDS[0].mac, "mtu": 9000, "subnets": [
            {"type": "static", "address": "192.0.2.42/24", "gateway": "192.0.2.1", "dns_nameservers": "192.0.2.2",
             "dns_search": ["example.org"],
             "routes": [{"network": "10.0.0.0", "netmask": "255.0.0.0", "gateway": "192.0.2.9"}]},
            {"type": "static6", "address": "2001:db8::42", "netmask": 64, "gateway": "fe80::def"}]},
        {"type": "physical", "name": "eth1", "subnets": [{"type": "dhcp"}, {"type": "dhcp6"}]},
        {"type": "physical", "name": "eth2"},
        {"type": "bond", "name": "bond0", "bond_interfaces": ["eth2"], "params": {"bond-mode": 1, "bond_miimon": 50},
         "subnets": [{"type": "manual"}]},
        {"type": "vlan", "name": "nic0.5", "vlan_link": "nic0", "vlan_id": 5, "subnets": [{"type": "ipv6_slaac"}]},
        {"type": "loopback", "name": "lo"},
        {"type": "nameserver", "address": ["192.0.2.3"], "search": ["example.net"]},
        {"type": "route", "destination": "198.51.100.0/24", "gateway": "192.0.2.7", "metric": 5},
    ],
}  # fmt: skip
VERSION_2 = {
    "version": 2,
    "renderer": "networkd",
    "ethernets": {
        "nic0": {
            "match": {"macaddress": CARDS[0].mac}, "set-name": "eth0", "mtu": 9000,
            "addresses": ["192.0.2.42/24", {"2001:db8::42/64": {"lifetime": 0}}], "gateway4": "192.0.2.1",
            "nameservers": {"addresses": ["192.0.2.2"], "search": ["example.org"]},
            "routes": [{"to": "10.0.0.0/8", "via": "192.0.2.9"}, {"to": "default", "via": "fe80::def"},
                       {"to": "198.51.100.0/24", "via": "192.0.2.7", "metric": 5}],
        },
        "eth1": {"dhcp4": True, "dhcp6": "yes", "optional": True},
        "eth2": {},
    },
    "bonds": {"bond0": {"interfaces": ["eth2"], "parameters": {"mode": "active-backup", "mii-monitor-interval": 50}}},
    "vlans": {"nic0.5": {"id": 5, "link": "nic0", "accept-ra": True}},
}  # fmt: skip


@pytest.mark.parametrize("config", [VERSION_1, VERSION_2, {"network": VERSION_2}, {"network": VERSION_1}])
def test_cloud_init_network_config(config: dict[str, Any]) -> None:
    assert read_value(config, CARDS) == Change(
        (
            Interface(
                "eth0",
                addresses=(ip_interface("192.0.2.42/24"), ip_interface("2001:db8::42/64")),
                routes=(
                    *PLAIN.routes,
                    Route(ip_network("10.0.0.0/8"), ip_address("192.0.2.9")),
                    Route(ip_network("198.51.100.0/24"), ip_address("192.0.2.7"), 5),
                    Route(ip_network("::/0"), ip_address("fe80::def")),
                ),
                dns=Dns((ip_address("192.0.2.2"),), ("example.org",)),
                mtu=9000,
            ),
            Interface("eth1", dhcp4=True, dhcp6=True),
            Interface("eth2"),
            *(
                Interface("bond0", link=Bond(("eth2",), "active-backup", (("miimon", "50"),))),
                Interface("nic0.5", accept_ra=True, link=Vlan(5, "eth0")),
            ),
        )
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"version": 2, "bridges": {"br0": {}}}, "network-config: bridges cannot be configured here"),
        ({"version": 2, "ethernets": {"eth9": {}}}, "network-config: eth9: there is no such interface"),
        ({"version": 2, "ethernets": {"eth0": {"routes": [{"to": "10.0.0.0/8", "table": 5}]}}}, "a route with table"),
        ({"version": 2, "bonds": {"b": {"interfaces": ["eth1"], "parameters": {"speed": 5}}}},
         "'speed' is not a parameter"),
        ({"version": 1, "config": [{"type": "bridge", "name": "br0"}]}, "'bridge' cannot be configured here"),
        ({"links": [{"id": "b", "type": "bridge"}], "networks": []}, "a bridge cannot be configured here"),
        ({"links": [], "networks": [{"link": "x"}]}, "network_data: there is no link 'x'"),
        ({"a": 1}, "The value is neither a record"),
               ({"family": "ipv4", "mode": "static", "mac": CARDS[0].mac}, r"eth0 \(.*\): ipv4: 'mode' is static"),
        ({"version": 2, "vlans": {"a;b": {"id": 5, "link": "eth0"}}}, "'a;b' cannot be the name of an interface"),
        ({"version": 2, "vlans": {"v": {"id": 4095, "link": "eth0"}}}, "VLAN 4095 is not in 1-4094"),
    ],
)  # fmt: skip
def test_what_cannot_be_configured_is_said(value: object, text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        read_value(value, CARDS)


def test_members_of_a_bond_carry_no_addresses() -> None:
    with pytest.raises(InvalidArgumentError, match="eth1 is a member of bond0"):
        Change((Interface("eth1", dhcp4=True), Interface("bond0", link=Bond(("eth1",)))))
