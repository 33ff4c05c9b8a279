"""netctl: what is written to its profiles, and what of others stays."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from tests.net.models import CARDS, QUICK, DictStore, changes, nics_of, vectors

from guestagent_commands_net.backends import Claim, FileState, Snapshot
from guestagent_commands_net.model import Change, Dns, Interface, Route
from guestagent_commands_net.owners import assign
from guestagent_commands_net.readers.sources import read_store
from guestagent_commands_net.testing import NetworkBackendContract, apply_changes
from guestagent_commands_net.tools.netctl import Netctl
from guestagent_commands_net.tools.netctl_form import as_read
from guestagent_commands_net.tools.netctl_profiles import Profile
from guestagent_core import CommandError, Context

FOLDER = "/etc/netctl"
BACKEND = Netctl()

MINE = """\
# mine
Description='the first card'
Interface=eth0
Connection=ethernet
IP=static
Address=('198.51.100.7/255.255.255.0'
         '198.51.100.8/24') # two
Gateway=198.51.100.1
Routes=('10.208.0.0/255.240.0.0 via 198.51.100.9')
IPCustom=('rule add from 198.51.100.8 table 7')
DNS=(198.51.100.2)
## by hand
ExecUpPost='echo "up"'
"""


def rendered(change: Change, files: dict[str, str], **facts: str) -> dict[str, str | None]:
    states = {path: FileState(text.encode()) for path, text in files.items()}
    found = BACKEND.render(change, Snapshot(states, facts, CARDS))
    return {each.path: None if each.content is None else each.content.decode() for each in found}


@pytest.mark.parametrize("case", vectors("arch-netctl"), ids=lambda case: case["title"])
def test_what_was_recorded_is_configured_again(case: dict[str, Any]) -> None:
    change = read_store(DictStore(case["store"]), nics_of(case["nics"]))
    found = rendered(change, {})
    for interface in change.interfaces:
        path = f"{FOLDER}/{interface.name}"
        (ours,) = BACKEND.read({path: FileState((found[path] or "").encode())})
        (theirs,) = BACKEND.read({path: FileState(case["after"][path]["content"].encode())})
        assert ours == interface
        # The original wrote the first address of either version only.
        assert theirs.addresses == tuple(each for v in (4, 6) for each in interface.addresses_of(v)[:1])
        assert (theirs.routes, theirs.dns) == (interface.routes, interface.dns)


def test_a_profile_is_changed_where_it_is() -> None:
    wanted = Interface("eth0", addresses=(ip_interface("192.0.2.42/24"),), mtu=1400)
    assert rendered(Change((wanted,), whole=False), {f"{FOLDER}/home": MINE}) == {
        f"{FOLDER}/home": """\
# mine
Description='the first card'
Connection=ethernet
Interface=eth0
IP=static
Address=('192.0.2.42/24')
IPCustom=('link set dev eth0 mtu 1400' 'rule add from 198.51.100.8 table 7')
## by hand
ExecUpPost='echo "up"'
"""
    }


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
            Route(ip_network("::/0"), ip_address("fe80::def"), 50),
        ),
        Dns((ip_address("192.0.2.2"),), ("example.org", "a.example")),
    )
    (text,) = rendered(Change((wanted,)), {}).values()
    assert (
        text
        == """\
# Label public
Connection=ethernet
Interface=eth0
IP=static
Address=('192.0.2.42/24' '192.0.2.43/24')
Gateway=192.0.2.1
Routes=('10.0.0.0/8 via 192.0.2.9 metric 7 mtu 1400' '10.9.0.0/16')
IP6=static
Address6=('2001:db8::42/64')
Routes6=('default via fe80::def metric 50')
DNS=('192.0.2.2')
DNSSearch='example.org a.example'
"""
    )


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@QUICK
@given(change=changes())
def test_what_is_written_is_read_back_and_bash_reads_the_same(change: Change) -> None:
    files = apply_changes({}, BACKEND.render(change, Snapshot({}, {}, CARDS)))
    found = {each.name: each for each in BACKEND.read(files, CARDS)}
    for interface in change.interfaces:
        assert found[interface.name] == as_read(interface)
    assert BACKEND.render(change, Snapshot(files, {}, CARDS)) == ()
    path, state = next(iter(files.items()))
    profile = Profile(path, state.content.decode())
    show = 'eval "$1"; printf "%s\\n" "${Address[@]}" "${Routes6[@]}" "${IPCustom[@]}" "$DNSSearch"'
    argv = ["bash", "-ec", show, "-", profile.text()]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    listed = [line for key in ("Address", "Routes6", "IPCustom") for line in profile.values(key)]
    assert said.splitlines() == [*listed, profile.get("DNSSearch")]


def test_of_several_profiles_the_enabled_one_counts() -> None:
    files = {f"{FOLDER}/eth0": MINE, f"{FOLDER}/home": MINE}
    wanted = Change((Interface("eth0", dhcp4=True),), whole=False)
    assert list(rendered(wanted, files)) == [f"{FOLDER}/eth0"]
    assert list(rendered(wanted, files, **{"enabled home": "yes"})) == [f"{FOLDER}/home"]


def test_profiles_are_stopped_with_the_old_files_and_started_with_the_new_ones() -> None:
    change = Change((Interface("eth0", dhcp4=True),), removed=("eth1",), whole=False)
    second = MINE.replace("eth0", "eth1")
    snapshot = Snapshot({f"{FOLDER}/a": FileState(MINE.encode()), f"{FOLDER}/b": FileState(second.encode())}, {}, CARDS)
    plan = BACKEND.plan(change, snapshot, BACKEND.render(change, snapshot))

    def argvs(steps: Any) -> list[str]:
        return [" ".join(step.argv) for step in steps]

    flushed = ["ip addr flush dev {} scope global", "ip link set dev {} down"]
    assert argvs(plan.apply.before) == [
        "netctl stop b", "netctl disable b", *(each.format("eth1") for each in flushed),
        "netctl stop a", *(each.format("eth0") for each in flushed),
    ]  # fmt: skip
    assert argvs(plan.apply.after) == ["netctl start a", "netctl reenable a"]
    assert argvs(plan.revert.after) == ["netctl start a", "netctl reenable a", "netctl start b", "netctl reenable b"]
    assert argvs(BACKEND.validate(change, snapshot.files, "/staged")) == ["bash -n /staged/etc/netctl/a"]


def test_what_it_holds_and_what_is_no_profile(tmp_path: Path) -> None:
    for path, text in {
        "home": MINE, "home~": MINE, "examples/ethernet": MINE, "wifi": "Connection=wireless\nInterface=wlan0\nKey=x\n",
        "broken": "Address=('x'\n", "eth9": "Connection=ethernet\n",
    }.items():  # fmt: skip
        place = tmp_path / "etc/netctl" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    context = Context(root=tmp_path)
    assert list(BACKEND.gather(context, CARDS).files) == [f"{FOLDER}/home"]
    assert BACKEND.probe(context, CARDS) == {}
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/netctl").touch(0o755)
    found = {name: evidence.claim for name, evidence in BACKEND.probe(context, CARDS[:2]).items()}
    assert found == {"eth0": Claim.COULD, "eth1": Claim.COULD}, "a profile, and not enabled"
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "netctl@home.service").symlink_to("/usr/lib/systemd/system/netctl@.service")
    found = {name: evidence.claim for name, evidence in BACKEND.probe(context, CARDS[:2]).items()}
    assert found == {"eth0": Claim.CONFIGURED, "eth1": Claim.COULD}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("Interface=eth0\nConnection=ethernet\nAddress=('x'\n", f"{FOLDER}/a:3: a list or a quote has no end"),
        ("Interface=eth0\nConnection=ethernet\nIP=static\nAddress=10.9.0.999/8\n", f"{FOLDER}/a: '10.9.0.999/8'"),
    ],
)
def test_a_file_that_cannot_be_understood_is_named(text: str, error: str) -> None:
    with pytest.raises(CommandError, match=error):
        BACKEND.read({f"{FOLDER}/a": FileState(text.encode())})


@pytest.mark.parametrize("form", ["etc/network.d", "etc/rc.d/network"])
def test_a_guest_of_a_dead_form_is_told_so(tmp_path: Path, form: str) -> None:
    (tmp_path / form).mkdir(parents=True)
    (tmp_path / "etc/arch-release").touch()
    with pytest.raises(
        CommandError, match=f"Nothing that configures eth0 was found.*/{form} is there.*move the guest to"
    ):
        assign(Change((Interface("eth0"),)), {"netctl": BACKEND}, Context(root=tmp_path), CARDS)


class TestNetctl(NetworkBackendContract):
    files: ClassVar[dict[str, str]] = {
        f"{FOLDER}/home": MINE,
        f"{FOLDER}/eth5": "# the fifth\nInterface=eth5\nConnection=ethernet\nIP=dhcp\n",
    }
    kept = ("# mine", "Description='the first card'", "rule add from", "## by hand", "ExecUpPost=", "# the fifth")

    def as_read(self, interface: Interface) -> Interface:
        return as_read(interface)

    @pytest.fixture
    def backend(self) -> Netctl:
        return Netctl()


def test_routes_of_other_tables_stay_while_their_gateways_are_reached() -> None:
    text = """\
Interface=eth0
Connection=ethernet
IP=static
Address=('192.0.2.41/24')
Routes=('10.1.0.0/16 via 192.0.2.3' 'default via 192.0.2.1 table 5' '10.2.0.0/16 via 192.0.2.1 src 192.0.2.41')
"""
    wanted = Interface("eth0", None, None, (ip_interface("192.0.2.42/24"),))
    (new,) = rendered(Change((wanted,), whole=False), {f"{FOLDER}/a": text}).values()
    assert "Routes=('default via 192.0.2.1 table 5')\n" in (new or "")
    elsewhere = replace(wanted, addresses=(ip_interface("203.0.113.7/24"),))
    (new,) = rendered(Change((elsewhere,), whole=False), {f"{FOLDER}/a": text}).values()
    assert "Routes" not in (new or "")


def test_lists_are_read_as_bash_reads_them() -> None:
    text = """\
Interface=eth0
Connection=ethernet
IP=static
Address=('192.0.2.41/24') # office (main)
Address+=( 192.0.2.42/24
  '192.0.2.43/24' # a) house
)
DNS=()
"""
    (found,) = BACKEND.read({f"{FOLDER}/a": FileState(text.encode())})
    assert [str(address) for address in found.addresses] == ["192.0.2.41/24", "192.0.2.42/24", "192.0.2.43/24"]
    done = subprocess.run(["bash", "-c", f'{text}\necho "${{Address[@]}}"'], capture_output=True, check=True)
    assert done.stdout.split() == [str(address).encode() for address in found.addresses]
