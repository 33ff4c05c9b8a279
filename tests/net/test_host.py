"""The host name, /etc/hosts, /etc/resolv.conf and cloud-init, and who owns which interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.net.models import CARDS, QUICK, DictStore, nics_of, vectors

from guestagent_commands_net.backends import Claim, Evidence, NetworkBackend
from guestagent_commands_net.machine.host import host_changes, host_steps, log_lines
from guestagent_commands_net.machine.hosts_file import with_host
from guestagent_commands_net.model import Bond, Change, Dns, Interface, Nic, Vlan
from guestagent_commands_net.nics import local_nics
from guestagent_commands_net.owners import assign, complete, installed_backends
from guestagent_commands_net.readers.sources import read_store
from guestagent_core import CommandError, Context

GROWS = {"two names, already right": "192.0.2.1\texample.com example\n"}
"""The recorded cases of /etc/hosts in which the original was wrong, and what is right."""


@pytest.mark.parametrize("case", vectors("hosts"), ids=lambda case: case["title"])
def test_hosts_is_as_recorded_and_does_not_grow(case: dict[str, Any]) -> None:
    addresses = [each[0]["address"] for interface in case["interfaces"].values() for each in interface.values() if each]
    after = with_host(case["hosts_before"], addresses, case["hostname"])
    assert after == GROWS.get(case["title"], case["hosts_after"])
    assert with_host(after, addresses, case["hostname"]) == after


@QUICK
@given(
    text=st.lists(
        st.sampled_from((
            "192.0.2.1 a", "192.0.2.1 a a.example", "192.0.2.1 b.example a # x", "# 192.0.2.1 a", "", "2001:DB8::1 a",
            "127.0.1.1 old.example old", "127.0.0.1 localhost", " 203.0.113.9\tx  y", "192.0.2.1",
        ))
    ).map("\n".join),
    names=st.lists(st.sampled_from(("web", "web.example.org", "old")), min_size=1, max_size=5),
)  # fmt: skip
def test_hosts_never_grows_by_repeating(text: str, names: list[str]) -> None:
    once = text
    for name in names:
        once = with_host(once, ["192.0.2.1", "2001:db8::1"], name, old_name="old")
        assert with_host(once, ["192.0.2.1", "2001:db8::1"], name, old_name=name) == once
    assert once.count("Removed by") <= 2  # one for each address
    assert [line for line in text.splitlines() if "203.0.113.9" in line or "localhost" in line] == [
        line for line in once.splitlines() if "203.0.113.9" in line or "localhost" in line
    ]


def test_debians_own_line_follows_the_name_and_lines_of_gone_addresses_go() -> None:
    before = "127.0.1.1\told.example.org old\n192.0.2.9\told\n192.0.2.8\told # mine\n198.51.100.1 old\n"
    after = with_host(before, ["192.0.2.1"], "web", gone=["192.0.2.9", "192.0.2.8"], old_name="old")
    assert after == "127.0.1.1\tweb.example.org web\n192.0.2.8\told # mine\n198.51.100.1 old\n192.0.2.1\tweb\n"


ETH0 = Interface(
    "eth0", addresses=(ip_interface("192.0.2.42/24"),), dns=Dns((ip_address("192.0.2.2"),), ("a.example",))
)


def guest(root: Path, files: Mapping[str, str]) -> Context:
    for path, text in files.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return Context(root=root)


def changed(context: Context, change: Change, **more: Any) -> dict[str, str]:
    found = host_changes(change, context, **more)
    for each in found:
        place = context.path(each.path)
        place.parent.mkdir(parents=True, exist_ok=True)
        assert each.content is not None
        place.write_bytes(each.content)
    assert host_changes(change, context, **more) == (), "doing it again changes something"
    return {each.path: (each.content or b"").decode() for each in found}


def test_the_host_name_is_kept_in_its_file_and_in_hosts(tmp_path: Path) -> None:
    context = guest(tmp_path, {"/etc/hostname": "# mine\nold\n", "/etc/hosts": "127.0.1.1 old\n"})
    assert changed(context, Change((ETH0,), hostname="web")) == {
        "/etc/hostname": "# mine\nweb\n",
        "/etc/hosts": "127.0.1.1\tweb\n192.0.2.42\tweb\n",
    }
    assert host_steps(Change(hostname="web"), context) == ()  # no service manager there


def test_without_a_name_the_current_one_stays_and_localhost_is_none(tmp_path: Path) -> None:
    context = guest(tmp_path, {"/etc/hostname": "old\n"})
    assert changed(context, Change((ETH0,))) == {"/etc/hosts": "192.0.2.42\told\n"}
    for name in ("localhost", "localhost.localdomain"):
        context = guest(tmp_path / name, {"/etc/hostname": f"{name}\n", "/etc/hosts": "127.0.0.1 localhost\n"})
        assert changed(context, Change((ETH0,))) == {}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("nameserver 198.51.100.1\n", "search a.example\nnameserver 192.0.2.2\n"),
        (None, "search a.example\nnameserver 192.0.2.2\n"),
        ("# mine\noptions edns0\ndomain x\nnameserver 1.1.1.1\nnameserver 2.2.2.2\nsortlist 1.0.0.0",
         "# mine\noptions edns0\nsearch a.example\nnameserver 192.0.2.2\nsortlist 1.0.0.0\n"),
    ],
)  # fmt: skip
def test_resolv_conf_gets_the_servers_and_keeps_the_rest(tmp_path: Path, before: str | None, after: str) -> None:
    context = guest(tmp_path, {"/etc/hostname": "localhost\n", **({"/etc/resolv.conf": before} if before else {})})
    assert changed(context, Change((ETH0,)), resolv_conf=True) == {"/etc/resolv.conf": after}
    assert host_changes(Change((Interface("eth0"),)), context, resolv_conf=True) == ()  # no servers: as it is


def test_resolv_conf_of_one_card_keeps_the_servers_of_others(tmp_path: Path) -> None:
    text = "nameserver 192.0.2.77\nnameserver 203.0.113.1\n"
    context = guest(tmp_path, {"/etc/hostname": "localhost\n", "/etc/resolv.conf": text})
    before = Interface("eth0", dns=Dns((ip_address("192.0.2.77"),)))
    after = Interface("eth0", dns=Dns((ip_address("192.0.2.2"),)))
    found = changed(context, Change((after,), whole=False), resolv_conf=True, previous=[before])
    assert found == {"/etc/resolv.conf": "nameserver 192.0.2.2\nnameserver 203.0.113.1\n"}


@pytest.mark.parametrize("target", ["../run/systemd/resolve/stub-resolv.conf", "/nowhere", "resolv.conf"])
def test_a_resolv_conf_that_is_a_link_is_never_touched(tmp_path: Path, target: str) -> None:
    context = guest(tmp_path, {"/etc/hostname": "localhost\n", "/run/systemd/resolve/stub-resolv.conf": "x\n"})
    (tmp_path / "etc/resolv.conf").symlink_to(target)
    if target == "resolv.conf":
        with pytest.raises(OSError, match="symbolic"):
            host_changes(Change((ETH0,)), context, resolv_conf=True)
    else:
        assert host_changes(Change((ETH0,)), context, resolv_conf=True) == ()


@pytest.mark.parametrize("text", ["# Generated by NetworkManager\n", "# Generated by resolvconf\n"])
def test_a_resolv_conf_of_a_program_is_left_to_it(tmp_path: Path, text: str) -> None:
    context = guest(tmp_path, {"/etc/hostname": "localhost\n", "/etc/resolv.conf": text})
    assert host_changes(Change((ETH0,)), context, resolv_conf=True) == ()


def test_resolvconf_has_it_unless_that_is_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = guest(tmp_path, {"/etc/hostname": "localhost\n", "/sbin/resolvconf": ""})
    (tmp_path / "sbin/resolvconf").chmod(0o755)
    assert host_changes(Change((ETH0,)), context, resolv_conf=True) == ()
    monkeypatch.setenv("NOVA_AGENT_RESOLVCONF", "off")
    assert [each.path for each in host_changes(Change((ETH0,)), context, resolv_conf=True)] == ["/etc/resolv.conf"]


def test_resolv_conf_is_as_recorded(tmp_path: Path) -> None:
    for case in vectors("debian"):
        if case["title"] in ("no-config", "no-resolv-conf", "resolvconf-first-time"):
            continue
        change = read_store(DictStore(case["store"]), nics_of(case["nics"]))
        before = {path: text for path, text in case["before"].items() if isinstance(text, str)}
        context = guest(tmp_path / case["title"], before)
        found = changed(context, change, resolv_conf=True)
        recorded = case["after"].get("/etc/resolv.conf", {}).get("content")
        ours = found.get("/etc/resolv.conf", before["/etc/resolv.conf"] if recorded is None else "")
        assert sorted(_servers(ours)) == sorted(_servers(recorded or before["/etc/resolv.conf"])), case["title"]
        if change.hostname == "example":
            assert found["/etc/hostname"] == case["after"]["/etc/hostname"]["content"]
            theirs = case["after"]["/etc/hosts"]["content"]
            assert sorted(found["/etc/hosts"].splitlines()) == sorted(theirs.splitlines())


def _servers(text: str) -> list[str]:
    return [line.split()[1] for line in text.splitlines() if line.startswith("nameserver")]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, False),
        ({"/etc/cloud/cloud.cfg": "users: [default]\n"}, True),
        ({"/etc/cloud/cloud.cfg": "#network: {config: disabled}\n"}, True),
        ({"/etc/cloud/cloud.cfg": "network:\n  config: disabled\n"}, False),
        ({"/etc/cloud/cloud.cfg": "x: 1\nnetwork:  # off\n  # really\n  config: 'disabled'\n"}, False),
        ({"/etc/cloud/cloud.cfg": "", "/etc/cloud/cloud.cfg.d/90.cfg": "network: {config: disabled}\n"}, False),
        ({"/etc/cloud/cloud.cfg": "", "/etc/cloud/cloud.cfg.d/90.txt": "network: {config: disabled}\n"}, True),
        ({"/etc/cloud/cloud.cfg": "", "/etc/cloud/cloud-init.disabled": ""}, False),
    ],
)
def test_cloud_init_is_told_once_not_to_write_the_network(tmp_path: Path, files: dict[str, str], told: bool) -> None:
    import yaml

    context = guest(tmp_path, {"/etc/hostname": "localhost\n", **files})
    assert host_changes(Change(hostname="localhost"), context) == ()  # nothing about the network
    found = host_changes(Change((Interface("eth0"),)), context)
    assert bool(log_lines(found)) is told
    text = changed(context, Change((Interface("eth0"),))).get("/etc/cloud/cloud.cfg.d/99-guestagent-network.cfg")
    assert (text is not None) is told
    assert text is None or yaml.safe_load(text) == {"network": {"config": "disabled"}}


class Tool:
    """A backend that holds what it is told to."""

    writes_resolv_conf = True

    def __init__(self, name: str, priority: int, claims: dict[str, Claim]) -> None:
        self.name, self.priority, self.claims = name, priority, claims

    def probe(self, context: Context, nics: Sequence[Nic]) -> Mapping[str, Evidence]:
        known = {nic.name for nic in nics}
        return {name: Evidence(claim, f"{self.name} says so") for name, claim in self.claims.items() if name in known}


def owners(change: Change, *tools: Tool, named: str | None = None) -> dict[str, tuple[str, ...]]:
    backends: dict[str, NetworkBackend] = {tool.name: tool for tool in tools}  # type: ignore[misc]
    found = assign(change, backends, Context(root=Path("/nowhere")), CARDS, named)
    return {name: share.names for name, _, share in found}


def test_the_owner_now_decides_not_what_is_installed() -> None:
    change = Change((Interface("eth0"), Interface("eth1"), Interface("eth2")), removed=("eth3", "eth4", "tap0"))
    claims = {"eth0": Claim.CONFIGURED, "eth1": Claim.COULD, "eth2": Claim.COULD}
    first = Tool("first", 1, {**claims, "eth3": Claim.CONFIGURED, "eth4": Claim.COULD})
    second = Tool("second", 2, {"eth0": Claim.MANAGES, "eth1": Claim.CONFIGURED, "eth2": Claim.COULD})
    assert owners(change, first, second) == {"second": ("eth0", "eth1", "eth2"), "first": ("eth3",)}
    # eth4 and tap0 are not configured by anybody: whatever is there, there is nothing to remove.
    assert owners(change, first, second, named="first") == {"first": ("eth0", "eth1", "eth2", "eth3")}


def test_a_part_of_a_bridge_gets_no_addresses() -> None:
    tool = Tool("one", 1, {"eth0": Claim.MANAGES})
    nics = (Nic("eth0", CARDS[0].mac, master="br0"),)
    backends: dict[str, NetworkBackend] = {"one": tool}  # type: ignore[dict-item]
    context = Context(root=Path("/nowhere"))
    with pytest.raises(CommandError, match="eth0 is part of br0: addresses belong there"):
        assign(Change((ETH0,)), backends, context, nics)
    assert assign(Change((Interface("eth0"),)), backends, context, nics)


def test_two_live_owners_are_an_error_that_names_both() -> None:
    both = [Tool(name, 1, {"eth0": Claim.MANAGES}) for name in ("one", "two")]
    with pytest.raises(CommandError, match=r"eth0 is managed by one \(one says so\) and two \(two says so\)"):
        owners(Change((Interface("eth0"),)), *both)
    assert owners(Change((Interface("eth0"),)), *both, named="two") == {"two": ("eth0",)}


def test_nobody_is_an_error_and_a_name_that_is_not_installed_too() -> None:
    with pytest.raises(CommandError, match=r"Nothing that configures eth0 was found \(network backends: one\)"):
        owners(Change((Interface("eth0"),)), Tool("one", 1, {}))
    with pytest.raises(CommandError, match=r"'x' is not installed \(installed: one\)"):
        owners(Change((Interface("eth0"),)), Tool("one", 1, {}), named="x")


def test_what_is_made_of_others_belongs_to_whoever_has_those() -> None:
    tool = Tool("one", 1, {"eth0": Claim.MANAGES, "eth1": Claim.MANAGES})
    other = Tool("two", 0, {"eth0": Claim.COULD, "bond0": Claim.COULD, "v": Claim.COULD})
    bond = Interface("bond0", link=Bond(("eth0", "eth1")))
    change = Change((Interface("eth0"), Interface("eth1"), bond, Interface("v", link=Vlan(5, "bond0"))))
    assert owners(change, tool, other) == {"one": change.names}


def test_a_whole_set_removes_cards_without_a_record_and_what_was_configured_before() -> None:
    nics = (*CARDS[:3], Nic("br0", CARDS[0].mac, physical=False))
    change = Change((Interface("eth0"), Interface("bond0", link=Bond(("eth2",)))))
    assert complete(change, nics, ("eth0", "eth9")).removed == ("eth1", "eth9")
    part = Change((Interface("eth0"),), whole=False)
    assert complete(part, nics, ("eth9",)) == part


def test_the_backends_that_are_installed_are_found() -> None:
    assert {"ifupdown", "netplan", "networkmanager"} <= set(installed_backends())
    assert all(isinstance(backend, NetworkBackend) for backend in installed_backends().values())
    assert all(backend.name == name for name, backend in installed_backends().items())


def test_cards_are_found_and_what_stands_for_something_else_is_told_apart(tmp_path: Path) -> None:
    sysfs = {
        "eth0/address": "BC:76:4E:20:00:40\n", "eth0/type": "1\n", "eth0/operstate": "up\n",
        "eth0/device/nodename": "device/vif/3\n",
        "eth0.5/address": "bc:76:4e:20:00:40\n", "eth0.5/uevent": "DEVTYPE=vlan\n",
        "bond0/address": "bc:76:4e:20:00:40\n", "bond0/bonding/mode": "",
        "tun0/address": "\n", "tun0/type": "65534\n", "lo/address": "00:00:00:00:00:00\n", "lo/type": "772\n",
    }  # fmt: skip
    context = guest(tmp_path, {f"/sys/class/net/{path}": text for path, text in sysfs.items()})
    assert local_nics(context) == (
        Nic("bond0", "bc:76:4e:20:00:40", physical=False),
        Nic("eth0", "bc:76:4e:20:00:40", up=True, vif=3),
        Nic("eth0.5", "bc:76:4e:20:00:40", physical=False),
    )
    assert local_nics(Context(root=tmp_path / "nowhere")) == ()
