"""ifupdown-ng and busybox: what they want otherwise than Debian's ifupdown."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import ClassVar

import pytest
from tests.net.models import DictStore, nics_of, vectors

from guestagent_commands_net.backends import Claim, FileState, Snapshot
from guestagent_commands_net.model import Change, Dns, Interface, Nic, Route
from guestagent_commands_net.readers.sources import read_store
from guestagent_commands_net.testing import NetworkBackendContract
from guestagent_commands_net.tools.ifupdown import Ifupdown
from guestagent_commands_net.tools.ifupdown_others import BusyboxIfup, IfupdownNg
from guestagent_core import Context

MAIN = "/etc/network/interfaces"
OWN = """\
# mine
auto lo
iface lo inet loopback

auto eth0
iface eth0 inet static
    address 198.51.100.7
    netmask 255.255.255.0
    # the card of the house
    pre-up ethtool -s eth0 wol d

auto eth5
iface eth5 inet dhcp
"""
WANTED = Interface(
    "eth0",
    None,
    "public",
    tuple(map(ip_interface, ("192.0.2.42/24", "192.0.2.43/24", "2001:db8::42/64", "2001:db8::43/64"))),
    (
        Route(ip_network("0.0.0.0/0"), ip_address("192.0.2.1")),
        Route(ip_network("::/0"), ip_address("2001:db8:f::1"), on_link=True),
    ),
    Dns((ip_address("192.0.2.2"),)),
    1400,
)


def rendered(backend: Ifupdown, change: Change, text: str = "") -> str:
    (found,) = backend.render(change, Snapshot({MAIN: FileState(text.encode())} if text else {MAIN: FileState(b"")}))
    assert found.content is not None
    return found.content.decode()


def test_ifupdown_ng_makes_one_of_all_stanzas() -> None:
    assert (
        rendered(IfupdownNg(), Change((WANTED,)))
        == """\
# Label public
auto eth0
iface eth0 inet static
    mtu 1400
    address 192.0.2.42/24
    address 192.0.2.43/24
    gateway 192.0.2.1
    dns-nameservers 192.0.2.2
iface eth0 inet6 static
    address 2001:db8::42/64
    address 2001:db8::43/64
    post-up ip -6 route replace default via 2001:db8:f::1 dev eth0 onlink || true
    pre-down ip -6 route del default via 2001:db8:f::1 dev eth0 onlink || true
"""
    )


def test_busybox_takes_one_stanza_for_each_family() -> None:
    assert (
        rendered(BusyboxIfup(), Change((WANTED,)))
        == """\
# Label public
auto eth0
iface eth0 inet static
    mtu 1400
    address 192.0.2.42
    netmask 255.255.255.0
    gateway 192.0.2.1
    post-up ip -4 addr add 192.0.2.43/24 dev eth0
    pre-down ip -4 addr del 192.0.2.43/24 dev eth0 || true
    dns-nameservers 192.0.2.2
iface eth0 inet6 static
    address 2001:db8::42
    netmask 64
    post-up ip -6 addr add 2001:db8::43/64 dev eth0
    pre-down ip -6 addr del 2001:db8::43/64 dev eth0 || true
    post-up ip -6 route replace default via 2001:db8:f::1 dev eth0 onlink || true
    pre-down ip -6 route del default via 2001:db8:f::1 dev eth0 onlink || true
    dns-nameservers 192.0.2.2
"""
    )
    both = Interface("eth0", addresses=(ip_interface("192.0.2.42/24"),), dhcp4=True)
    assert rendered(BusyboxIfup(), Change((both,))).count("iface eth0 inet ") == 1
    assert BusyboxIfup().read({MAIN: FileState(rendered(BusyboxIfup(), Change((both,))).encode())}) == (both,)


@pytest.mark.parametrize("backend", [IfupdownNg(), BusyboxIfup()], ids=lambda backend: backend.name)
def test_what_was_recorded_is_configured_again(backend: Ifupdown) -> None:
    for case in vectors("alpine"):
        if "bare" in case["title"] or case["title"] == "old-spelling":
            continue  # without a label the predecessor died, and with a key in lower case it found no record
        change = read_store(DictStore(case["store"]), nics_of(case["nics"]))
        ours = {each.name: each for each in backend.read({MAIN: FileState(rendered(backend, change).encode())})}
        text = case["after"][MAIN]["content"].replace("2001:db8::43\tnetmask", "2001:db8::43\n\tnetmask")
        theirs = {each.name: each for each in backend.read({MAIN: FileState(text.encode())})}
        for interface in change.interfaces:
            assert ours[interface.name] == interface
            assert theirs[interface.name].addresses == interface.addresses
            assert theirs[interface.name].gateway(4) == interface.gateway(4)


def test_the_plan_is_in_words_that_busybox_knows() -> None:
    change = Change((Interface("eth0", dhcp4=True),))
    snapshot = Snapshot({MAIN: FileState(OWN.encode())})
    plan = BusyboxIfup().plan(change, snapshot, BusyboxIfup().render(change, snapshot))
    assert [step.argv for step in plan.apply.harder] == [
        ("ifdown", "-f", "eth0"), ("ip", "addr", "flush", "dev", "eth0", "scope", "global"), ("ifup", "-f", "eth0"),
    ]  # fmt: skip


def test_ifupdown_ng_is_known_by_its_executors_where_its_program_has_another_s_name(tmp_path: Path) -> None:
    (tmp_path / "etc/network").mkdir(parents=True)
    (tmp_path / "etc/network/interfaces").write_text(OWN)
    (tmp_path / "sbin").mkdir()
    (tmp_path / "sbin/ifupdown").touch(0o755)
    (tmp_path / "sbin/ifup").symlink_to("/sbin/ifupdown")  # as its Makefile installs it, and Alpine has it
    nics = (Nic("eth0", "bc:76:4e:20:00:40"),)
    backends = (Ifupdown(), IfupdownNg(), BusyboxIfup())
    assert not any(backend.probe(Context(root=tmp_path), nics) for backend in backends), "it may be ifupdown2"
    (tmp_path / "usr/libexec/ifupdown-ng").mkdir(parents=True)
    assert [backend.name for backend in backends if backend.probe(Context(root=tmp_path), nics)] == ["ifupdown-ng"]


@pytest.mark.parametrize("program", ["ifup", "ifupdown-ng", "busybox"])
def test_each_holds_what_its_own_ifup_would_bring_up(tmp_path: Path, program: str) -> None:
    (tmp_path / "etc/network").mkdir(parents=True)
    (tmp_path / "etc/network/interfaces").write_text(OWN)
    (tmp_path / "sbin").mkdir()
    (tmp_path / "sbin" / program).touch(0o755)
    if program != "ifup":
        (tmp_path / "sbin/ifup").symlink_to(f"/sbin/{program}")
    nics = (Nic("eth0", "bc:76:4e:20:00:40"), Nic("eth9", "bc:76:4e:20:00:49"))
    for backend in (Ifupdown(), IfupdownNg(), BusyboxIfup()):
        found = backend.probe(Context(root=tmp_path), nics)
        claims = {name: evidence.claim for name, evidence in found.items()}
        assert claims == ({"eth0": Claim.CONFIGURED, "eth9": Claim.COULD} if backend.program == program else {})


@pytest.mark.parametrize("backend", [IfupdownNg(), BusyboxIfup()], ids=lambda each: each.name)
@pytest.mark.parametrize("address", [True, False])
def test_what_has_no_option_for_routers_is_told_to_the_kernel(backend: Ifupdown, address: bool) -> None:
    addresses = (ip_interface("2001:db8::42/64"),) if address else ()
    wanted = Interface("eth0", None, addresses=addresses, accept_ra=False)
    text = rendered(backend, Change((wanted,)))
    assert "    pre-up echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_ra\n" in text
    assert f"iface eth0 inet6 {'static' if address else 'manual'}\n" in text
    assert backend.read({MAIN: FileState(text.encode())}) == (wanted,)
    listening = (
        "use ipv6-ra" if backend.name == "ifupdown-ng" else "pre-up echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_ra"
    )
    again = rendered(backend, Change((Interface("eth0", None, addresses=addresses, accept_ra=True),)), text)
    assert f"    {listening}\n" in again or "inet6 auto\n" in again
    assert "echo 0" not in again


class TestIfupdownNg(NetworkBackendContract):
    files: ClassVar[dict[str, str]] = {MAIN: OWN, "/run/ifstate": "lo=lo 1\neth0=eth0 1\n"}
    kept = ("# mine", "ethtool -s eth0 wol d")
    unsupported = frozenset({"dhcp6"})

    @pytest.fixture
    def backend(self) -> Ifupdown:
        return IfupdownNg()


class TestBusybox(NetworkBackendContract):
    files: ClassVar[dict[str, str]] = {MAIN: OWN, "/var/run/ifstate": "lo=lo\neth0=eth0\n"}
    kept = ("# mine", "ethtool -s eth0 wol d")
    unsupported = frozenset({"dhcp6"})

    @pytest.fixture
    def backend(self) -> Ifupdown:
        return BusyboxIfup()


@pytest.mark.parametrize("backend", [Ifupdown(), IfupdownNg(), BusyboxIfup()], ids=lambda backend: backend.name)
def test_routes_as_cloud_init_writes_them_go_with_the_addresses(backend: Ifupdown) -> None:
    routes = ("-A inet6 default gw 2001:db8:9::1", "-A inet6 2001:db8:8::/48 gw 2001:db8:9::2 metric 5",
              "-net 10.0.0.0/8 gw 198.51.100.1", "-host 10.1.1.1/32 gw 198.51.100.1")  # fmt: skip
    lines = [f"    {verb} || true\n" for route in routes for verb in (f"post-up route add {route}",
                                                                      f"pre-down route del {route}")]  # fmt: skip
    text = "auto eth0\niface eth0 inet6 static\n    address 2001:db8:9::7/64\n" + "".join(lines)
    (before,) = backend.read({MAIN: FileState(text.encode())})
    assert [str(route.destination) for route in before.routes] == [
        "10.0.0.0/8", "10.1.1.1/32", "::/0", "2001:db8:8::/48",
    ]  # fmt: skip
    assert "route add" not in rendered(backend, Change((Interface("eth0"),), whole=False), text)


def test_ifupdown_ng_needs_neither_families_nor_methods() -> None:
    text = """\
auto eth0
iface eth0
    use dhcp
    hostname house
    address 198.51.100.7/24
    address 2001:db8:9::7/64
    gateway 198.51.100.1
    gateway 2001:db8:9::1
"""
    backend = IfupdownNg()
    (found,) = backend.read({MAIN: FileState(text.encode())})
    assert [str(address) for address in found.addresses] == ["198.51.100.7/24", "2001:db8:9::7/64"]
    assert [str(route.gateway) for route in found.routes] == ["198.51.100.1", "2001:db8:9::1"]
    assert found.dhcp4
    wanted = Interface("eth0", None, addresses=(ip_interface("192.0.2.42/24"),))
    after = rendered(backend, Change((wanted,), whole=False), text)
    assert "hostname house" in after
    assert backend.read({MAIN: FileState(after.encode())}) == (wanted,)
    assert "use dhcp" not in after, "else there would be addresses by DHCP too"
    only4 = Interface("eth0", None, addresses=(ip_interface("192.0.2.42/24"),), versions=(4,))
    (found,) = backend.read({MAIN: FileState(rendered(backend, Change((only4,), whole=False), text).encode())})
    assert [str(address) for address in found.addresses] == ["192.0.2.42/24", "2001:db8:9::7/64"]
    assert not found.dhcp4
