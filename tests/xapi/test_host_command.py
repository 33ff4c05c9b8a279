"""The words of ``guestagent-xen-host DOMID xapi``, as a laboratory gives them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from typing import Any

import pytest
from tests.xen.harness import Daemon, Guest

from guestagent_xen.host import __main__ as command

from .conftest import MACS

Run = Callable[..., str]


@pytest.fixture
def xapi(daemon: Daemon, guest: Guest, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a verb, which may not fail, and returns what it printed."""

    def run(*words: str) -> str:
        status = command.main(["--socket", os.fspath(daemon.socket), str(guest.domid), "xapi", *words])
        shown = capsys.readouterr()
        assert (status, shown.err) == (0, "")
        return shown.out

    return run


@pytest.fixture
def setting(xapi: Run) -> Callable[..., dict[str, Any]]:
    """Returns what stands beside a setting."""

    def read(*words: str) -> dict[str, Any]:
        found = json.loads(xapi("show-setting", *words))
        assert isinstance(found, dict)
        return found

    return read


def test_a_setting_goes_through_all_its_modes(xapi: Run, setting: Callable[..., dict[str, Any]]) -> None:
    assert re.fullmatch(r"[0-9a-f-]{36}\n", xapi("make"))
    plugged = {"mac": MACS[0], "error-code": "0", "error-msg": "", "enabled": "0", "enabled6": "0"}
    assert xapi("plug", "0", MACS[0]) == ""
    assert setting("0") == plugged
    xapi("static", "0", "192.0.2.10/24", "192.0.2.1")
    fourth = {"enabled": "1", "address": "192.0.2.10/24", "gateway": "192.0.2.1"}
    assert setting("0") == plugged | fourth
    xapi("static", "-6", "0", "2001:db8::10/64")
    sixth = {"enabled6": "1", "address6": "2001:db8::10/64"}
    assert setting("0") == plugged | fourth | sixth
    xapi("dhcp", "0")
    assert setting("0") == plugged | {"enabled": "2"} | sixth
    xapi("none", "0", "-6")
    assert setting("0") == plugged | {"enabled": "2"}


def test_virtual_functions_have_a_folder_of_their_own(
    xapi: Run, setting: Callable[..., dict[str, Any]], daemon: Daemon, guest: Guest
) -> None:
    xapi("make")
    xapi("plug", "--sriov", "5", MACS[1])
    xapi("static", "--sriov", "5", "192.0.2.11/24")
    assert setting("--sriov", "5")["address"] == "192.0.2.11/24"
    assert daemon.host.read(f"{guest.home}/xenserver/device/net-sriov-vf/5/mac") == MACS[1].encode()


def test_a_resume_makes_all_anew(xapi: Run, setting: Callable[..., dict[str, Any]]) -> None:
    first = xapi("make")
    xapi("plug", "0", MACS[0])
    xapi("static", "0", "192.0.2.10/24")
    assert xapi("resume", f"0={MACS[0]}") != first
    assert "address" not in setting("0")


def test_vm_data_is_replaced(xapi: Run, daemon: Daemon, guest: Guest) -> None:
    xapi("make")
    xapi("set-data", "vm-data/old=1", "vm-data/kept=a=b")
    xapi("set-data", "vm-data/kept=2")
    assert daemon.host.list(f"{guest.home}/vm-data") == ["kept"]
    assert daemon.host.read(f"{guest.home}/vm-data/kept") == b"2"


def test_what_the_host_sees_of_a_guest_without_an_agent_is_shown(xapi: Run) -> None:
    xapi("make")
    seen = json.loads(xapi("show"))
    assert seen["networks"] == seen["os_version"] == seen["pv_drivers_version"] == {}
    assert seen["other"]["has-vendor-device"] == "0"


def test_addresses_of_devices_and_of_virtual_functions_are_shown_together(
    xapi: Run, daemon: Daemon, guest: Guest
) -> None:
    xapi("make")
    daemon.host.write(
        {
            f"{guest.home}/attr/vif/0/ipv4/0": b"192.0.2.10",
            f"{guest.home}/xenserver/attr/net-sriov-vf/5/ipv4/2": b"192.0.2.11",
        }
    )
    addresses = {"0/ip": "192.0.2.10", "0/ipv4/0": "192.0.2.10", "5/ip": "192.0.2.11", "5/ipv4/2": "192.0.2.11"}
    assert json.loads(xapi("show"))["networks"] == addresses


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["script", "acme.echo"], 5, "does not take scripts"),
        (["set-data", "key"], 2, "'key' has to be NAME=VALUE"),
    ],
)
def test_what_cannot_be_done_is_said(
    words: list[str],
    status: int,
    said: str,
    xapi: Run,
    daemon: Daemon,
    guest: Guest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    xapi("make")
    assert command.main(["--socket", os.fspath(daemon.socket), str(guest.domid), "xapi", *words]) == status
    assert said in capsys.readouterr().err


def test_a_word_that_is_none_is_wrong_use(daemon: Daemon, guest: Guest, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["--socket", os.fspath(daemon.socket), str(guest.domid), "xapi", "unplug", "0"])
    assert "invalid choice: 'unplug'" in capsys.readouterr().err
