"""Whoever configures the network is found on what the distributions have at first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.net.live import plant
from tests.net.migrations import MIGRATIONS, RUNNING
from tests.net.models import CARDS
from tests.net.trees import IFUPDOWN, NETWORKD, NETWORKING, NM, SCRIPTS, TREES, Tree

from guestagent_commands_net.model import Change, Interface
from guestagent_commands_net.owners import assign, installed_backends
from guestagent_core import CommandError, Context

BACKENDS = installed_backends()
NICS = (replace(CARDS[0], up=True), *CARDS[1:])


def owners(context: Context, name: str) -> list[str]:
    change = Change((Interface(name),), whole=False)
    return [owner for owner, _, _ in assign(change, BACKENDS, context, NICS)]


@pytest.mark.parametrize(
    "tree",
    [*TREES, *MIGRATIONS, *RUNNING],
    ids=lambda tree: f"{tree.name}{', running' if tree.running is not None else ''}",
)
def test_the_owner_of_each_distribution_is_found(tmp_path: Path, tree: Tree) -> None:
    context = plant(tmp_path, tree.files, tree.running)
    if tree.owner is not None:
        assert owners(context, "eth0") == [tree.owner]
    else:
        with pytest.raises(CommandError, match=tree.says):
            owners(context, "eth0")
    fresh = tree.fresh or tree.owner
    if fresh is not None:
        assert owners(context, "eth4") == [fresh]


def test_every_backend_has_a_distribution() -> None:
    assert set(BACKENDS) == {tree.owner for tree in TREES}


def test_what_is_only_left_over_does_not_win(tmp_path: Path) -> None:
    """An upgrade from ifupdown to netplan leaves files behind; NetworkManager may be installed beside either."""
    for tree in TREES:
        if tree.owner not in ("netplan", "ifupdown", "networkd"):
            continue
        files = {**tree.files, "/usr/sbin/NetworkManager": "", "/usr/bin/nmcli": "", "/usr/bin/netctl": ""}
        assert owners(plant(tmp_path / tree.name, files), "eth0") == [tree.owner]


@pytest.mark.parametrize(
    ("files", "path"),
    [
        ({**IFUPDOWN, **NETWORKING}, "/etc/network/interfaces"),
        (SCRIPTS, "/etc/sysconfig/network-scripts/ifcfg-eth0"),
        (NETWORKD, "/etc/systemd/network/a.network"),
    ],
)
def test_what_cannot_be_read_is_an_error_where_it_counts_and_nothing_where_it_is_left(
    tmp_path: Path, files: dict[str, str], path: str
) -> None:
    # A folder that systemd has in any case.
    base = {**NM, "/etc/systemd/system/multi-user.target.wants/cron.service": "-> /lib/cron.service"}
    (tmp_path / "on" / path.lstrip("/")).parent.mkdir(parents=True)
    (tmp_path / "on" / path.lstrip("/")).write_bytes(b"iface eth0 inet static\nIPADDR='\xff'\n")
    context = plant(tmp_path / "on", {**base, **files})
    with pytest.raises(CommandError, match=path):
        owners(context, "eth0")
    off = {name: text for name, text in files.items() if not text.startswith("-> ") or "init.d" in text}
    off = {name: text for name, text in off.items() if "/rc3.d/" not in name}
    (tmp_path / "off" / path.lstrip("/")).parent.mkdir(parents=True)
    (tmp_path / "off" / path.lstrip("/")).write_bytes(b"iface eth0 inet static\nIPADDR='\xff'\n")
    assert owners(plant(tmp_path / "off", {**base, **off}), "eth0") == ["networkmanager"]
