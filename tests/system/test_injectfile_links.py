"""injectfile where links are: what is replaced, what is followed, and who gets out of the root by none."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import Guest, as_root, mode

PATIENCE = 60.0  # seconds


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


# Whenever its folder is away, the agent may make a new one, which then has to go out of the way.
SWAPPER = """
import itertools, os, sys
from contextlib import suppress
folder, outside = sys.argv[1:]
aside = folder + ".aside"
print(flush=True)
for number in itertools.count():
    os.rename(folder, aside)
    with suppress(OSError):
        os.symlink(outside, folder)
        os.unlink(folder)
    while os.path.exists(aside):
        with suppress(OSError):
            os.rename(aside, folder)
            break
        with suppress(OSError):
            os.rename(folder, f"{folder}.{number}")
"""


def test_whoever_swaps_a_folder_for_a_link_gets_nothing_out_of_the_root(guest: Guest, tmp_path: Path) -> None:
    """The link leads to a folder of this machine; what is below the root of that name, is not it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = guest.root / "srv/folder"
    folder.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", SWAPPER, folder, outside], stdout=subprocess.PIPE) as swapper:
        assert swapper.stdout is not None
        swapper.stdout.readline()
        try:
            written = tried = 0
            end = time.monotonic() + PATIENCE
            while (tried < 500 or written < 5) and time.monotonic() < end:
                tried += 1
                written += guest.inject("/srv/folder/file", b"x")[0] == "0"
        finally:
            swapper.kill()
    assert written >= 5
    assert os.listdir(outside) == []


@as_root
def test_whoever_swaps_a_folder_of_their_own_gets_nothing_into_that_of_another(guest: Guest) -> None:
    """The way is open in the guest's own view: the link of a user leads to a folder of root."""
    target = guest.root / "target"
    target.mkdir()
    home = guest.root / "users/somebody"
    (home / "folder").mkdir(parents=True)
    for path in (home, home / "folder"):
        os.chown(path, 1000, 1000)
    (guest.root / "users").chmod(0o755)
    user = "import contextlib, itertools, os, sys\nos.setgid(1000); os.setuid(1000)\n" + SWAPPER
    # The way to the scratch root may be closed to the user, so the process goes there first.
    with subprocess.Popen(
        [sys.executable, "-c", user, "folder", "/target"], stdout=subprocess.PIPE, cwd=home
    ) as swapper:
        assert swapper.stdout is not None
        swapper.stdout.readline()
        try:
            written = tried = caught = 0
            end = time.monotonic() + PATIENCE
            while (tried < 500 or written < 5 or caught < 5) and time.monotonic() < end:
                tried += 1
                code, message = guest.inject("/users/somebody/folder/file", b"x")
                written += code == "0"
                caught += "somebody else" in message
        finally:
            swapper.kill()
    assert written >= 5
    assert caught >= 5, "it never came to that"
    assert os.listdir(target) == []


@as_root
def test_a_link_of_a_user_may_lead_to_a_folder_of_the_same(guest: Guest) -> None:
    home = guest.root / "users/somebody"
    (home / "real").mkdir(parents=True)
    (home / "link").symlink_to("real")
    os.chown(home / "real", 1000, 1000)
    os.chown(home / "link", 1000, 1000, follow_symlinks=False)
    assert guest.inject("/users/somebody/link/file") == ("0", "")
    assert (home / "real/file").read_text() == "new\n"
    os.chown(home / "real", 0, 0)
    code, message = guest.inject("/users/somebody/link/below/file")
    assert (code, "somebody else" in message) == ("500", True)
    assert not (home / "real/below").exists()


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
