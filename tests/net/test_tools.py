"""resetnetwork with the real tools: applied, verified, or put back. The kernel is read back by ``ip -j``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.net import lab
from tests.net.scenarios import TOOLS, Guest, shown, wanted

pytestmark = pytest.mark.real
CHANGED = "changed: eth0\nunchanged: eth1, eth2\n"
UNCHANGED = "unchanged: eth0, eth1, eth2\n"
NOTHING: tuple[set[str], set[str]] = (set(), set())


@pytest.fixture(params=TOOLS, ids=[tool.name for tool in TOOLS])
def guest(request: pytest.FixtureRequest) -> Iterator[Guest]:
    with Guest(request.param) as made:
        yield made


def test_one_interface_is_configured_changed_and_left_alone(guest: Guest) -> None:
    assert guest.apply(wanted(10)) == CHANGED
    assert guest.state() == shown(10)
    assert guest.machine.link("eth0")["operstate"] == "UP"
    files = guest.files()
    with lab.Deletions(guest.machine, "eth0") as deleted:
        assert guest.apply(wanted(10)) == UNCHANGED
    assert deleted.lines == []
    assert guest.files() == files
    guest.apply(wanted(20, mtu=1400))
    assert guest.state() == shown(20)
    assert guest.apply(wanted(20, mtu=1400)) == UNCHANGED
    # The other way: what is missing is missing in the kernel alone.
    guest.machine.run("ip", "addr", "del", "10.9.0.20/24", "dev", "eth0", check=True)
    assert guest.apply(wanted(20, mtu=1400)) == CHANGED
    assert guest.state() == shown(20)
    guest.machine.run("ip", "addr", "add", "10.9.0.77/24", "dev", "eth0", check=True)
    assert guest.apply(wanted(20, mtu=1400)) == CHANGED
    assert guest.state() == shown(20)


def test_interfaces_come_and_go_and_the_others_are_not_touched(guest: Guest) -> None:
    first, second = wanted(10), wanted(10, card=1, gateway=False)
    guest.apply(first)
    with lab.Deletions(guest.machine, "eth0") as deleted:
        guest.apply(first, second)
    assert guest.state(0) == shown(10)
    assert guest.state(1) == shown(10, card=1, gateway=False)
    assert deleted.lines == []
    with lab.Deletions(guest.machine, "eth0") as deleted:
        guest.apply(first, wanted(20, card=1, gateway=False))
    assert guest.state(1) == shown(20, card=1, gateway=False)
    assert deleted.lines == []
    with lab.Deletions(guest.machine, "eth0") as deleted:
        guest.apply(first)
    assert guest.state(0) == shown(10)
    assert guest.state(1) == NOTHING
    assert deleted.lines == []


def test_what_the_tool_rejects_changes_nothing(guest: Guest) -> None:
    guest.apply(wanted(10))
    guest.machine.run("sh", "-ec", guest.tool.spoil, check=True)
    files = guest.files()
    with lab.Deletions(guest.machine, "eth0") as deleted:
        done = guest.net("apply", wanted(20))
    assert done.returncode == 1
    assert "The network was not changed: validate: " in done.stderr
    assert "Now nothing was changed" in done.stderr
    assert deleted.lines == []
    assert guest.state() == shown(10)
    assert guest.files() == files


def test_what_the_tool_accepts_and_does_not_apply_is_found_out_and_put_back(guest: Guest) -> None:
    guest.apply(wanted(10))
    files = guest.files()
    for program in guest.tool.liars:
        guest.machine.run("mv", program, f"{program}.true", check=True)
        # What only asks, or checks a file without applying it, is answered.
        guest.machine.write(
            program,
            f"""\
            #!/bin/sh
            case " $* " in *" --offline "*|*" -f "*|*" status "*|*" show "*|*" list "*) exec {program}.true "$@";; esac
            exit 0
            """,
            0o755,
        )
    done = guest.net("apply", wanted(20), timeout=25)
    assert done.returncode == 1
    assert "verify: eth0: " in done.stderr
    assert "the address 10.9.0.20/24 is missing" in done.stderr
    assert "the old" in done.stderr
    assert guest.state() == shown(10)
    assert guest.files() == files
