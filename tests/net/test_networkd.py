"""systemd-networkd alone: what is written to its files, and what of others stays."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from tests.net.models import CARDS, QUICK, changes

from guestagent_commands_net.backends import Claim, FileState, Snapshot
from guestagent_commands_net.model import Bond, Change, Dns, Interface, Nic, Route, Vlan, merge
from guestagent_commands_net.testing import NetworkBackendContract, apply_changes
from guestagent_commands_net.tools.networkd import Networkd
from guestagent_core import Context, InvalidArgumentError

FOLDER = "/etc/systemd/network"
BACKEND = Networkd()
NICS = (Nic("eth0", "bc:76:4e:20:00:42"), *CARDS[3:])

MINE = """\
# mine
[Match]
MACAddress=BC:76:4E:20:00:42

[Link]
RequiredForOnline=no

[Network]
Description=the first
Address=198.51.100.7/24
Address=2001:db8:9::9/64
Gateway=198.51.100.1
DNS=198.51.100.2 2001:db8:9::53
LLDP=yes

[Address]
Address=198.51.100.8/24
Label=eth0:1

[Route]
Destination=10.0.0.0/8
Gateway=198.51.100.9

# another table
[Route]
Destination=10.0.0.0/8
Gateway=198.51.100.9
Table=7
"""
PATTERN = "[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n"


def rendered(change: Change, files: dict[str, str]) -> dict[str, str | None]:
    states = {path: FileState(text.encode()) for path, text in files.items()}
    found = BACKEND.render(change, Snapshot(states, {}, NICS))
    return {each.path: None if each.content is None else each.content.decode() for each in found}


def test_a_file_that_is_for_the_card_is_changed_where_it_is() -> None:
    wanted = Interface("eth0", addresses=(ip_interface("192.0.2.42/24"),), mtu=1400)
    found = rendered(Change((wanted,), whole=False), {f"{FOLDER}/20-mine.network": MINE})
    assert found == {
        f"{FOLDER}/20-mine.network": """\
# mine
[Match]
MACAddress=BC:76:4E:20:00:42

[Link]
RequiredForOnline=no
MTUBytes=1400

[Network]
Description=the first
DHCP=no
Address=192.0.2.42/24
LLDP=yes

# another table
[Route]
Destination=10.0.0.0/8
Gateway=198.51.100.9
Table=7
"""
    }


def test_one_version_of_an_interface_leaves_the_other() -> None:
    wanted = Interface("eth0", addresses=(ip_interface("192.0.2.42/24"),), versions=(4,))
    (text,) = rendered(Change((wanted,), whole=False), {f"{FOLDER}/20-mine.network": MINE}).values()
    (after,) = BACKEND.read({f"{FOLDER}/20-mine.network": FileState((text or "").encode())}, NICS)
    (before,) = BACKEND.read({f"{FOLDER}/20-mine.network": FileState(MINE.encode())}, NICS)
    assert after == merge(before, wanted)
    assert after.addresses == (ip_interface("192.0.2.42/24"), ip_interface("2001:db8:9::9/64"))


def test_all_that_the_model_has() -> None:
    wanted = Interface(
        "eth0",
        None,
        "public",
        tuple(map(ip_interface, ("192.0.2.42/24", "192.0.2.43/24", "2001:db8::42/64"))),
        (
            Route(ip_network("0.0.0.0/0"), ip_address("192.0.2.1")),
            Route(ip_network("10.0.0.0/8"), ip_address("192.0.2.9"), 7, mtu=1400),
            Route(ip_network("10.9.0.0/16")),
            Route(ip_network("::/0"), ip_address("fe80::def")),
            Route(ip_network("2001:db8:1::/48"), ip_address("2001:db8:9::1"), on_link=True),
        ),
        Dns((ip_address("192.0.2.2"),), ("example.org", "a.example")),
        accept_ra=False,
    )
    assert rendered(Change((wanted,)), {}) == {
        f"{FOLDER}/10-guestagent-eth0.network": """\
# Label public

[Match]
Name=eth0

[Network]
DHCP=no
IPv6AcceptRA=no
Address=192.0.2.42/24
Address=192.0.2.43/24
Address=2001:db8::42/64
Gateway=192.0.2.1
Gateway=fe80::def
DNS=192.0.2.2
Domains=example.org a.example

[Route]
Destination=10.0.0.0/8
Gateway=192.0.2.9
Metric=7
MTUBytes=1400

[Route]
Destination=10.9.0.0/16
Scope=link

[Route]
Destination=2001:db8:1::/48
Gateway=2001:db8:9::1
GatewayOnLink=yes
"""
    }


@pytest.mark.parametrize("pattern", ["80-dhcp.network", "10-eth.network", "00-all.network"])
def test_a_pattern_is_seen_after_the_card_s_own_file(pattern: str) -> None:
    files = {f"/usr/lib/systemd/network/{pattern}": PATTERN}
    found = rendered(Change((Interface("eth0", dhcp4=True),), whole=False), files)
    (path,) = found
    assert path.startswith(f"{FOLDER}/")
    assert path.rpartition("/")[2] < pattern
    removed = rendered(Change((), removed=("eth0",)), {**files, path: found[path] or ""})
    assert removed == {path: (removed[path] or "")}
    assert "Unmanaged=yes" in (removed[path] or ""), "else the pattern would configure the card"
    assert rendered(Change((), removed=("eth0",)), {path: found[path] or ""}) == {path: None}


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ("Name=en*\nName=eth*", True),  # as Arch has it
        ("Name=eth*\nName=en*", True),
        ("Name=en*\nName=\nName=wl*", False),
        ("Type=ether\nKind=!*", True),  # as systemd's own example has it
        ("Type=ether wlan", True),
        ("Type=wlan", False),
        ("Kind=veth", False),
        ("MACAddress=00:16:3e:00:00:01", False),
        ("MACAddress=00:16:3e:00:00:01 BC-76-4E-20-00-42", True),
        ("MACAddress=00:16:3e:00:00:01 00:16:3e:00:00:02", False),
    ],
)
def test_a_file_fits_what_networkd_takes_it_for(match: str, fits: bool) -> None:
    path = f"{FOLDER}/05-first.network"
    removed = rendered(Change((), removed=("eth0",)), {path: f"[Match]\n{match}\n\n[Network]\nDHCP=yes\n"})
    assert len(removed) == fits, "what fits it would configure it again"
    wanted = Interface("eth0", addresses=(ip_interface("192.0.2.42/24"),))
    (new,) = rendered(Change((wanted,), whole=False), {path: f"[Match]\n{match}\n\n[Network]\nDHCP=yes\n"})
    assert (new < path) == fits


def test_gateways_that_are_learnt_and_servers_with_ports_are_understood() -> None:
    learnt = "[Route]\nDestination=10.0.0.0/8\nGateway=_dhcp4\n"
    text = f"""\
[Match]
Name=eth0

[Network]
DHCP=v4
Gateway=_ipv6ra
DNS=192.0.2.2:853#dns.example [2001:db8::2]:853 2001:db8::3%eth0 2001:db8::4#dns.example

{learnt}"""
    (found,) = BACKEND.read({f"{FOLDER}/10-eth0.network": FileState(text.encode())})
    servers = ("192.0.2.2", "2001:db8::2", "2001:db8::3%eth0", "2001:db8::4")
    assert found == Interface("eth0", None, dns=Dns(tuple(map(ip_address, servers))), dhcp4=True)
    (new,) = rendered(Change((replace(found, mtu=1400),), whole=False), {f"{FOLDER}/10-eth0.network": text}).values()
    assert learnt in (new or "")


def test_bonds_and_vlans() -> None:
    options = (("arp_ip_target", "10.0.0.1,10.0.0.2"), ("lacp_rate", "fast"), ("miimon", "100"))
    change = Change(
        (
            Interface("eth3"),
            Interface("eth4"),
            Interface("bond0", "02:00:00:00:00:01", link=Bond(("eth3", "eth4"), "802.3ad", options)),
            Interface("bond0.7", dhcp4=True, link=Vlan(7, "bond0")),
        )
    )
    found = rendered(change, {})
    assert (
        found[f"{FOLDER}/10-guestagent-bond0.netdev"]
        == """\
[NetDev]
Name=bond0
Kind=bond
MACAddress=02:00:00:00:00:01

[Bond]
Mode=802.3ad
ARPIPTargets=10.0.0.1 10.0.0.2
LACPTransmitRate=fast
MIIMonitorSec=100ms
"""
    )
    assert "VLAN=bond0.7\n" in (found[f"{FOLDER}/10-guestagent-bond0.network"] or "")
    assert "Bond=bond0\n" in (found[f"{FOLDER}/10-guestagent-eth3.network"] or "")
    files = {path: text or "" for path, text in found.items()}
    freed = rendered(Change((Interface("eth3", dhcp4=True),), whole=False, removed=("bond0", "bond0.7", "eth4")), files)
    assert "Bond=" not in (freed[f"{FOLDER}/10-guestagent-eth3.network"] or "")
    assert [path for path, text in freed.items() if text is None] == [
        f"{FOLDER}/10-guestagent-{name}"
        for name in ("bond0.netdev", "bond0.network", "bond0.7.netdev", "bond0.7.network", "eth4.network")
    ]  # fmt: skip
    with pytest.raises(InvalidArgumentError, match="no setting of bonds for 'primary'"):
        rendered(Change((Interface("b", link=Bond(("eth3",), options=(("primary", "eth3"),))),)), {})


@QUICK
@given(change=changes())
def test_what_is_written_is_read_back(change: Change) -> None:
    if any("primary" in dict(getattr(each.link, "options", ())) for each in change.interfaces):
        return
    pattern = FileState(PATTERN.encode())
    before = {f"{FOLDER}/20-mine.network": FileState(MINE.encode()), "/lib/systemd/network/90.network": pattern}
    old = {each.name: each for each in BACKEND.read(before, NICS)}
    files = apply_changes(before, BACKEND.render(change, Snapshot(before, {}, NICS)))
    found = {each.name: each for each in BACKEND.read(files, NICS)}
    for interface in change.interfaces:
        assert found[interface.name] == merge(old.get(interface.name), interface)
    assert BACKEND.render(change, Snapshot(files, {}, NICS)) == ()


def argvs(steps: Any) -> list[str]:
    return [" ".join(step.argv) for step in steps]


def test_the_plan_reloads() -> None:
    change = Change((Interface("eth0", dhcp4=True),), removed=("eth3",), whole=False)
    snapshot = Snapshot({f"{FOLDER}/20-mine.network": FileState(MINE.encode())}, {"networkd": "active"}, NICS)
    plan = BACKEND.plan(change, snapshot, BACKEND.render(change, snapshot))
    assert argvs(plan.apply.after) == [
        "networkctl reload", "ip addr flush dev eth3 scope global", "ip link set dev eth3 down",
    ]  # fmt: skip
    assert argvs(plan.apply.harder) == ["networkctl reconfigure eth0"]
    assert argvs(plan.revert.after) == ["networkctl reload"]


def test_what_it_holds(tmp_path: Path) -> None:
    context = Context(root=tmp_path)
    for path, text in {
        f"{FOLDER}/20-mine.network": MINE,
        "/lib/systemd/network/90.network": PATTERN.replace("eth*", "eth3"),
        "/usr/bin/networkctl": "",
    }.items():
        (tmp_path / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path.lstrip("/")).write_text(text)
    (tmp_path / "usr/bin/networkctl").chmod(0o755)
    found = {name: evidence.claim for name, evidence in BACKEND.probe(context, NICS).items()}
    assert found == {"eth0": Claim.UNUSED, "eth3": Claim.UNUSED}, "installed, and not enabled"
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "systemd-networkd.service").symlink_to("/lib/systemd/system/systemd-networkd.service")
    found = {name: evidence.claim for name, evidence in BACKEND.probe(context, NICS).items()}
    assert found == {"eth0": Claim.CONFIGURED, "eth3": Claim.CONFIGURED, "eth4": Claim.COULD}


class TestNetworkd(NetworkBackendContract):
    files: ClassVar[dict[str, str]] = {
        f"{FOLDER}/20-mine.network": MINE,
        f"{FOLDER}/30-more.network": "# by hand\n[Match]\nName=eth5\n[Network]\nDHCP=ipv4\n",
        "/lib/systemd/network/80-dhcp.network": PATTERN,
    }
    kept = ("# mine", "RequiredForOnline=no", "LLDP=yes", "Table=7", "# by hand", "Name=en* eth*")

    @pytest.fixture
    def backend(self) -> Networkd:
        return Networkd()
