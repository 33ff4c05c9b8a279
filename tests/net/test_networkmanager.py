"""NetworkManager: what is written to its profiles, and what of others stays."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import assume, given
from tests.net.models import CARDS, QUICK, changes

from guestagent_commands_net.backends import Claim, FileState, Snapshot
from guestagent_commands_net.model import Bond, Change, Dns, Interface, Nic, Route, Vlan
from guestagent_commands_net.testing import NetworkBackendContract, apply_changes
from guestagent_commands_net.tools.keyfile import as_read
from guestagent_commands_net.tools.networkmanager import NetworkManager
from guestagent_core import CommandError, Context, InvalidArgumentError

FOLDER = "/etc/NetworkManager/system-connections"
OURS = f"{FOLDER}/guestagent-eth0.nmconnection"
BACKEND = NetworkManager()
NICS = (Nic("eth0", "bc:76:4e:20:00:42"), *CARDS[3:])

MINE = """\
# mine
[connection]
id=the first card
uuid=11111111-2222-3333-4444-555555555555
type=ethernet
zone=trusted

[ethernet]
mac-address=BC:76:4E:20:00:42
wake-on-lan=1

[ipv4]
# as the provider says
address1=198.51.100.7/24,198.51.100.1
dns=198.51.100.2;
may-fail=false
method=manual
route1=10.0.0.0/8,198.51.100.9

[ipv6]
addr-gen-mode=stable-privacy
method=auto
"""
ANY = "[connection]\nid=Wired connection 1\nuuid=a\ntype=ethernet\n\n[ipv4]\nmethod=auto\n"
WIFI = "[connection]\nid=w\nuuid=w\ntype=wifi\ninterface-name=wlan0\n\n[wifi-security]\npsk=secret\n"


def rendered(change: Change, files: dict[str, str], facts: dict[str, str] | None = None) -> dict[str, str | None]:
    states = {path: FileState(text.encode(), 0o600) for path, text in files.items()}
    found = BACKEND.render(change, Snapshot(states, facts or {}, NICS))
    assert all(each.mode == 0o600 for each in found if each.content is not None)
    return {each.path: None if each.content is None else each.content.decode() for each in found}


def test_a_profile_is_changed_where_it_is() -> None:
    wanted = Interface("eth0", None, "public", (ip_interface("192.0.2.42/24"), ip_interface("2001:db8::42/64")))
    found = rendered(Change((wanted,), whole=False), {f"{FOLDER}/mine": MINE, f"{FOLDER}/any": ANY})
    assert found == {
        f"{FOLDER}/mine": """\
# mine
[connection]
id=the first card
uuid=11111111-2222-3333-4444-555555555555
zone=trusted
type=ethernet

[ethernet]
mac-address=BC:76:4E:20:00:42
wake-on-lan=1

[ipv4]
# as the provider says
method=manual
address1=192.0.2.42/24
may-fail=false

[ipv6]
addr-gen-mode=stable-privacy
method=manual
address1=2001:db8::42/64
""".replace("zone=trusted\ntype=ethernet", "type=ethernet\nzone=trusted")
    }


def test_one_version_of_an_interface_leaves_the_other_to_the_letter() -> None:
    wanted = Interface("eth0", addresses=(ip_interface("2001:db8::42/64"),), versions=(6,))
    (text,) = rendered(Change((wanted,), whole=False), {f"{FOLDER}/mine": MINE}).values()
    assert text == MINE.replace("method=auto\n", "method=manual\naddress1=2001:db8::42/64\n")


def test_all_that_the_model_has() -> None:
    wanted = Interface(
        "eth0",
        None,
        "public",
        tuple(map(ip_interface, ("192.0.2.42/24", "192.0.2.43/24", "2001:db8::42/64"))),
        (
            Route(ip_network("0.0.0.0/0"), ip_address("192.0.2.1")),
            Route(ip_network("10.0.0.0/8"), ip_address("192.0.2.9"), 7, mtu=1400),
            Route(ip_network("10.9.0.0/16"), metric=5),
            Route(ip_network("10.8.0.0/16")),
            Route(ip_network("::/0"), ip_address("fe80::def"), 50),
            Route(ip_network("2001:db8:1::/48"), ip_address("2001:db8:9::1"), on_link=True),
        ),
        Dns((ip_address("192.0.2.2"), ip_address("2001:db8::53")), ("example.org",)),
        1500,
    )
    (text,) = rendered(Change((wanted,)), {}).values()
    assert (
        text
        == """\
# Label public

[connection]
id=guestagent-eth0
uuid=UUID
type=ethernet
interface-name=eth0
autoconnect-priority=999

[ethernet]
mtu=1500

[ipv4]
method=manual
address1=192.0.2.42/24
address2=192.0.2.43/24
gateway=192.0.2.1
route1=10.0.0.0/8,192.0.2.9,7
route1_options=mtu=1400
route2=10.9.0.0/16,0.0.0.0,5
route3=10.8.0.0/16
dns=192.0.2.2;
dns-search=example.org;

[ipv6]
method=manual
address1=2001:db8::42/64
route1=::/0,fe80::def,50
route2=2001:db8:1::/48,2001:db8:9::1
route2_options=onlink=true
dns=2001:db8::53;
dns-search=example.org;
""".replace("UUID", (text or "").partition("uuid=")[2].partition("\n")[0])
    )
    (again,) = rendered(Change((wanted,)), {}).values()
    assert again == text, "the UUID is the same each time"


def test_bonds_and_vlans() -> None:
    change = Change(
        (
            Interface("eth3"),
            Interface("eth4"),
            Interface("bond0", "02:00:00:00:00:01", link=Bond(("eth3", "eth4"), "802.3ad", (("miimon", "100"),))),
            Interface("bond0.7", dhcp4=True, link=Vlan(7, "bond0")),
        )
    )
    found = rendered(change, {})
    bond = found[f"{FOLDER}/guestagent-bond0.nmconnection"] or ""
    assert "[bond]\nmode=802.3ad\nmiimon=100\n" in bond
    assert "cloned-mac-address=02:00:00:00:00:01" in bond
    assert "type=bond\n" in bond
    assert "[vlan]\nid=7\nparent=bond0\n" in (found[f"{FOLDER}/guestagent-bond0.7.nmconnection"] or "")
    for member in ("eth3", "eth4"):
        text = found[f"{FOLDER}/guestagent-{member}.nmconnection"] or ""
        assert "master=bond0\nslave-type=bond\n" in text
        assert "type=ethernet\n" in text
    files = {path: text or "" for path, text in found.items()}
    freed = rendered(Change((Interface("eth3", dhcp4=True),), whole=False, removed=("bond0", "bond0.7", "eth4")), files)
    assert "master" not in (freed[f"{FOLDER}/guestagent-eth3.nmconnection"] or "")
    assert freed[f"{FOLDER}/guestagent-bond0.nmconnection"] is None
    assert "autoconnect=false" in (freed[f"{FOLDER}/guestagent-eth4.nmconnection"] or "")


def test_a_second_profile_of_the_card_is_not_used_any_more() -> None:
    second = MINE.replace("11111111", "99999999")
    wanted = Change((Interface("eth0", dhcp4=True),), whole=False)
    files = {f"{FOLDER}/a": MINE, f"{FOLDER}/b": second}
    found = rendered(wanted, files, {"uuid eth0": "99999999-2222-3333-4444-555555555555"})
    assert found[f"{FOLDER}/a"] == MINE.replace("zone=trusted\n", "zone=trusted\nautoconnect=false\n")
    assert "method=auto\n" in (found[f"{FOLDER}/b"] or "")


def test_a_removed_card_without_a_profile_of_its_own_gets_one_that_is_idle() -> None:
    """Else what NetworkManager makes up for it would be back at the next start."""
    change = Change((), removed=("eth0", "eth3"), whole=False)
    found = rendered(change, {f"{FOLDER}/any": ANY}, {"uuid eth0": "a", "uuid eth3": ""})
    assert list(found) == [OURS]
    assert "autoconnect=false\n" in (found[OURS] or "")
    assert BACKEND.read({OURS: FileState((found[OURS] or "").encode())}, NICS) == ()
    assert rendered(change, {f"{FOLDER}/any": ANY, OURS: found[OURS] or ""}) == {}


def test_a_profile_in_a_folder_of_others_is_copied_and_stays() -> None:
    path = "/run/NetworkManager/system-connections/eth0.nmconnection"
    found = rendered(Change((Interface("eth0", dhcp4=True),), whole=False), {path: MINE})
    assert set(found) == {OURS}
    assert "zone=trusted" in (found[OURS] or "")
    assert "11111111" not in (found[OURS] or "")


@pytest.mark.parametrize(
    ("interface", "what"),
    [
        (Interface("eth0", addresses=(ip_interface("2001:db8::1/64"),), dns=Dns((ip_address("192.0.2.2"),))),
         "IPv4 name servers without IPv4"),
        (Interface("eth0", routes=(Route(ip_network("2001:db8::/32"), ip_address("fe80::1")),)),
         "a route to 2001:db8::/32"),
        (Interface("eth0", dns=Dns((), ("example.org",))), "search domains without addresses"),
    ],
)  # fmt: skip
def test_what_has_no_place_is_an_error(interface: Interface, what: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"eth0: NetworkManager has no place for {what}"):
        rendered(Change((interface,)), {})


def expressible(interface: Interface) -> Interface:
    """``interface`` without what there is no place for, and name servers in the order of this format."""
    versions = [4] * bool(interface.addresses_of(4) or interface.dhcp4)
    versions += [6] * bool(interface.addresses_of(6) or interface.dhcp6 or interface.accept_ra)
    return replace(
        interface,
        routes=tuple(route for route in interface.routes if route.version in versions),
        dns=Dns(
            tuple(server for server in interface.dns.servers if server.version in versions),
            interface.dns.search if versions else (),
        ),
    )


@QUICK
@given(change=changes())
def test_what_is_written_is_read_back(change: Change) -> None:
    change = replace(change, interfaces=tuple(map(expressible, change.interfaces)))
    before = {f"{FOLDER}/any": FileState(ANY.encode())}
    files = apply_changes(before, BACKEND.render(change, Snapshot(before, {}, NICS)))
    found = {each.name: each for each in BACKEND.read(files, NICS)}
    for interface in change.interfaces:
        assert found[interface.name] == as_read(interface)
    assert BACKEND.render(change, Snapshot(files, {}, NICS)) == ()
    assume(change.interfaces)


def argvs(steps: Any) -> list[str]:
    return [" ".join(step.argv) for step in steps]


def test_the_profile_that_is_active_is_reapplied_and_another_one_brought_up() -> None:
    change = Change((Interface("eth0", dhcp4=True),), removed=("eth3",), whole=False)
    active = "11111111-2222-3333-4444-555555555555"
    files = {f"{FOLDER}/mine": FileState(MINE.encode())}
    snapshot = Snapshot(files, {"uuid eth0": active}, NICS)
    plan = BACKEND.plan(change, snapshot, BACKEND.render(change, snapshot))
    assert argvs(plan.apply.after) == [
        "nmcli connection reload", "nmcli device reapply eth0", "nmcli device disconnect eth3",
    ]  # fmt: skip
    assert argvs(plan.apply.harder) == [f"nmcli connection up uuid {active} ifname eth0"]
    assert argvs(plan.revert.after) == [
        "nmcli connection reload", "nmcli device reapply eth0", "nmcli device connect eth3",
    ]  # fmt: skip
    snapshot = Snapshot({}, {"uuid eth0": "aa"}, NICS)
    plan = BACKEND.plan(change.only(["eth0"]), snapshot, BACKEND.render(change.only(["eth0"]), snapshot))
    assert plan.apply.after[1].argv[:4] == ("nmcli", "connection", "up", "uuid")
    assert argvs(plan.revert.after)[1] == "nmcli connection up uuid aa ifname eth0"
    (check,) = BACKEND.validate(Change((Interface("eth0", NICS[0].mac),)), files, "/staged")
    assert (check.argv[:2], check.input) == (("nmcli", "--offline"), MINE.encode())


def test_secrets_of_other_kinds_of_profiles_are_not_gathered(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER.lstrip("/")
    folder.mkdir(parents=True)
    for name, text in (("mine", MINE), ("any", ANY), ("wifi", WIFI), ("broken", "[connection\n?")):
        (folder / name).write_text(text)
    context = Context(root=tmp_path)
    assert sorted(BACKEND.gather(context, NICS).files) == [f"{FOLDER}/any", f"{FOLDER}/mine"]
    assert BACKEND.probe(context, NICS) == {}
    for tool in ("usr/sbin/NetworkManager", "usr/bin/nmcli"):
        (tmp_path / tool).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / tool).touch(0o755)
    found = {name: evidence.claim for name, evidence in BACKEND.probe(context, NICS[:2]).items()}
    assert found == {"eth0": Claim.UNUSED}, "installed, and not enabled"
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "NetworkManager.service").symlink_to("/lib/systemd/system/NetworkManager.service")
    found = {name: evidence.claim for name, evidence in BACKEND.probe(context, NICS[:2]).items()}
    assert found == {"eth0": Claim.CONFIGURED, "eth3": Claim.COULD}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[connection]\ninterface-name=eth0\nx\n", f"{FOLDER}/a:3: 'x' is neither"),
        (MINE.replace("198.51.100.7/24", "198.51.100.999/24"), f"{FOLDER}/a: '198.51.100.999/24'"),
    ],
)
def test_a_file_that_cannot_be_understood_is_named(text: str, error: str) -> None:
    with pytest.raises(CommandError, match=error):
        BACKEND.read({f"{FOLDER}/a": FileState(text.encode())}, NICS)


EDITED = """\
[connection]
id=e
uuid=1111
type=ethernet
interface-name=eth0

[ipv4]
method=manual
{}"""
STATIC = Interface("eth0", addresses=(ip_interface("192.0.2.42/24"),))


def ipv4_of(text: str | None) -> list[str]:
    lines = (text or "").split("[ipv4]\n")[1].split("\n\n")[0].splitlines()
    return sorted(lines)


def test_routes_of_other_tables_stay_where_they_lead_somewhere_and_are_none_of_the_main_table() -> None:
    settings = """\
address1=192.0.2.42/24,192.0.2.1
route1=0.0.0.0/0,192.0.2.9
route1_options=table=100
route2=10.0.0.0/8,192.0.2.3
route3=0.0.0.0/0,198.51.100.1
route3_options=table=101
route4=nowhere
route4_options=table=102
"""
    files = {f"{FOLDER}/e": EDITED.format(settings)}
    found = BACKEND.read({path: FileState(text.encode()) for path, text in files.items()}, NICS)
    assert [str(route.destination) for route in found[0].routes] == ["0.0.0.0/0", "10.0.0.0/8"]
    wanted = replace(STATIC, routes=(Route(ip_network("10.9.0.0/16"), ip_address("192.0.2.7")),))
    (text,) = rendered(Change((wanted,), whole=False), files).values()
    assert ipv4_of(text) == [
        "address1=192.0.2.42/24", "method=manual",
        "route1=10.9.0.0/16,192.0.2.7", "route2=0.0.0.0/0,192.0.2.9", "route2_options=table=100",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [
        "addresses1=10.0.0.5;24;10.0.0.1;\nroutes1=10.1.0.0;16;10.0.0.9;5;\n",
        "address=10.0.0.5/24,10.0.0.1\nroute=10.1.0.0/16,10.0.0.9,5\n",
        "addresses=10.0.0.5,10.0.0.1\nroutes1=10.1.0.0/16,10.0.0.9,5\n",
        "address1=10.0.0.5/24,0.0.0.0\ngateway=10.0.0.1\nroute1=10.1.0.0/16,10.0.0.9,5\n",
    ],
)
def test_all_forms_of_addresses_and_routes_are_read_and_none_stays(settings: str) -> None:
    files = {f"{FOLDER}/e": EDITED.format(settings)}
    (found,) = BACKEND.read({path: FileState(text.encode()) for path, text in files.items()}, NICS)
    assert found.addresses == (ip_interface("10.0.0.5/24"),)
    assert found.routes == (
        Route(ip_network("0.0.0.0/0"), ip_address("10.0.0.1")),
        Route(ip_network("10.1.0.0/16"), ip_address("10.0.0.9"), 5),
    )
    (text,) = rendered(Change((STATIC,), whole=False), files).values()
    assert ipv4_of(text) == ["address1=192.0.2.42/24", "method=manual"]


def test_domains_that_only_say_which_servers_are_asked_are_no_error_and_stay() -> None:
    files = {f"{FOLDER}/e": EDITED.format("address1=192.0.2.42/24\ndns=192.0.2.53;\ndns-search=~.;example.org;\n")}
    wanted = Interface("eth0", dns=Dns(search=("example.com",)), dhcp6=True, versions=(6,))
    (text,) = rendered(Change((wanted,), whole=False), files).values()
    assert "dns-search=example.com;~.;" in ipv4_of(text)


def test_of_copies_of_a_profile_one_alone_is_written() -> None:
    text = EDITED.format("address1=10.0.0.5/24\n")
    found = rendered(Change((STATIC,), whole=False), {f"{FOLDER}/e.nmconnection": text, f"{FOLDER}/e.bak": text})
    assert list(found) == [f"{FOLDER}/e.nmconnection"]


def test_files_that_networkmanager_does_not_take_are_none_of_ours(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER[1:]
    folder.mkdir(parents=True)
    for name in ("e.nmconnection", "e.nmconnection~", ".e.nmconnection.swp", "e.nmconnection.K3XQ71"):
        (folder / name).write_text(EDITED.format("address1=10.0.0.5/24\n"))
    assert list(BACKEND.gather(Context(root=tmp_path), NICS).files) == [f"{FOLDER}/e.nmconnection"]


def test_a_profile_that_others_can_read_is_written_again_for_networkmanager_does_not_take_it() -> None:
    (text,) = rendered(Change((STATIC,), whole=False), {}).values()
    for mode, count in ((0o644, 1), (0o600, 0)):
        files = {OURS: FileState((text or "").encode(), mode)}
        assert len(BACKEND.render(Change((STATIC,), whole=False), Snapshot(files, {}, NICS))) == count


class TestNetworkManager(NetworkBackendContract):
    files: ClassVar[dict[str, str]] = {
        f"{FOLDER}/mine": MINE,
        f"{FOLDER}/any": ANY,
        f"{FOLDER}/eth5.nmconnection": ANY.replace("uuid=a", "uuid=b\n# the fifth\ninterface-name=eth5"),
    }
    kept = ("# mine", "zone=trusted", "wake-on-lan=1", "# as the provider says", "may-fail=false", "# the fifth")

    def as_read(self, interface: Interface) -> Interface:
        return as_read(interface)

    @pytest.fixture
    def backend(self) -> NetworkManager:
        return NetworkManager()
