"""ifupdown: what is written to /etc/network/interfaces, and what of it stays."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from tests.net.models import QUICK, DictStore, changes, interfaces, nics_of, vectors

from guestagent_commands_net.backends import Claim, FileState, Snapshot
from guestagent_commands_net.model import Change, Dns, Interface, Nic, Route, merge
from guestagent_commands_net.readers.sources import read_store
from guestagent_commands_net.testing import NetworkBackendContract
from guestagent_commands_net.tools.ifupdown import Ifupdown
from guestagent_core import CommandError, Context

MAIN = "/etc/network/interfaces"
BACKEND = Ifupdown()

OWN = """\
# a comment of mine
source /etc/network/interfaces.d/*

auto lo
iface lo inet loopback

# the bridge of the house
auto br0 eth0
iface br0 inet dhcp
    bridge_ports eth9

iface eth0 inet static
    address 198.51.100.7
    # why this is here
    netmask 255.255.255.0
    hwaddress 02:00:00:00:00:01
    up route add -net 10.0.0.0 netmask 255.0.0.0 gw 198.51.100.1 || true
    post-up iptables-restore \\
        < /etc/iptables
iface eth0 inet6 auto
    privext 2
auto eth0:1
iface eth0:1 inet static
    address 198.51.100.8
    netmask 255.255.255.0

# the end
"""


def rendered(change: Change, text: str | None, **others: str) -> dict[str, str]:
    files = {path: FileState(content.encode()) for path, content in {MAIN: text or "", **others}.items()}
    if text is None:
        del files[MAIN]
    found = BACKEND.render(change, Snapshot(files))
    return {each.path: (each.content or b"").decode() for each in found}


def read(**files: str) -> dict[str, Interface]:
    return {each.name: each for each in BACKEND.read({path: FileState(text.encode()) for path, text in files.items()})}


@pytest.mark.parametrize("name", ["debian", "debian-py3"])
def test_what_was_recorded_is_configured_again(name: str) -> None:
    for case in vectors(name):
        if case["title"] in ("no-config", "no-resolv-conf"):
            continue  # the first is refused now, the second was not answered at all
        change = read_store(DictStore(case["store"]), nics_of(case["nics"]))
        before = case["before"].get(MAIN)
        files = rendered(change, before if isinstance(before, str) or before is None else before["content"])
        ours = read(**files)
        theirs = read(**{MAIN: _repaired(case["after"][MAIN]["content"])})
        for interface in change.interfaces:
            assert ours[interface.name] == interface
            if not (name == "debian-py3" and case["title"] in SUCCESSOR_WRONG):
                assert theirs[interface.name] == interface, case["title"]
        assert set(theirs) <= set(ours)


SUCCESSOR_WRONG = {
    "default-route-in-routes": "its routes are added when the interface goes down, and nothing else is there",
    "two-if-routes-dns": "the same",
    "three-if": "the same",
    "ipv6-only": "it loses the name servers",
    "ipv6-two": "the same",
    "old-spelling": "it does not find the record, for its key's case",
    "bare": "it dies of a missing label",
}


def _repaired(text: str) -> str:
    return text.replace("\tnetmask 64\tnetmask", "\tnetmask").replace(
        "\taddress 2001:db8::43\tnetmask", "\taddress 2001:db8::43\n\tnetmask"
    )


def test_only_the_interfaces_in_question_change() -> None:
    wanted = Interface("eth0", None, "public", (ip_interface("192.0.2.42/24"), ip_interface("2001:db8::42/64")))
    (text,) = rendered(Change((wanted,), whole=False), OWN).values()
    assert (
        text
        == """\
# a comment of mine
source /etc/network/interfaces.d/*

auto lo
iface lo inet loopback

# the bridge of the house
auto br0 eth0
iface br0 inet dhcp
    bridge_ports eth9

# Label public
iface eth0 inet static
    address 192.0.2.42/24
    # why this is here
    hwaddress 02:00:00:00:00:01
    post-up iptables-restore \\
        < /etc/iptables
iface eth0 inet6 static
    address 2001:db8::42/64
    privext 2

# the end
"""
    )
    assert rendered(Change((wanted,), whole=False), text) == {}


def test_one_version_of_an_interface_leaves_the_other_to_the_letter() -> None:
    before = OWN.replace("auto eth0:1\n", "").replace("iface eth0:1", "iface eth7")
    wanted = Interface("eth0", addresses=(ip_interface("2001:db8::42/64"),), versions=(6,))
    (text,) = rendered(Change((wanted,), whole=False), before).values()
    assert text == before.replace(
        "iface eth0 inet6 auto\n    privext 2\n",
        "iface eth0 inet6 static\n    address 2001:db8::42/64\n    privext 2\n",
    )
    wanted = Interface("eth0", dhcp4=True, versions=(4,))
    (text,) = rendered(Change((wanted,), whole=False), before).values()
    assert "iface eth0 inet dhcp\n" in text
    assert "iface eth0 inet6 auto\n    privext 2\n" in text
    assert "10.0.0.0" not in text


def test_a_removed_interface_is_gone_from_every_file() -> None:
    extra = "# by hand\nauto eth1\niface eth1 inet dhcp\n"
    path = "/etc/network/interfaces.d/eth1"
    found = rendered(Change((), removed=("eth0", "eth1")), OWN, **{path: extra})
    assert found[path] == "# by hand\n"
    assert "eth0" not in found[MAIN]
    assert "auto br0\n" in found[MAIN]
    assert "source /etc/network/interfaces.d/*" in found[MAIN]


def test_an_interface_stays_in_the_file_where_it_is() -> None:
    path = "/etc/network/interfaces.d/eth1"
    wanted = Interface("eth1", addresses=(ip_interface("192.0.2.42/24"),))
    found = rendered(Change((wanted,)), OWN, **{path: "allow-hotplug eth1\niface eth1 inet dhcp\n"})
    assert found == {path: "allow-hotplug eth1\niface eth1 inet static\n    address 192.0.2.42/24\n"}


def test_a_file_that_is_missing_is_made() -> None:
    wanted = Interface("eth0", dhcp4=True, mtu=1400)
    (text,) = rendered(Change((wanted,)), None).values()
    assert text.endswith(
        "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n    pre-up ip link set dev eth0 mtu 1400\n"
    )


def test_all_that_the_model_has() -> None:
    wanted = Interface(
        "eth0",
        addresses=tuple(map(ip_interface, ("192.0.2.42/24", "192.0.2.43/24", "2001:db8::42/64"))),
        routes=(
            Route(ip_network("0.0.0.0/0"), ip_address("192.0.2.1"), 50),
            Route(ip_network("10.0.0.0/8"), ip_address("192.0.2.9"), 7, mtu=1400),
            Route(ip_network("10.9.0.0/16")),
            Route(ip_network("::/0"), ip_address("fe80::def")),
            Route(ip_network("2001:db8:1::/48"), ip_address("2001:db8:9::1"), on_link=True),
        ),
        dns=Dns((ip_address("192.0.2.2"), ip_address("2001:db8::53")), ("example.org", "example.net")),
        mtu=1500,
        accept_ra=False,
    )
    (text,) = rendered(Change((wanted,)), "").values()
    assert (
        text
        == """\
auto eth0
iface eth0 inet static
    mtu 1500
    address 192.0.2.42/24
    gateway 192.0.2.1
    metric 50
    dns-nameservers 192.0.2.2 2001:db8::53
    dns-search example.org example.net
iface eth0 inet static
    address 192.0.2.43/24
    post-up ip -4 route add 10.0.0.0/8 via 192.0.2.9 dev eth0 metric 7 mtu 1400 || true
    pre-down ip -4 route del 10.0.0.0/8 via 192.0.2.9 dev eth0 metric 7 mtu 1400 || true
    post-up ip -4 route add 10.9.0.0/16 dev eth0 || true
    pre-down ip -4 route del 10.9.0.0/16 dev eth0 || true
    dns-nameservers 192.0.2.2 2001:db8::53
    dns-search example.org example.net
iface eth0 inet6 static
    address 2001:db8::42/64
    gateway fe80::def
    accept_ra 0
    post-up ip -6 route replace 2001:db8:1::/48 via 2001:db8:9::1 dev eth0 onlink || true
    pre-down ip -6 route del 2001:db8:1::/48 via 2001:db8:9::1 dev eth0 onlink || true
    dns-nameservers 192.0.2.2 2001:db8::53
    dns-search example.org example.net
"""
    )
    assert read(**{MAIN: text})["eth0"] == wanted


@QUICK
@given(change=changes())
def test_what_is_written_is_read_back(change: Change) -> None:
    files = rendered(change, OWN)
    found = read(**{MAIN: OWN, **files})
    for interface in change.interfaces:
        assert found[interface.name] == merge(read(**{MAIN: OWN}).get(interface.name), interface)
    files = {MAIN: OWN, **files}
    assert rendered(change, files[MAIN]) == {}
    gone = rendered(Change((), removed=tuple(each.name for each in change.interfaces)), files[MAIN])
    left = read(**gone)
    assert set(left) <= {"lo", "br0"}
    assert "# the end\n" in gone[MAIN]


@QUICK
@given(before=interfaces(), after=interfaces())
def test_one_version_changes_alone(before: Interface, after: Interface) -> None:
    (text,) = rendered(Change((before,)), "").values()
    only = Interface(
        "eth0",
        addresses=after.addresses_of(6),
        routes=after.routes_of(6),
        dhcp6=after.dhcp6,
        dns=after.dns,
        versions=(6,),
    )
    files = rendered(Change((only,), whole=False), text)
    assert read(**{MAIN: text, **files})["eth0"] == merge(before, only)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("    address 192.0.2.1\n", r"/etc/network/interfaces:1: 'address' is no keyword"),
        ("auto lo\nstatik\n", r"/etc/network/interfaces:2: 'statik' is no keyword"),
        ("iface eth0 inet static\n address 10.9.0.999/8\n", r"/etc/network/interfaces: the stanza of eth0: "),
    ],
)
def test_a_file_that_cannot_be_understood_is_named(text: str, error: str) -> None:
    with pytest.raises(CommandError, match=error):
        read(**{MAIN: text})


def test_an_interface_with_stanzas_of_another_kind_keeps_them_or_fails() -> None:
    text = "iface eth0 inet ppp\n    provider x\n"
    assert read(**{MAIN: text}) == {}
    with pytest.raises(CommandError, match="eth0 has stanzas of a kind"):
        rendered(Change((Interface("eth0", versions=(6,)),), whole=False), text)


def test_the_plan_is_about_the_interfaces_of_the_change_alone() -> None:
    wanted = Change((Interface("eth0", dhcp4=True),), removed=("eth1",))
    files = {
        MAIN: FileState((OWN + "auto eth1\niface eth1 inet dhcp\n").encode()),
        "/run/network/ifstate": FileState(b"lo=lo\neth0=eth0\neth0:1=eth0:1\neth1=eth1\n"),
    }
    snapshot = Snapshot(files)
    plan = BACKEND.plan(wanted, snapshot, BACKEND.render(wanted, snapshot))

    def argvs(steps: Any) -> list[str]:
        return [" ".join(step.argv) for step in steps]

    flush = "ip addr flush dev {} scope global"
    down = ["ifdown eth1", flush.format("eth1"), "ifdown eth0:1", "ifdown eth0", flush.format("eth0")]
    assert argvs(plan.apply.before) == down
    assert argvs(plan.apply.after) == ["ifup eth0"]
    assert argvs(plan.apply.harder) == ["ifdown --force eth0", flush.format("eth0"), "ifup --force eth0"]
    assert argvs(plan.revert.before) == [flush.format("eth1"), "ifdown --force eth0", flush.format("eth0")]
    assert argvs(plan.revert.after) == ["ifup eth0", "ifup eth1"]
    assert argvs(BACKEND.validate(wanted, files, "/staged")) == [
        "ifquery --interfaces /staged/etc/network/interfaces eth0"
    ]


def guest(root: Path, **files: str) -> Context:
    for path, text in files.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return Context(root=root)


def test_included_files_are_read_as_the_tool_does(tmp_path: Path) -> None:
    context = guest(
        tmp_path,
        **{
            MAIN: "source interfaces.d/*.cfg /etc/network/more\nsource-directory interfaces.d\n",
            "/etc/network/interfaces.d/a.cfg": "iface eth0 inet dhcp\n",
            "/etc/network/interfaces.d/b": "iface eth1 inet dhcp\nsource /etc/network/interfaces\n",
            "/etc/network/interfaces.d/c.dpkg-old": "iface eth2 inet dhcp\n",
            "/etc/network/interfaces.d/.hidden.cfg": "iface eth3 inet dhcp\n",
        },
    )
    (tmp_path / "etc/network/more").symlink_to("/etc/network/interfaces.d/b")
    snapshot = BACKEND.gather(context, ())
    assert [each.name for each in BACKEND.read(snapshot.files)] == ["eth0", "eth1"]


def test_what_it_holds(tmp_path: Path) -> None:
    nics = (Nic("eth0", "bc:76:4e:20:00:40"), Nic("eth5", "bc:76:4e:20:00:45"))
    context = guest(tmp_path, **{MAIN: OWN})
    assert BACKEND.probe(context, nics) == {}  # not installed
    context = guest(tmp_path, **{"/usr/sbin/ifup": "", "/run/network/ifstate": "eth0=eth0\n"})
    (tmp_path / "usr/sbin/ifup").chmod(0o755)
    found = BACKEND.probe(context, nics)
    assert {name: evidence.claim for name, evidence in found.items()} == {"eth0": Claim.CONFIGURED, "eth5": Claim.COULD}


FIXED = """\
auto lo
iface lo inet loopback

auto eth0
iface eth0 inet static
    address 192.0.2.7/24
"""
COMMANDS = """\
    up ip addr add 192.0.2.8/24 dev $IFACE label $IFACE:0
    down ip addr del 192.0.2.8/24 dev $IFACE label $IFACE:0
    up ip addr add 192.0.2.9/24 brd + dev eth0
    up /sbin/ifconfig eth0:1 192.0.2.10 netmask 255.255.255.0 up
    down ifconfig eth0:1 down
    up ifconfig $IFACE inet6 add 2001:db8::7/64
    up route add 198.51.100.1 dev eth0
    up route add -net 10.0.0.0 gw 192.0.2.3 eth0
    up route add default gw 192.0.2.1 eth0
    up ip route add 10.9.0.0/16 via 192.0.2.3 dev ${IFACE}
"""


def test_commands_are_known_in_the_forms_in_which_manuals_and_providers_write_them() -> None:
    found = read(**{MAIN: FIXED + COMMANDS})["eth0"]
    assert [str(each) for each in found.addresses] == [
        "192.0.2.7/24", "192.0.2.8/24", "192.0.2.9/24", "192.0.2.10/24", "2001:db8::7/64",
    ]  # fmt: skip
    assert [(str(each.destination), str(each.gateway)) for each in found.routes] == [
        ("0.0.0.0/0", "192.0.2.1"), ("198.51.100.1/32", "None"), ("10.0.0.0/8", "192.0.2.3"),
        ("10.9.0.0/16", "192.0.2.3"),
    ]  # fmt: skip
    wanted = Interface("eth0", addresses=(ip_interface("192.0.2.42/24"),))
    (text,) = rendered(Change((wanted,), whole=False), FIXED + COMMANDS).values()
    assert text == FIXED.replace("192.0.2.7", "192.0.2.42")


def test_commands_that_would_take_the_address_away_or_fail_go_and_all_others_stay() -> None:
    kept = """\
    up ip route add default via 192.0.2.1 dev eth0 table 7
    up ip rule add from 192.0.2.7 table 7
    up ip link set $IFACE promisc on
"""
    gone = """\
    up ifconfig $IFACE 0.0.0.0 up
    up ip route add default via 198.51.100.1 dev eth0 table 8
    up ip route add 192.0.2.0/24 dev eth0 src 192.0.2.7 table 7
"""
    wanted = Interface("eth0", addresses=(ip_interface("192.0.2.42/24"),))
    (text,) = rendered(Change((wanted,), whole=False), FIXED + kept + gone).values()
    assert text == FIXED.replace("192.0.2.7", "192.0.2.42") + kept


def test_what_is_said_of_an_old_address_is_not_said_of_the_new_one() -> None:
    before = FIXED + "iface eth0 inet6 static\n    address 2001:db8::7/64\n    preferred-lifetime 0\n    privext 0\n"
    wanted = Interface("eth0", addresses=(ip_interface("2001:db8::42/64"),), versions=(6,))
    (text,) = rendered(Change((wanted,), whole=False), before).values()
    assert text == FIXED + "iface eth0 inet6 static\n    address 2001:db8::42/64\n    privext 0\n"


def test_templates_and_patterns_are_no_interfaces() -> None:
    text = FIXED + "\niface defaults-of-ethernet inet manual\n    mtu 9000\nauto /en*\niface en* inet dhcp\n"
    assert list(read(**{MAIN: text})) == ["eth0"]


def test_commas_between_name_servers_are_none_of_their_addresses() -> None:
    found = read(**{MAIN: FIXED + "    dns-nameservers 192.0.2.53, 192.0.2.54\n"})["eth0"]
    assert found.dns.servers == (ip_address("192.0.2.53"), ip_address("192.0.2.54"))


class TestIfupdown(NetworkBackendContract):
    files: ClassVar[dict[str, str]] = {
        MAIN: OWN,
        "/etc/network/interfaces.d/more": "# by hand\nauto eth5\niface eth5 inet dhcp\n",
        "/run/network/ifstate": "eth0=eth0\n",
    }
    kept = ("# a comment of mine", "# why this is here", "hwaddress 02:00:00:00:00:01", "bridge_ports eth9",
            "# by hand", "< /etc/iptables")  # fmt: skip

    @pytest.fixture
    def backend(self) -> Ifupdown:
        return Ifupdown()
