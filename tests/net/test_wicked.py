"""SUSE's wicked: what is written to its files, and what of them stays."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import ClassVar

import pytest
from tests.net.models import DictStore, files_of, nics_of, vectors

from guestagent_commands_net.backends import FileState, Snapshot
from guestagent_commands_net.model import Change, Dns, Interface, Route
from guestagent_commands_net.readers.sources import read_store
from guestagent_commands_net.testing import Example, NetworkBackendContract, apply_changes, examples
from guestagent_commands_net.tools.shell_variables import ShellVariables
from guestagent_commands_net.tools.wicked import Wicked

FOLDER = "/etc/sysconfig/network"


class TestContract(NetworkBackendContract):
    files: ClassVar = {
        f"{FOLDER}/ifcfg-lo": "IPADDR='127.0.0.1/8'\nSTARTMODE='nfsroot'\n",
        f"{FOLDER}/ifcfg-eth0": """\
# mine
BOOTPROTO='dhcp'
ZONE='trusted' # why
STARTMODE='auto'
ETHTOOL_OPTIONS='-K x'
""",
        f"{FOLDER}/ifcfg-eth9": "BOOTPROTO='static'\nIPADDR='198.51.100.7/24'\n",
        f"{FOLDER}/ifroute-eth9": "10.0.0.0 198.51.100.1 255.0.0.0 eth9\n",
        f"{FOLDER}/config": """\
# comment
NETCONFIG_DNS_STATIC_SERVERS="198.51.100.53"
NETCONFIG_MODULES_ORDER="dns-resolver"
""",
        f"{FOLDER}/routes": "172.16.0.0/12 198.51.100.9 - -\n",
    }
    kept: ClassVar = ("# mine\n", "ZONE='trusted' # why\n", "ETHTOOL_OPTIONS='-K x'\n", "198.51.100.53",
                      "NETCONFIG_MODULES_ORDER=", "172.16.0.0/12 198.51.100.9 - -\n")  # fmt: skip
    stale: ClassVar = {
        f"{FOLDER}/ifroute-eth0": "10.0.0.0/8 198.51.100.1 - eth0\n",
        f"{FOLDER}/ifsysctl-eth0": "net.ipv6.conf.eth0.accept_ra = 2\n",
    }
    unsupported: ClassVar = frozenset()

    @pytest.fixture
    def backend(self) -> Wicked:
        return Wicked()

    @classmethod
    def states(cls) -> dict[str, FileState]:
        return {path: FileState(text.encode()) for path, text in cls.files.items()}


def test_what_was_recorded_is_configured_again() -> None:
    for case in vectors("suse"):
        change = read_store(DictStore(case["store"]), nics_of(case["nics"]))
        before = files_of(case["before"], FOLDER)
        after = apply_changes(before, Wicked().render(change, Snapshot(before)))
        ours = {each.name: each for each in Wicked().read(after)}
        theirs = {each.name: each for each in Wicked().read(files_of(case["after"], FOLDER))}
        for interface in change.interfaces:
            mine, other = ours[interface.name], theirs.get(interface.name)
            assert (mine.addresses, mine.routes, mine.dns) == (interface.addresses, interface.routes, interface.dns)
            assert other is not None, case["title"]
            assert (other.addresses, other.routes) == (interface.addresses, interface.routes), case["title"]
        config = f"{FOLDER}/config"
        if config in case["after"] and any(interface.dns for interface in change.interfaces):
            # The order of those that come from different interfaces was never fixed.
            ours_sorted, theirs_sorted = (
                sorted(re.split(r"[\s\"]+", text))
                for text in (after[config].content.decode(), case["after"][config]["content"])
            )
            assert ours_sorted == theirs_sorted, case["title"]


def test_name_servers_of_nobody_stay_beside_one_interface_and_go_with_the_whole_set() -> None:
    files = {
        f"{FOLDER}/ifcfg-eth1": FileState(b"BOOTPROTO='static'\nGUESTAGENT_DNS='203.0.113.53'\n"),
        f"{FOLDER}/config": FileState(b'NETCONFIG_DNS_STATIC_SERVERS="198.51.100.53 203.0.113.53"\n'),
    }
    wanted = Interface("eth0", None, addresses=(ip_interface("192.0.2.42/24"),), dns=Dns((ip_address("192.0.2.2"),)))
    for whole, servers in ((False, "198.51.100.53 203.0.113.53 192.0.2.2"), (True, "203.0.113.53 192.0.2.2")):
        after = apply_changes(files, Wicked().render(Change((wanted,), whole=whole), Snapshot(files)))
        assert after[f"{FOLDER}/config"].content.decode() == f'NETCONFIG_DNS_STATIC_SERVERS="{servers}"\n'
        gone = apply_changes(after, Wicked().render(Change(whole=False, removed=("eth0",)), Snapshot(after)))
        assert b"192.0.2.2" not in gone[f"{FOLDER}/config"].content


def test_name_servers_of_an_interface_that_stays_as_it_is_stay() -> None:
    first, second = (
        Interface(f"eth{number}", None, None, (ip_interface(f"192.0.2.4{number}/24"),), (), Dns((ip_address(server),)))
        for number, server in enumerate(("192.0.2.2", "192.0.2.3"))
    )
    files = apply_changes({}, Wicked().render(Change((first, second)), Snapshot()))
    other = replace(second, mtu=1400)
    after = apply_changes(files, Wicked().render(Change((first, other)), Snapshot(files)))
    assert after[f"{FOLDER}/config"].content == b'NETCONFIG_DNS_STATIC_SERVERS="192.0.2.2 192.0.2.3"\n'


@pytest.mark.parametrize("example", examples(), ids=str)
def test_a_shell_reads_the_same_values(example: Example) -> None:
    change = Change((example.interface,), whole=False)
    files = apply_changes(TestContract.states(), Wicked().render(change, Snapshot(TestContract.states())))
    for path, state in files.items():
        if path.rpartition("/")[2].startswith(("ifcfg-", "config")):
            values = ShellVariables(state.content.decode()).values()
            show = "".join(f'printf "%s\\0" "${name}"; ' for name in values)
            argv = ["sh", "-euc", f"{state.content.decode()}\n{show}"]
            said = subprocess.run(argv, capture_output=True, check=True).stdout.decode()
            assert said.split("\0")[:-1] == list(values.values()), path


def test_an_interface_that_is_removed_is_taken_down_with_its_old_files() -> None:
    files = {f"{FOLDER}/ifcfg-{name}": FileState(b"BOOTPROTO='dhcp'\n") for name in ("eth0", "eth1", "eth2")}
    wanted = Interface("eth0", None, addresses=(ip_interface("192.0.2.42/24"),))
    change = Change((wanted,), whole=False, removed=("eth1",))
    plan = Wicked().plan(change, Snapshot(files), Wicked().render(change, Snapshot(files)))
    assert [step.argv for step in plan.apply.before] == [("wicked", "ifdown", "eth1")]
    assert [step.argv for step in plan.apply.after] == [("wicked", "ifreload", "eth0")]
    assert [step.argv for step in plan.revert.after] == [("wicked", "ifreload", name) for name in ("eth0", "eth1")]


def rendered(change: Change, files: dict[str, str]) -> dict[str, str]:
    states = {f"{FOLDER}/{name}": FileState(text.encode()) for name, text in files.items()}
    after = apply_changes(states, Wicked().render(change, Snapshot(states)))
    return {path.removeprefix(f"{FOLDER}/"): state.content.decode() for path, state in after.items()}


WANTED = Interface(
    "eth0", None, None, (ip_interface("192.0.2.42/24"),), (Route(ip_network("0.0.0.0/0"), ip_address("192.0.2.1")),)
)


def test_addresses_as_cloud_init_numbers_them_go() -> None:
    old = "".join(f"{name}\n" for name in ("BOOTPROTO=static", "IPADDR=198.51.100.7", "NETMASK=255.255.255.0",
                                           "IPADDR1=198.51.100.8", "NETMASK1=255.255.255.0", "IPADDR6=2001:db8:9::7/64",
                                           "IPADDR6_1=2001:db8:9::8/64", "LLADDR=bc:76:4e:20:00:40"))  # fmt: skip
    (found,) = Wicked().read({f"{FOLDER}/ifcfg-eth0": FileState(old.encode())})
    assert [str(address) for address in found.addresses] == [
        "198.51.100.7/24", "198.51.100.8/24", "2001:db8:9::7/64", "2001:db8:9::8/64",
    ]  # fmt: skip
    after = rendered(Change((WANTED,), whole=False), {"ifcfg-eth0": old})["ifcfg-eth0"]
    assert not re.search(r"198\.51|2001:db8:9", after)
    assert "LLADDR=bc:76:4e:20:00:40\n" in after


def test_routes_of_the_machine_go_with_the_interface_that_they_lead_through() -> None:
    files = {
        "ifcfg-eth0": "IPADDR='192.0.2.41/24'\n",
        "ifcfg-eth1": "IPADDR='198.51.100.7/24'\n",
        "routes": "# by YaST\ndefault 192.0.2.254 - -\n10.0.0.0/8 203.0.113.1 - eth0\n10.1.0.0/16 198.51.100.1 - -\n",
    }
    after = rendered(Change((WANTED,), whole=False), files)
    assert after["routes"] == "# by YaST\n10.1.0.0/16 198.51.100.1 - -\n"
    assert rendered(Change((WANTED,), whole=False), after) == after
    only6 = Interface("eth0", None, addresses=(ip_interface("2001:db8::42/64"),), versions=(6,))
    assert rendered(Change((only6,), whole=False), files)["routes"] == files["routes"]
    assert rendered(Change(whole=False, removed=("eth0",)), files)["routes"] == after["routes"]
    gone = rendered(Change(whole=False, removed=("eth0",)), {**files, "routes": "default 192.0.2.254 - -\n"})
    assert "routes" not in gone


def test_routes_of_other_tables_stay_while_their_gateways_are_reached() -> None:
    own = "default 192.0.2.1 - eth0 - table 7\n10.0.0.0/8 - - - blackhole\n"
    files = {
        "ifcfg-eth0": "IPADDR='192.0.2.41/24'\n",
        "ifroute-eth0": f"default 192.0.2.254 - eth0\n10.9.0.0/16 192.0.2.3 - eth0 - table 8 src 192.0.2.41\n{own}",
    }
    (found,) = Wicked().read({f"{FOLDER}/{name}": FileState(text.encode()) for name, text in files.items()})
    assert found.routes == (Route(ip_network("0.0.0.0/0"), ip_address("192.0.2.254")),)
    assert rendered(Change((WANTED,), whole=False), files)["ifroute-eth0"] == f"default 192.0.2.1 - eth0\n{own}"
    elsewhere = replace(WANTED, addresses=(ip_interface("203.0.113.7/24"),), routes=())
    after = rendered(Change((elsewhere,), whole=False), files)
    assert "table" not in after["ifroute-eth0"]
