"""One IP version of one card, as other distributions ask for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guestagent_commands_net.families import apply_family, describe_family, owner
from guestagent_core import CommandError, Context, InvalidArgumentError

MAC = "bc:76:4e:20:00:40"
INTERFACES = "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet static\n    address 192.0.2.42/24\n"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    root = tmp_path / "guest"
    for path, text in {
        "sys/class/net/eth0/address": f"{MAC}\n",
        "etc/network/interfaces": INTERFACES,
        "etc/hostname": "localhost\n",
        "usr/sbin/ifup": "",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / "usr/sbin/ifup").chmod(0o755)
    return Context(root=root, state_dir=tmp_path / "state")


def test_what_is_there_is_told_and_can_be_put_back(context: Context) -> None:
    assert owner(context) == "ifupdown"
    before = json.loads(json.dumps(describe_family(context, MAC.upper(), "ipv4")))
    assert before == {"family": "ipv4", "mac": MAC, "mode": "static", "addresses": ["192.0.2.42/24"]}
    assert describe_family(context, MAC, "ipv6") == {"family": "ipv6", "mac": MAC, "mode": "none"}
    file = context.path("/etc/network/interfaces")
    apply_family(context, MAC, "ipv4", {"mode": "dhcp"})
    apply_family(context, MAC, "ipv6", {"mode": "static", "address": "2001:db8::7/64", "gateway": "fe80::1"})
    assert file.read_text().endswith(
        "auto eth0\niface eth0 inet dhcp\niface eth0 inet6 static\n    address 2001:db8::7/64\n    gateway fe80::1\n"
    )
    assert apply_family(context, MAC, "ipv4", {"mode": "dhcp"}).record is None
    apply_family(context, MAC, "ipv6", {"mode": "none"})
    apply_family(context, MAC, "ipv4", before)
    assert file.read_text() == INTERFACES


def test_a_card_that_is_not_here_is_an_error_and_so_is_a_machine_that_nobody_configures(context: Context) -> None:
    for function in (lambda: apply_family(context, "00:00:00:00:00:01", "ipv4", {"mode": "dhcp"}),
                     lambda: describe_family(context, "00:00:00:00:00:01", "ipv4")):  # fmt: skip
        with pytest.raises(InvalidArgumentError, match=r"^Unknown interface MAC 00:00:00:00:00:01$"):
            function()
    with pytest.raises(InvalidArgumentError, match="'ipx' is not ipv4 or ipv6"):
        describe_family(context, MAC, "ipx")
    context.path("/usr/sbin/ifup").unlink()
    assert owner(context) is None
    with pytest.raises(CommandError, match="Nothing that configures eth0 was found"):
        describe_family(context, MAC, "ipv4")
