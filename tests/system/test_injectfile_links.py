"""injectfile where links are: what is replaced, what is followed, and who gets out of the root by none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .conftest import Guest, as_root, mode
from .swapping import HOME, STARTS, Away, Outcome, Start, Swapping, a_link, links_in_a_folder, nothing


def test_a_link_is_replaced_as_recorded(guest: Guest) -> None:
    target = guest.file("/etc/target", "t\n", 0o600)
    link = guest.root / "etc/link"
    link.symlink_to("/etc/target")
    assert guest.inject("/etc/link") == ("0", "")
    [backup] = link.parent.glob("link.bak.*")
    assert os.readlink(backup) == "/etc/target"
    assert not link.is_symlink()
    assert (link.read_text(), mode(link)) == ("new\n", 0o600)
    assert target.read_text() == "t\n"


@pytest.mark.parametrize("target", ["/nowhere", "/etc", "link"])
def test_a_link_that_leads_to_no_file_is_replaced_by_a_new_one(guest: Guest, target: str) -> None:
    link = guest.root / "etc/link"
    link.symlink_to(target)
    assert guest.inject("/etc/link") == ("0", "")
    assert (link.read_text(), mode(link)) == ("new\n", 0o644)


def test_set_user_id_does_not_come_through_a_link(guest: Guest) -> None:
    guest.file("/etc/target", "t\n", 0o4755)
    link = guest.root / "etc/link"
    link.symlink_to("target")
    guest.inject("/etc/link")
    assert mode(link) == 0o755


started = pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)


@pytest.mark.parametrize("away", [nothing, a_link, links_in_a_folder])
@started
def test_whoever_swaps_a_folder_gets_nothing_out_of_the_root(
    guest: Guest, tmp_path: Path, start: Start, away: Away
) -> None:
    """The links lead to a folder beside the root; as the guest sees them, they lead to one below it."""
    swapping = Swapping(guest, start, away, tmp_path / "outside", os.geteuid())
    *outcomes, undisturbed = swapping.outcomes()
    assert undisturbed == Outcome("", Path(HOME, "folder", start.file))
    places = {place for _, place in outcomes if place is not None}
    at_home = {Path(HOME, name, start.file) for name in ("folder", "other")}
    assert places <= at_home | {Path("outside", start.file), Path("outside/file")}
    assert (not places <= at_home) == swapping.leads


@as_root
@pytest.mark.parametrize("away", [a_link, links_in_a_folder])
@started
def test_whoever_swaps_a_folder_of_their_own_gets_nothing_into_that_of_another(
    guest: Guest, start: Start, away: Away
) -> None:
    """The way is open in the guest's own view: the links of a user lead to a folder of root."""
    swapping = Swapping(guest, start, away, guest.root / "target", 1000)
    *outcomes, undisturbed = swapping.outcomes()
    assert undisturbed == Outcome("", Path(HOME, "folder", start.file))
    assert {place for _, place in outcomes} <= {None, *(Path(HOME, name, start.file) for name in ("folder", "other"))}
    assert any("somebody else" in message for message, _ in outcomes) == swapping.leads


@as_root
def test_a_link_of_a_user_may_lead_to_a_folder_of_the_same(guest: Guest) -> None:
    home = guest.root / "users/somebody"
    (home / "real").mkdir(parents=True)
    (home / "link").symlink_to("real")
    os.chown(home / "real", 1000, 1000)
    os.chown(home / "link", 1000, 1000, follow_symlinks=False)
    assert guest.inject("/users/somebody/link/file") == ("0", "")
    assert (home / "real/file").read_text() == "new\n"
    assert guest.inject("/users/somebody/link/made/below/file") == ("0", "")
    assert (home / "real/made/below/file").read_text() == "new\n"
    os.chown(home / "real", 0, 0)
    before = guest.tree()
    for path in ("link/file", "link/below/file", "new/../link/file", "new/../link/below/file"):
        code, message = guest.inject(f"/users/somebody/{path}")
        assert (code, "somebody else" in message) == ("500", True)
        assert guest.tree() == before


def test_links_on_the_way_are_followed_as_in_a_chroot(guest: Guest, tmp_path: Path) -> None:
    (guest.root / "run").mkdir()
    (guest.root / "var").mkdir()
    (guest.root / "var/run").symlink_to("/run")
    (guest.root / "var/up").symlink_to("../../../../../etc")
    (guest.root / "out").symlink_to(tmp_path)
    (guest.root / "loop").symlink_to("loop")
    assert guest.inject("/var/run/file") == ("0", "")
    assert (guest.root / "run/file").read_text() == "new\n"
    assert guest.inject("/var/up/../etc/./file") == ("0", "")
    assert (guest.root / "etc/file").read_text() == "new\n"
    assert guest.inject("/out/file") == ("0", "")
    assert (guest.root / str(tmp_path).lstrip("/") / "file").read_text() == "new\n"
    assert not (tmp_path / "file").exists()
    assert guest.inject("/loop/file")[1] == "[Errno 40] Too many levels of symbolic links: '/loop/file'"
