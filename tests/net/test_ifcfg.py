"""Red Hat's ifcfg files: what is written to them, and what of them stays."""

from __future__ import annotations

import subprocess
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import ClassVar

import pytest
from tests.net.live import Connected, Running, plant
from tests.net.models import DictStore, files_of, nics_of, vectors
from tests.net.trees import NM, SCRIPTS

from guestagent_commands_net.backends import FileState, Snapshot
from guestagent_commands_net.model import Change, Dns, Interface, Nic, Route
from guestagent_commands_net.readers.sources import read_store
from guestagent_commands_net.testing import NetworkBackendContract, apply_changes
from guestagent_commands_net.tools.ifcfg import Ifcfg

FOLDER = "/etc/sysconfig/network-scripts"


class TestContract(NetworkBackendContract):
    files: ClassVar = {
        f"{FOLDER}/ifcfg-lo": "DEVICE=lo\nIPADDR=127.0.0.1\nNETMASK=255.0.0.0\nONBOOT=yes\n",
        f"{FOLDER}/ifcfg-eth0": "# mine\nDEVICE=eth0\nBOOTPROTO=dhcp\nZONE=trusted # why\nONBOOT=yes\nPEERDNS=no\n",
        f"{FOLDER}/ifcfg-eth9": 'DEVICE="eth9"\nBOOTPROTO=static\nIPADDR=198.51.100.7\nPREFIX=24\n',
        f"{FOLDER}/route-eth9": "ADDRESS0=10.0.0.0\nNETMASK0=255.0.0.0\nGATEWAY0=198.51.100.1\n",
        f"{FOLDER}/ifcfg-br0": "DEVICE=br0\nTYPE=Bridge\nBOOTPROTO=dhcp\n",
    }
    kept: ClassVar = ("# mine\n", "ZONE=trusted # why\n", "PEERDNS=no\n")
    stale: ClassVar = {
        f"{FOLDER}/ifcfg-eth0:1": "DEVICE=eth0:1\nIPADDR=198.51.100.8\nPREFIX=24\n",
        f"{FOLDER}/route-eth0": "10.0.0.0/8 via 198.51.100.1\n",
        f"{FOLDER}/route6-eth0": "2001:db8:1::/48 via 2001:db8::9 dev eth0\n",
        f"{FOLDER}/route-eth0:1": "ADDRESS0=10.1.0.0\nNETMASK0=255.255.0.0\nGATEWAY0=198.51.100.1\n",
        f"{FOLDER}/rule-eth0": "from 198.51.100.8 table 7\n",
    }

    @pytest.fixture
    def backend(self) -> Ifcfg:
        return Ifcfg()


class TestContractWithManager(TestContract):
    facts: ClassVar = {"manager": "NetworkManager"}


WRONG = {
    "redhat": {
        "dual-2x2": "the second IPv6 address is in the file of an alias, where nothing reads it",
        "ipv6-two": "the same",
        "routes-with-alias": "the file of routes is named after the alias",
    },
    "redhat-py3": dict.fromkeys(
        (
            "default-route-in-routes",
            "disabled-ip",
            "dual-2x2",
            "ipv4-public",
            "ipv6-only",
            "ipv6-two",
            "sysv",
            "three-if",
            "two-if-routes-dns",
        ),
        "it keeps an old PREFIX, IPADDR0 and IPV6ADDR_SECONDARIES beside what it writes",
    )
    | {"old-spelling": "it does not find the record, for its key's case"},
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_what_was_recorded_is_configured_again(name: str) -> None:
    for case in vectors(name):
        change = read_store(DictStore(case["store"]), nics_of(case["nics"]))
        before = files_of(case["before"], FOLDER)
        after = apply_changes(before, Ifcfg().render(change, Snapshot(before, {"manager": "network"})))
        ours = {each.name: _configured(each) for each in Ifcfg().read(after)}
        theirs = {each.name: _configured(each) for each in Ifcfg().read(files_of(case["after"], FOLDER))}
        for interface in change.interfaces:
            assert ours[interface.name] == _configured(interface)
            if case["title"] not in WRONG[name]:
                assert theirs[interface.name] == _configured(interface), case["title"]


def _configured(interface: Interface) -> tuple[object, ...]:
    return interface.addresses, interface.routes, interface.dns


def test_no_key_of_an_address_stays_beside_the_new_ones() -> None:
    old = "DEVICE=eth0\nIPADDR0=1.2.3.4\nPREFIX=24\nIPV6ADDR_SECONDARIES=2001:db8::9\n  INDENTED=1\n"
    files = {f"{FOLDER}/ifcfg-eth0": FileState(old.encode())}
    wanted = Interface("eth0", None, addresses=(ip_interface("192.0.2.42/24"),))
    (change,) = Ifcfg().render(Change((wanted,), whole=False), Snapshot(files, {"manager": "network"}))
    assert change.content is not None
    assert change.content.decode() == (
        "BOOTPROTO=none\nDEVICE=eth0\nIPADDR=192.0.2.42\nNETMASK=255.255.255.0\nONBOOT=yes\nNM_CONTROLLED=no\n"
        "  INDENTED=1\n"
    )


def test_aliases_routes_and_rules_of_the_interface_go_and_no_others() -> None:
    texts = {
        "ifcfg-eth0": "DEVICE=eth0\nIPADDR=198.51.100.7\nPREFIX=24\n",
        "ifcfg-eth0:1": "DEVICE=eth0:1\nIPADDR=198.51.100.8\nPREFIX=24\n",
        "route-eth0": "10.0.0.0/8 via 198.51.100.1\n",
        "route-eth0:1": "ADDRESS0=10.1.0.0\nNETMASK0=255.255.0.0\nGATEWAY0=198.51.100.1\n",
        "rule-eth0": "from 198.51.100.7 table 7\nfrom 10.9.0.0/16 table 9\n",
        "rule6-eth0": "from 2001:db8::7 table 7\n",
        "ifcfg-eth1": "DEVICE=eth1\n",
        "ifcfg-eth1:1": "DEVICE=eth1:1\nIPADDR=203.0.113.8\nPREFIX=24\n",
        "route-eth1": "10.2.0.0/16 via 203.0.113.1\n",
        "rule-eth1": "from 198.51.100.7 table 7\n",
    }
    files = {f"{FOLDER}/{name}": FileState(text.encode()) for name, text in texts.items()}
    wanted = Interface("eth0", None, addresses=(ip_interface("192.0.2.42/24"),))
    after = apply_changes(files, Ifcfg().render(Change((wanted,), whole=False), Snapshot(files)))
    names = {path.rpartition("/")[2] for path in after}
    assert names == texts.keys() - {"ifcfg-eth0:1", "route-eth0", "route-eth0:1"}
    assert after[f"{FOLDER}/rule-eth0"].content == b"from 10.9.0.0/16 table 9\n"
    assert after[f"{FOLDER}/rule6-eth0"] == files[f"{FOLDER}/rule6-eth0"]
    gone = apply_changes(files, Ifcfg().render(Change(whole=False, removed=("eth0",)), Snapshot(files)))
    assert {path.rpartition("/")[2] for path in gone} == {name for name in texts if "eth1" in name}


def test_a_file_is_known_by_the_mac_that_it_names() -> None:
    files = {f"{FOLDER}/ifcfg-Wired_1": FileState(b"HWADDR=BC:76:4E:20:00:42\nBOOTPROTO=dhcp\nZONE=home\n")}
    nic = Nic("ens3", "bc:76:4e:20:00:42")
    wanted = Interface("ens3", nic.mac, addresses=(ip_interface("192.0.2.42/24"),))
    (change,) = Ifcfg().render(Change((wanted,), whole=False), Snapshot(files, {}, (nic,)))
    assert change.path == f"{FOLDER}/ifcfg-Wired_1"
    assert b"ZONE=home\n" in (change.content or b"")
    assert b"DEVICE=ens3\nHWADDR=bc:76:4e:20:00:42\n" in (change.content or b"")


def test_the_file_means_the_same_to_a_shell(tmp_path: Path) -> None:
    wanted = Interface(
        "eth0", "bc:76:4e:20:00:42", "x y", (ip_interface("192.0.2.42/24"),), dns=Dns((), ("a.b", "c.d"))
    )
    before = {f"{FOLDER}/ifcfg-eth0": FileState(b"MINE='a b'\"c\"\n")}
    (change,) = Ifcfg().render(Change((wanted,), whole=False), Snapshot(before))
    script = tmp_path / "ifcfg-eth0"
    script.write_bytes(change.content or b"")
    shown = subprocess.run(
        ["sh", "-c", f'. {script}; echo "$DEVICE|$IPADDR|$NETMASK|$DOMAIN|$MINE"'], capture_output=True, text=True
    ).stdout
    assert shown == "eth0|192.0.2.42|255.255.255.0|a.b c.d|a bc\n"


def test_who_reads_the_files_applies_them() -> None:
    wanted = Interface("eth0", None, addresses=(ip_interface("192.0.2.42/24"),))
    change = Change((wanted,), whole=False, removed=("eth1",))
    files = {f"{FOLDER}/ifcfg-{name}": FileState(f"DEVICE={name}\n".encode()) for name in ("eth0", "eth1", "eth2")}

    def programs(manager: str) -> list[str]:
        snapshot = Snapshot(files, {"manager": manager})
        plan = Ifcfg().plan(change, snapshot, Ifcfg().render(change, snapshot))
        return [" ".join(step.argv) for step in (*plan.apply.before, *plan.apply.after)]

    assert programs("network") == [
        "ifdown eth0", "ip addr flush dev eth0 scope global", "ifdown eth1", "ip addr flush dev eth1 scope global",
        "ifup eth0",
    ]  # fmt: skip
    assert programs("NetworkManager") == [
        "nmcli device disconnect eth1", "nmcli connection reload", f"nmcli connection load {FOLDER}/ifcfg-eth0",
        "nmcli device reapply eth0",
    ]  # fmt: skip


def files_written(wanted: Interface, manager: str, before: dict[str, FileState] | None = None) -> dict[str, str]:
    files = dict(before or {})
    after = apply_changes(files, Ifcfg().render(Change((wanted,), whole=False), Snapshot(files, {"manager": manager})))
    assert Ifcfg().read(after) == (wanted,)
    return {path.removeprefix(f"{FOLDER}/"): state.content.decode() for path, state in after.items()}


BESIDE_DHCP = Interface(
    "eth0",
    addresses=(ip_interface("192.0.2.42/24"), ip_interface("198.51.100.7/25")),
    routes=(Route(ip_network("0.0.0.0/0"), ip_address("192.0.2.1")),),
    dhcp4=True,
)


def test_beside_dhcp_the_scripts_take_addresses_from_aliases_and_gateways_from_the_routes() -> None:
    """ifup-eth has either DHCP or IPADDR and GATEWAY; ifup-aliases and ifup-routes are run after both."""
    found = files_written(BESIDE_DHCP, "network")
    assert found == {
        "ifcfg-eth0": (
            "# Automatically generated, do not edit\nBOOTPROTO=dhcp\nDEVICE=eth0\nONBOOT=yes\nNM_CONTROLLED=no\n"
        ),
        "ifcfg-eth0:0": "DEVICE=eth0:0\nIPADDR=192.0.2.42\nNETMASK=255.255.255.0\nNO_ALIASROUTING=yes\n",
        "ifcfg-eth0:1": "DEVICE=eth0:1\nIPADDR=198.51.100.7\nNETMASK=255.255.255.128\nNO_ALIASROUTING=yes\n",
        "route-eth0": "default via 192.0.2.1 dev eth0\n",
    }
    before = {f"{FOLDER}/{name}": FileState(text.encode()) for name, text in found.items()}
    fixed = Interface("eth0", addresses=BESIDE_DHCP.addresses)
    assert files_written(fixed, "network", before).keys() == {"ifcfg-eth0"}


def test_beside_dhcp_networkmanager_takes_addresses_from_the_file() -> None:
    found = files_written(BESIDE_DHCP, "NetworkManager")
    assert "BOOTPROTO=dhcp\n" in found["ifcfg-eth0"]
    assert "IPADDR=192.0.2.42\n" in found["ifcfg-eth0"]
    assert "GATEWAY=" not in found["ifcfg-eth0"]
    assert found.keys() == {"ifcfg-eth0", "route-eth0"}


@pytest.mark.parametrize(
    ("gateway", "metric", "manager", "variable"),
    [
        ("192.0.2.1", None, "network", True),
        ("192.0.2.1", 7, "network", True),
        ("198.51.100.1", None, "network", False),  # ifup-eth compares it with the first address alone
        ("198.51.100.1", None, "NetworkManager", True),
        ("192.0.2.1", 7, "NetworkManager", False),  # it does not know METRIC
    ],
)
def test_a_gateway_stands_where_who_reads_it_looks(
    gateway: str, metric: int | None, manager: str, variable: bool
) -> None:
    route = Route(ip_network("0.0.0.0/0"), ip_address(gateway), metric)
    found = files_written(Interface("eth0", addresses=BESIDE_DHCP.addresses, routes=(route,)), manager)
    assert (f"GATEWAY={gateway}\n" in found["ifcfg-eth0"]) is variable
    assert ("route-eth0" in found) is not variable


def test_search_domains_stand_with_the_ip_version_that_is_used() -> None:
    wanted = Interface("eth0", addresses=(ip_interface("2001:db8::42/64"),), dns=Dns((), ("example.org",)))
    assert "\nDOMAIN=example.org\n" in files_written(wanted, "network")["ifcfg-eth0"]
    assert "\nIPV6_DOMAIN=example.org\n" in files_written(wanted, "NetworkManager")["ifcfg-eth0"]


def test_each_interface_is_applied_by_who_reads_its_file(tmp_path: Path) -> None:
    """One that is kept from NetworkManager is the scripts' although NetworkManager runs, and only that one."""
    files = {
        **NM,
        **SCRIPTS,
        "/usr/lib64/NetworkManager/1.40.16-13.el8/libnm-settings-plugin-ifcfg-rh.so": "",
        f"{FOLDER}/ifcfg-eth0": "DEVICE=eth0\nNM_CONTROLLED=no\n",
        f"{FOLDER}/ifcfg-eth1": "DEVICE=eth1\n",
        f"{FOLDER}/ifcfg-eth2": "DEVICE=eth2\n",
    }
    states = {
        "eth0": "unmanaged",
        "eth1": "connected",
        "eth2": "unmanaged",
        "eth3": "disconnected",
        "eth4": "unmanaged",
    }
    running = Running(("NetworkManager",), {name: Connected(state, name) for name, state in states.items()})
    nics = tuple(Nic(name, f"02:00:00:00:00:0{name[3]}") for name in states)
    snapshot = Ifcfg().gather(plant(tmp_path, files, running), nics)
    wanted = tuple(Interface(name, addresses=(ip_interface(f"192.0.2.1{name[3]}/24"),)) for name in states)
    change = Change(wanted, whole=False)
    changes = Ifcfg().render(change, snapshot)
    plan = Ifcfg().plan(change, snapshot, changes)
    ups = [step.argv[-1] for step in plan.apply.after if step.argv[0] == "ifup"]
    applies = [step.argv[-1] for step in plan.apply.after if step.argv[:3] == ("nmcli", "device", "reapply")]
    assert (ups, applies) == (["eth0", "eth2", "eth4"], ["eth1", "eth3"])
    kept = [each.path[-4:] for each in changes if b"NM_CONTROLLED=no" in (each.content or b"")]
    assert kept == ["eth0", "eth2", "eth4"]


def test_of_two_files_of_a_card_that_one_is_changed_by_which_it_is_connected(tmp_path: Path) -> None:
    files = {
        **NM,
        "/usr/lib64/NetworkManager/1.40.16-13.el8/libnm-settings-plugin-ifcfg-rh.so": "",
        f"{FOLDER}/ifcfg-eth0": "DEVICE=eth0\nBOOTPROTO=dhcp\n",
        f"{FOLDER}/ifcfg-Wired_1": "HWADDR=02:00:00:00:00:01\nBOOTPROTO=dhcp\n",
        f"{FOLDER}/ifcfg-eth1": "DEVICE=eth1\n",
    }
    nic = Nic("eth0", "02:00:00:00:00:01")
    wanted = Change((Interface("eth0", addresses=(ip_interface("192.0.2.1/24"),)),), whole=False)
    for number, (state, chosen) in enumerate((("connected", "Wired_1"), ("disconnected", "eth0"))):
        connected = Connected(state, "a", "Wired 1", f"{FOLDER}/ifcfg-Wired_1")
        context = plant(tmp_path / str(number), files, Running(("NetworkManager",), {"eth0": connected}))
        snapshot = Ifcfg().gather(context, (nic,))
        assert [each.path for each in Ifcfg().render(wanted, snapshot)] == [f"{FOLDER}/ifcfg-{chosen}"]


def test_routes_of_other_tables_stay_while_their_gateways_are_reached() -> None:
    own = "default via 192.0.2.1 dev eth0 table 7\nblackhole 10.66.0.0/16\n"
    files = {
        f"{FOLDER}/ifcfg-eth0": FileState(b"DEVICE=eth0\nIPADDR=192.0.2.41\nPREFIX=24\n"),
        f"{FOLDER}/route-eth0": FileState(f"10.9.0.0/16 via 192.0.2.3\n{own}".encode()),
    }
    address, more = ip_interface("192.0.2.42/24"), Route(ip_network("10.0.0.0/8"), ip_address("192.0.2.9"))
    for new, expected in (
        (Interface("eth0", None, None, (address,)), own),
        (Interface("eth0", None, None, (address,), (more,)), f"10.0.0.0/8 via 192.0.2.9 dev eth0\n{own}"),
        (Interface("eth0", None, None, (ip_interface("203.0.113.7/24"),)), "blackhole 10.66.0.0/16\n"),
    ):
        changes = Ifcfg().render(Change((new,), whole=False), Snapshot(files, {"manager": "network"}))
        after = apply_changes(files, changes)
        assert after[f"{FOLDER}/route-eth0"].content.decode() == expected
        assert Ifcfg().read(after) == (new,)


def test_a_range_of_aliases_is_read_and_goes() -> None:
    files = {
        f"{FOLDER}/ifcfg-{name}": FileState(text)
        for name, text in {
            "eth0": b"DEVICE=eth0\nIPADDR=198.51.100.7\nPREFIX=24\n",
            "eth0-range0": b"IPADDR_START=198.51.100.10\nIPADDR_END=198.51.100.12\nPREFIX=32\nCLONENUM_START=0\n",
            "eth1-range0": b"IPADDR_START=198.51.100.20\nIPADDR_END=198.51.100.22\nPREFIX=32\nCLONENUM_START=0\n",
        }.items()
    }
    (found,) = Ifcfg().read(files)
    assert [str(address) for address in found.addresses] == [
        "198.51.100.7/24", "198.51.100.10/32", "198.51.100.11/32", "198.51.100.12/32",
    ]  # fmt: skip
    wanted = Interface("eth0", None, None, (ip_interface("192.0.2.42/24"),))
    for change in (Change((wanted,), whole=False), Change(whole=False, removed=("eth0",))):
        after = apply_changes(files, Ifcfg().render(change, Snapshot(files, {"manager": "network"})))
        assert after.keys() - {f"{FOLDER}/ifcfg-eth0"} == {f"{FOLDER}/ifcfg-eth1-range0"}


def test_no_second_file_brings_old_addresses_back_at_boot() -> None:
    files = {
        f"{FOLDER}/ifcfg-eth0": FileState(b"DEVICE=eth0\nIPADDR=198.51.100.7\nPREFIX=24\nONBOOT=yes\n"),
        f"{FOLDER}/ifcfg-System_eth0": FileState(b"DEVICE=eth0\nIPADDR=198.51.100.8\nPREFIX=24\nONBOOT=yes\n"),
        f"{FOLDER}/ifcfg-spare": FileState(b"DEVICE=eth0\nIPADDR=198.51.100.9\nPREFIX=24\nONBOOT=no\n"),
        f"{FOLDER}/ifcfg-eth1": FileState(b"DEVICE=eth1\nIPADDR=198.51.100.10\nPREFIX=24\nONBOOT=yes\n"),
    }
    wanted = Interface("eth0", None, None, (ip_interface("192.0.2.42/24"),))
    for change, gone in (
        (Change((wanted,), whole=False), {"System_eth0"}),
        (Change(whole=False, removed=("eth0",)), {"System_eth0", "eth0", "spare"}),
    ):
        after = apply_changes(files, Ifcfg().render(change, Snapshot(files, {"manager": "network"})))
        assert files.keys() - after.keys() == {f"{FOLDER}/ifcfg-{name}" for name in gone}
    after = apply_changes(
        files, Ifcfg().render(Change((wanted,), whole=False), Snapshot(files, {"manager": "NetworkManager"}))
    )
    assert files.keys() == after.keys(), "NetworkManager has several profiles of a card"
