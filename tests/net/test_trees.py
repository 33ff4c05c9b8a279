"""Whoever configures the network is found on what the distributions have at first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.net.live import plant
from tests.net.migrations import MIGRATIONS, RUNNING
from tests.net.models import CARDS
from tests.net.trees import TREES, Tree

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
