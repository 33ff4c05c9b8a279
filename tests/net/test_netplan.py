"""netplan: what is written to its files, and what of others stays."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from hypothesis import given
from tests.net.models import CARDS, QUICK, DictStore, changes, nics_of, vectors

from guestagent_commands_net.backends import Claim, FileState, Snapshot
from guestagent_commands_net.model import Change, Interface, Nic, Route, merge
from guestagent_commands_net.readers.sources import read_store
from guestagent_commands_net.testing import NetworkBackendContract, apply_changes
from guestagent_commands_net.tools.netplan import Netplan
from guestagent_commands_net.tools.netplan_files import merged, parse, without_entries
from guestagent_core import CommandError, Context

OWN = "/etc/netplan/90-guestagent.yaml"
BACKEND = Netplan()
NICS = (Nic("eth0", "bc:76:4e:20:00:42"), *CARDS[3:])

CLOUD = """\
# This file is generated from information provided by the datasource.
network:
    version: 2
    ethernets:
        # the first card
        eth0:
            dhcp4: true
            optional: true
            match:
                macaddress: bc:76:4e:20:00:42
            set-name: eth0
            nameservers:
                addresses: [192.0.2.77]
        # the second one
        eth5:
            dhcp4: true    # by hand
            wakeonlan: true
        eth6:
            match: {macaddress: 52:54:00:12:34:56}
            addresses: [10.1.2.3/8]
    bridges:
        br0: {interfaces: [eth9], dhcp4: no}
"""
OTHER = """\
network:
  renderer: networkd
  ethernets:
    eth0:
      mtu: 1400
      routes:
      - {to: 10.0.0.0/8, via: 10.0.0.1, metric: 5}
  vlans:
    eth5.9: {id: 9, link: eth5}
"""


def rendered(change: Change, files: dict[str, str], nics: tuple[Nic, ...] = ()) -> dict[str, str | None]:
    states = {path: FileState(text.encode()) for path, text in files.items()}
    found = BACKEND.render(change, Snapshot(states, {}, nics))
    return {each.path: None if each.content is None else each.content.decode() for each in found}


@pytest.mark.parametrize("case", vectors("netplan"), ids=lambda case: case["title"])
def test_what_was_recorded_is_configured_again(case: dict[str, Any]) -> None:
    nics = nics_of(case["nics"])
    change = read_store(DictStore(case["store"]), nics)
    files = {path: text if isinstance(text, str) else text["content"] for path, text in case["before"].items()}
    files = {path: text for path, text in files.items() if path.startswith("/etc/netplan/")}
    found = rendered(change, files, nics)
    ours = yaml.safe_load(found[OWN] or "")["network"]
    assert ours["version"] == 2
    (theirs_text,) = [
        each["content"] for path, each in case["after"].items() if path == "/etc/netplan/rackspace-cloud.yaml"
    ] or [None]
    for interface in change.interfaces:
        assert interface in BACKEND.read({OWN: FileState((found[OWN] or "").encode())}, nics)
        if theirs_text is not None and case["title"] not in ("disabled-ip", "bare", "old-spelling"):
            theirs = theirs_text.replace("gateway6: null", "dhcp6: false")
            (read,) = [
                each for each in BACKEND.read({OWN: FileState(theirs.encode())}, nics) if each.name == interface.name
            ]
            assert read == interface
        assert "gateway4" not in ours["ethernets"][interface.name]
    assert "/etc/netplan/01-netcfg.yaml" not in found


def test_an_interface_moves_to_our_file_with_what_is_not_about_addresses() -> None:
    wanted = Interface("eth0", CARDS[0].mac, addresses=(ip_interface("192.0.2.42/24"),))
    nics = (Nic("eth0", "bc:76:4e:20:00:42"), Nic("ens7", "52:54:00:12:34:56"))
    files = {"/etc/netplan/50-cloud-init.yaml": CLOUD, "/etc/netplan/60-more.yaml": OTHER}
    found = rendered(Change((wanted,), whole=False), files, nics)
    assert found["/etc/netplan/50-cloud-init.yaml"] == CLOUD.replace(
        CLOUD[CLOUD.index("        eth0:") : CLOUD.index("        # the second")], ""
    )
    assert (
        found["/etc/netplan/60-more.yaml"]
        == "network:\n  renderer: networkd\n  vlans:\n    eth5.9: {id: 9, link: eth5}\n"
    )
    assert yaml.safe_load(found[OWN] or "") == {
        "network": {
            "version": 2,
            "ethernets": {
                "eth0": {
                    "addresses": ["192.0.2.42/24"],
                    "dhcp4": False,
                    "dhcp6": False,
                    "match": {"macaddress": "bc:76:4e:20:00:42"},
                    "mtu": 1400,
                    "optional": True,
                    "set-name": "eth0",
                }
            },
        }
    }
    assert [each.mode for each in BACKEND.render(Change((wanted,)), Snapshot()) if each.path == OWN] == [0o600]


def test_a_pattern_that_fits_the_card_does_not_win() -> None:
    pattern = "network: {version: 2, ethernets: {all-eth: {match: {name: eth*}, dhcp4: true}}}"
    files = {"/etc/netplan/90-default.yaml": pattern}
    found = rendered(Change((Interface("eth0", dhcp4=True),), whole=False), files, CARDS)
    assert list(found) == [OWN]
    (identifier,) = yaml.safe_load(found[OWN] or "")["network"]["ethernets"]
    assert identifier < "all-eth"
    assert yaml.safe_load(found[OWN] or "")["network"]["ethernets"][identifier]["match"] == {"name": "eth0"}
    again = {**files, OWN: found[OWN] or ""}
    assert rendered(Change((Interface("eth0", dhcp4=True),), whole=False), again, CARDS) == {}


def test_a_removed_card_that_a_pattern_fits_gets_nothing_by_it() -> None:
    files = {"/etc/netplan/90-default.yaml": "network: {ethernets: {all-eth: {match: {name: eth*}, dhcp4: true}}}\n"}
    change = Change((), removed=("eth0",), whole=False)
    found = rendered(change, files, CARDS)
    assert list(found) == [OWN]
    assert BACKEND.read({OWN: FileState((found[OWN] or "").encode())}, CARDS) == (Interface("eth0"),)
    assert rendered(change, {**files, OWN: found[OWN] or ""}, CARDS) == {}
    again = rendered(Change((Interface("eth0", dhcp4=True),), whole=False), {**files, OWN: found[OWN] or ""}, CARDS)
    assert BACKEND.read({OWN: FileState((again[OWN] or "").encode())}, CARDS) == (Interface("eth0", dhcp4=True),)


def test_a_file_of_another_folder_is_shadowed_and_not_written() -> None:
    path = "/run/netplan/eth0.yaml"
    found = rendered(Change((Interface("eth0"),)), {path: "network: {ethernets: {eth0: {dhcp4: true}}}\n"}, CARDS)
    assert set(found) == {OWN, "/etc/netplan/eth0.yaml"}
    assert "eth0" not in (found["/etc/netplan/eth0.yaml"] or "")


def test_ids_are_what_devices_refer_to() -> None:
    from guestagent_commands_net.model import Bond, Vlan

    text = "network: {ethernets: {nic0: {match: {macaddress: 'bc:76:4e:20:00:40'}}, nic1: {match: {name: eth1}}}}"
    change = Change(
        (
            Interface("eth1"),
            Interface("bond0", link=Bond(("eth1",))),
            Interface("v", dhcp4=True, link=Vlan(5, "eth0")),
        ),
        whole=False,
    )
    found = rendered(change, {"/etc/netplan/a.yaml": text}, CARDS)
    network = yaml.safe_load(found[OWN] or "")["network"]
    assert network["vlans"]["v"]["link"] == "nic0"
    assert network["bonds"]["bond0"]["interfaces"] == ["nic1"]
    files = {path: FileState((each or "").encode()) for path, each in {"/etc/netplan/a.yaml": text, **found}.items()}
    names = {each.name: each for each in BACKEND.read(files, CARDS)}
    assert names["v"].link == Vlan(5, "eth0")
    assert names["bond0"].link == Bond(("eth1",))


@QUICK
@given(change=changes())
def test_what_is_written_is_read_back(change: Change) -> None:
    before = {"/etc/netplan/50-cloud-init.yaml": FileState(CLOUD.encode())}
    old = {each.name: each for each in BACKEND.read(before, NICS)}
    files = apply_changes(before, BACKEND.render(change, Snapshot(before, {}, NICS)))
    found = {each.name: each for each in BACKEND.read(files, NICS)}
    for interface in change.interfaces:
        assert found[interface.name] == merge(old.get(interface.name), interface)
    assert BACKEND.render(change, Snapshot(files, {}, NICS)) == ()


@pytest.mark.parametrize("entries", [{"eth0"}, {"eth5"}, {"eth6"}, {"eth0", "eth5"}, {"eth0", "eth5", "eth6"}])
def test_only_the_lines_of_an_entry_are_cut_out(entries: set[str]) -> None:
    cut = without_entries("f", CLOUD, {("ethernets", each) for each in entries})
    assert set(parse("f", cut).get("ethernets", {})) == {"eth0", "eth5", "eth6"} - entries
    assert set(cut.splitlines()) <= set(CLOUD.splitlines())
    assert "# This file is generated" in cut
    assert "bridges:" in cut


@pytest.mark.parametrize(
    "text",
    [
        "{network: {version: 2, ethernets: {eth0: {dhcp4: true}, eth1: {dhcp4: true}}}}",
        "network:\n  ethernets: {eth0: {dhcp4: true},\n    eth1: {dhcp4: true}}\n  version: 2",
        "network:\n  ethernets:\n    eth0: &a\n      dhcp4: true\n    eth1: *a\n  version: 2\n",
        "network:\n  version: 2\n  ethernets:\n    eth1:\n      dhcp4: true\n    eth0:\n      match:\n        name: x",
        "network:\n  version: 2\n  ethernets:\n    eth1: {dhcp4: true}\n    eth0: {}",
    ],
)
def test_however_a_file_is_written_the_entry_goes_and_the_rest_stays(text: str) -> None:
    cut = parse("f", without_entries("f", text, {("ethernets", "eth0")}))
    assert cut == {"version": 2, "ethernets": {"eth1": {"dhcp4": True}}}


def test_files_are_merged_as_netplan_does() -> None:
    assert merged([{"a": {"x": [1], "y": 1}}, {"a": {"x": [2], "y": 2}, "b": None}]) == {
        "a": {"x": [1, 2], "y": 2},
        "b": None,
    }


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("network:\n  ethernets: [\n", "/etc/netplan/a.yaml:"),
        ("network: 5\n", "/etc/netplan/a.yaml: expected a mapping"),
        ("network: {ethernets: 5}\n", "/etc/netplan/a.yaml: ethernets: expected a mapping"),
        ("network: {ethernets: {eth0: {addresses: [5]}}}\n", "netplan: eth0: 'addresses'"),
    ],
)
def test_a_file_that_cannot_be_understood_is_named(text: str, error: str) -> None:
    with pytest.raises(CommandError, match=error):
        BACKEND.read({"/etc/netplan/a.yaml": FileState(text.encode())})


def test_the_plan_reloads_and_does_not_apply() -> None:
    change = Change((Interface("eth0", dhcp4=True),), removed=("eth5",), whole=False)
    files = {"/etc/netplan/50-cloud-init.yaml": FileState(CLOUD.encode())}
    snapshot = Snapshot(files, {"networkd": "active"}, NICS)
    plan = BACKEND.plan(change, snapshot, BACKEND.render(change, snapshot))

    def argvs(steps: Any) -> list[str]:
        return [" ".join(step.argv) for step in steps]

    assert argvs(plan.apply.after) == [
        "netplan generate", "networkctl reload", "ip addr flush dev eth5 scope global", "ip link set dev eth5 down",
    ]  # fmt: skip
    assert argvs(plan.apply.harder) == ["networkctl reconfigure eth0"]
    assert argvs(plan.revert.after) == ["netplan generate", "networkctl reload"]
    assert argvs(BACKEND.validate(change, files, "/staged")) == ["netplan generate --root-dir /staged"]
    managed = Snapshot({"/etc/netplan/a.yaml": FileState(b"network: {renderer: NetworkManager}\n")}, {}, NICS)
    plan = BACKEND.plan(change.only(["eth0"]), managed, BACKEND.render(change.only(["eth0"]), managed))
    assert argvs(plan.apply.after) == ["netplan generate", "nmcli connection reload", "nmcli device reapply eth0"]
    assert argvs(plan.apply.harder) == ["nmcli connection up netplan-eth0 ifname eth0"]


def test_what_it_holds(tmp_path: Path) -> None:
    place = tmp_path / "etc/netplan/a.yaml"
    place.parent.mkdir(parents=True)
    place.write_text(CLOUD)
    context = Context(root=tmp_path)
    assert BACKEND.probe(context, CARDS) == {}
    tool = tmp_path / "usr/sbin/netplan"
    tool.parent.mkdir(parents=True)
    tool.touch(0o755)
    nics = (Nic("eth5", CARDS[0].mac), Nic("eth7", CARDS[1].mac))
    assert {name: evidence.claim for name, evidence in BACKEND.probe(context, nics).items()} == {"eth5": Claim.UNUSED}
    (tmp_path / "usr/sbin/networkctl").touch(0o755)
    found = BACKEND.probe(context, nics)
    assert {name: evidence.claim for name, evidence in found.items()} == {"eth5": Claim.CONFIGURED, "eth7": Claim.COULD}


def test_routes_of_other_tables_are_no_error_and_stay_where_they_lead_somewhere() -> None:
    policy = "routes: [{to: 0.0.0.0/0, via: 192.0.2.9, table: 101}, {to: 0.0.0.0/0, via: 10.0.0.1, table: 102}]"
    text = f"network: {{ethernets: {{eth0: {{addresses: [10.0.0.2/24], {policy}}}, eth1: {{{policy}}}}}}}\n"
    wanted = Interface("eth0", addresses=(ip_interface("192.0.2.42/24"),))
    change = Change((wanted,), whole=False)
    snapshot = Snapshot({"/etc/netplan/a.yaml": FileState(text.encode())}, {}, NICS)
    assert BACKEND.read(snapshot.files, NICS)[0].routes == ()
    found = BACKEND.render(change, snapshot)
    (own,) = [yaml.safe_load(each.content or b"") for each in found if each.path == OWN]
    assert own["network"]["ethernets"]["eth0"]["routes"] == [{"to": "0.0.0.0/0", "via": "192.0.2.9", "table": 101}]
    assert BACKEND.plan(change, snapshot, found).apply.after  # it reads all of the files too


def test_a_route_from_an_address_gives_way_to_one_of_the_host_to_the_same_network() -> None:
    addresses = "addresses: [192.0.2.42/24], routes: [{to: default, via: 192.0.2.9, from: 192.0.2.42}]"
    files = {"/etc/netplan/a.yaml": f"network: {{ethernets: {{eth0: {{{addresses}}}}}}}\n"}
    wanted = Interface("eth0", addresses=(ip_interface("192.0.2.42/24"),))
    for routes, via in ((), "192.0.2.9"), ((Route(ip_network("0.0.0.0/0"), ip_address("192.0.2.1")),), "192.0.2.1"):
        found = rendered(Change((replace(wanted, routes=routes, mtu=1400),), whole=False), files, NICS)
        definition = yaml.safe_load(found[OWN] or "")["network"]["ethernets"]["eth0"]
        assert [route["via"] for route in definition["routes"]] == [via]


def test_what_is_wrong_with_another_interface_does_not_hinder() -> None:
    text = "network: {ethernets: {eth1: {gateway4: 10.0.0.1, routes: [{to: default, via: 10.0.0.2}]}}}\n"
    change = Change((Interface("eth0", dhcp4=True),), whole=False)
    snapshot = Snapshot({"/etc/netplan/a.yaml": FileState(text.encode())}, {}, NICS)
    assert BACKEND.plan(change, snapshot, BACKEND.render(change, snapshot)).apply.after


def test_the_renderer_of_a_kind_of_devices_is_no_device_and_moves_along() -> None:
    text = "network:\n  ethernets:\n    renderer: NetworkManager\n    eth0: {dhcp4: y}\n    eth5: {dhcp4: n}\n"
    files = {"/etc/netplan/a.yaml": text}
    assert [each.dhcp4 for each in BACKEND.read({path: FileState(text.encode()) for path in files}, NICS)] == [
        True,
        False,
    ]
    found = rendered(Change((Interface("eth0", dhcp6=True),), whole=False), files, NICS)
    assert found["/etc/netplan/a.yaml"] == text.replace("    eth0: {dhcp4: y}\n", "")
    assert yaml.safe_load(found[OWN] or "")["network"]["ethernets"]["eth0"]["renderer"] == "NetworkManager"


def test_a_cards_own_keys_and_what_is_said_of_an_address_that_stays_are_kept() -> None:
    text = """\
network:
  ethernets:
    eth0:
      macaddress: 52:54:00:00:00:01
      addresses: [192.0.2.42/24: {label: "eth0:x"}]
      nameservers: {addresses: [192.0.2.53], search: ["~.", example.org]}
"""
    wanted = Interface("eth0", dhcp6=True, versions=(6,))
    found = rendered(Change((wanted,), whole=False), {"/etc/netplan/a.yaml": text}, NICS)
    assert yaml.safe_load(found[OWN] or "")["network"]["ethernets"]["eth0"] == {
        "macaddress": "52:54:00:00:00:01",
        "addresses": [{"192.0.2.42/24": {"label": "eth0:x"}}],
        "dhcp4": False,
        "dhcp6": True,
        "nameservers": {"addresses": ["192.0.2.53"], "search": ["example.org", "~."]},
    }


BRIDGED = """\
network:
  ethernets:
    eth0: {dhcp4: true}
    eth5: {dhcp4: true}
  bridges:
    br0: {interfaces: [eth5]}
  vlans:
    eth0.9: {id: 9, link: eth0}
"""


def test_a_removed_card_that_others_are_made_of_stays_defined_and_up() -> None:
    change = Change((Interface("eth0", dhcp6=True),), whole=False, removed=("eth5",))
    snapshot = Snapshot({"/etc/netplan/a.yaml": FileState(BRIDGED.encode())}, {"networkd": "active"}, NICS)
    found = BACKEND.render(change, snapshot)
    (own,) = [yaml.safe_load(each.content or b"") for each in found if each.path == OWN]
    assert own["network"]["ethernets"]["eth5"] == {"dhcp4": False, "dhcp6": False}
    # What refers to a definition has to be in the same file, or in a later one.
    assert own["network"]["bridges"] == {"br0": {"interfaces": ["eth5"]}}
    assert own["network"]["vlans"] == {"eth0.9": {"id": 9, "link": "eth0"}}
    steps = BACKEND.plan(change, snapshot, found).apply.after
    assert [" ".join(step.argv) for step in steps][2:] == ["ip addr flush dev eth5 scope global"]


def test_what_refers_to_a_card_whose_id_changes_for_a_pattern_follows() -> None:
    files = {"/etc/netplan/a.yaml": BRIDGED, "/etc/netplan/b.yaml": "network: {ethernets: {a: {match: {name: e*}}}}\n"}
    wanted = Interface("eth0", addresses=(ip_interface("192.0.2.42/24"),))
    found = rendered(Change((wanted,), whole=False, removed=("eth5",)), files, NICS)
    network = merged([parse(path, text or "") for path, text in {**files, **found}.items()])
    assert network["vlans"] == {"eth0.9": {"id": 9, "link": "0-guestagent-eth0"}}
    assert network["bridges"] == {"br0": {"interfaces": ["0-guestagent-eth5"]}}
    assert set(network["ethernets"]) == {"0-guestagent-eth0", "0-guestagent-eth5", "a"}


def test_a_profile_that_networkmanager_has_handed_over_keeps_its_name() -> None:
    text = """\
network:
  ethernets:
    NM-14f59568:
      renderer: NetworkManager
      match: {name: eth0}
      dhcp4: true
      networkmanager: {uuid: 14f59568, name: Wired connection 1}
"""
    change = Change((Interface("eth0", dhcp6=True),), whole=False)
    snapshot = Snapshot({"/etc/netplan/90-NM-14f59568.yaml": FileState(text.encode())}, {}, NICS)
    steps = BACKEND.plan(change, snapshot, BACKEND.render(change, snapshot)).apply.harder
    assert [step.argv for step in steps] == [("nmcli", "connection", "up", "Wired connection 1", "ifname", "eth0")]


class TestNetplan(NetworkBackendContract):
    files: ClassVar[dict[str, str]] = {
        "/etc/netplan/50-cloud-init.yaml": CLOUD,
        "/etc/netplan/60-more.yaml": OTHER,
        "/run/netplan/from-initramfs.yaml": "network: {ethernets: {eth8: {dhcp4: true}}}\n",
    }
    kept = ("# This file is generated", "# the second one", "# by hand", "wakeonlan: true", "optional: true", "br0:")

    @pytest.fixture
    def backend(self) -> Netplan:
        return Netplan()
