"""Whoever configures the network is found on what the distributions have at first."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.net.models import CARDS
from tests.net.trees import TREES, Tree

from guestagent_commands_net.model import Change, Interface
from guestagent_commands_net.owners import assign, installed_backends
from guestagent_core import Context


def plant(root: Path, files: dict[str, str]) -> Context:
    for path, text in files.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            place.symlink_to(text[3:])
        else:
            place.write_text(text)
            place.chmod(0o755 if not text else 0o644)
    return Context(root=root)


@pytest.mark.parametrize(
    "tree", [tree for tree in TREES if tree.owner in installed_backends()], ids=lambda tree: tree.name
)
def test_the_owner_of_each_distribution_is_found(tmp_path: Path, tree: Tree) -> None:
    context = plant(tmp_path, tree.files)

    def owners(name: str) -> list[str]:
        change = Change((Interface(name),), whole=False)
        return [owner for owner, _, _ in assign(change, installed_backends(), context, CARDS)]

    assert owners("eth0") == [tree.owner]
    assert owners("eth4") == [tree.fresh or tree.owner]


def test_every_backend_has_a_distribution() -> None:
    assert set(installed_backends()) <= {tree.owner for tree in TREES}


def test_what_is_only_left_over_does_not_win(tmp_path: Path) -> None:
    """An upgrade from ifupdown to netplan leaves files behind; NetworkManager may be installed beside either."""
    for tree in TREES:
        if tree.owner not in ("netplan", "ifupdown", "networkd"):
            continue
        files = {**tree.files, "/usr/sbin/NetworkManager": "", "/usr/bin/nmcli": "", "/usr/bin/netctl": ""}
        context = plant(tmp_path / tree.name, files)
        change = Change((Interface("eth0"),), whole=False)
        assert [owner for owner, _, _ in assign(change, installed_backends(), context, CARDS)] == [tree.owner]
