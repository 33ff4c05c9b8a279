"""A XAPI host and a guest on the real daemons: what xenopsd does is done by XapiHost, the guest is domain 7."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.xen.harness import DAEMONS, Daemon, Guest, ProgramsMissingError, find_programs

from guestagent_xen.host.xapi import XapiHost

MACS = ("0a:00:00:00:00:01", "0a:00:00:00:00:02")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="ga-") as name:
        yield Path(name)


@pytest.fixture(params=DAEMONS)
def daemon(request: pytest.FixtureRequest, folder: Path) -> Iterator[Daemon]:
    """A daemon that has just been started."""
    try:
        programs = find_programs()
    except ProgramsMissingError as error:
        pytest.skip(str(error))
    (folder / "store").mkdir()
    with Daemon(request.param, folder / "store", programs) as running:
        yield running


@pytest.fixture
def guest(daemon: Daemon) -> Iterator[Guest]:
    """Domain 7."""
    with Guest(daemon, 7) as running:
        yield running


@pytest.fixture
def host(daemon: Daemon, guest: Guest) -> Iterator[XapiHost]:
    """The host, which has made the tree of domain 7."""
    with XapiHost(guest.domid, socket=str(daemon.socket)) as running:
        running.make()
        yield running


@pytest.fixture
def nics() -> Iterator[tuple[str, str]]:
    """Two network devices with the MACs of MACS, in the network that the tests have for themselves."""
    names = ("xapi0", "xapi1")
    for position, (name, mac) in enumerate(zip(names, MACS, strict=True)):
        run("ip", "link", "add", name, "address", mac, "type", "veth", "peer", "name", f"xapi-peer{position}")
        run("ip", "link", "set", f"xapi-peer{position}", "up")
        run("ip", "link", "set", name, "up")
    yield names
    for name in names:
        run("ip", "link", "del", name)


def run(*words: str) -> None:
    """Runs a program that may not fail; where it may not be run at all, the test skips."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip(f"{words[0]} is not installed (package iproute2)")
    if "Operation not permitted" in done.stderr:
        pytest.skip("network devices can only be made as root, in namespaces")
    assert done.returncode == 0, done.stderr


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Waits until ``condition`` is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.005)
