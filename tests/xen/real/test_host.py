"""The host's side on the real daemons: it drives the agent, and tells failures apart."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.xen.harness import Agent, Daemon, Guest

from guestagent_core import __version__
from guestagent_xen.host import AgentError, DomainGoneError, GuestClient, StoreError

pytestmark = pytest.mark.real
SILENT, GONE, STORE = 3, 4, 5  # exit statuses


def domid_of(place: Any) -> int:
    return place.guest.domid if place.guest else 0


@contextmanager
def asking(daemon: Daemon, domid: int, timeout: float) -> Iterator[subprocess.Popen[str]]:
    """Runs the command line, which has written its request when this is entered."""
    requests = f"/local/domain/{domid}/data/host"
    if daemon.host.read(requests) is None:
        daemon.host.write({requests: b""})
        daemon.host.give(requests, f"n{domid}")
    with daemon.host.watch(requests) as watch:
        command = [sys.executable, "-m", "guestagent_xen.host", "--socket", str(daemon.socket)]
        with subprocess.Popen(
            [*command, str(domid), "version", "--timeout", str(timeout)], stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                assert watch.changed(10.0)
                yield process
            finally:
                process.kill()


def assert_nothing_is_left(daemon: Daemon, home: str) -> None:
    assert daemon.host.list(f"{home}/data/host") == []
    assert daemon.host.list(f"{home}/data/guest") == []


def test_it_drives_the_agent(place: Any, folder: Path) -> None:
    if place.guest is None:
        place.daemon.host.write({f"{place.home}/name": b"Domain-0"})
    with Agent(folder, place.way), GuestClient(domid_of(place), socket=str(place.daemon.socket)) as client:
        assert client.version() == __version__
        assert client.features() == ["features", "version"]
        with pytest.raises(AgentError, match="404: No such agent command 'resetnetwork'"):
            client.reset_network()
    assert_nothing_is_left(place.daemon, place.home)


def test_many_hosts_at_once_are_served(daemon: Daemon, guest: Guest, folder: Path) -> None:
    def ask(number: int) -> str:
        with GuestClient(guest.domid, socket=str(daemon.socket)) as client:
            return client.call(f"unknown-{number}").message

    with Agent(folder, guest.device), ThreadPoolExecutor(32) as threads:
        assert list(threads.map(ask, range(96))) == [f"No such agent command 'unknown-{each}'" for each in range(96)]
    assert_nothing_is_left(daemon, guest.home)


def test_a_client_outlives_a_daemon_that_is_started_again(daemon: Daemon, guest: Guest, folder: Path) -> None:
    with Agent(folder, guest.device, timeout=0.5), GuestClient(guest.domid, socket=str(daemon.socket)) as client:
        assert client.version() == __version__
        daemon.restart()
        assert client.version() == __version__


def test_a_silent_agent_is_told_and_the_request_withdrawn(daemon: Daemon, guest: Guest) -> None:
    with asking(daemon, guest.domid, 0.3) as process:
        _, complaint = process.communicate(timeout=10.0)
    assert (process.returncode, "nobody took the request" in complaint) == (SILENT, True), complaint
    assert_nothing_is_left(daemon, guest.home)


def test_an_agent_that_was_killed_with_the_request_is_told(daemon: Daemon, guest: Guest) -> None:
    with asking(daemon, guest.domid, 3.0) as process:  # in which the request has to be gone
        daemon.host.remove(*(f"{guest.home}/data/host/{name}" for name in daemon.host.list(f"{guest.home}/data/host")))
        _, complaint = process.communicate(timeout=10.0)
    assert (process.returncode, "something in the guest took the request" in complaint) == (SILENT, True), complaint


def test_a_stopped_daemon_is_told_within_the_timeout(daemon: Daemon, guest: Guest) -> None:
    with asking(daemon, guest.domid, 0.5) as process:
        daemon.stop()
        begun = time.monotonic()
        _, complaint = process.communicate(timeout=20.0)
        assert time.monotonic() - begun < 10.0
        assert (process.returncode, "XenStore does not answer" in complaint) == (STORE, True), complaint
        daemon.resume()


def test_a_daemon_that_stops_for_a_moment_is_nothing(daemon: Daemon, guest: Guest, folder: Path) -> None:
    with asking(daemon, guest.domid, 20.0) as process:
        daemon.stop()
        time.sleep(0.5)
        daemon.resume()
        with Agent(folder, guest.device):
            _, complaint = process.communicate(timeout=20.0)
    assert process.returncode == 0, complaint


def test_a_killed_daemon_is_told_at_once(daemon: Daemon, guest: Guest) -> None:
    with asking(daemon, guest.domid, 30.0) as process:
        daemon.kill()
        _, complaint = process.communicate(timeout=5.0)
    assert (process.returncode, "XenStore hung up" in complaint) == (STORE, True), complaint
    with pytest.raises(StoreError, match="cannot be reached"), GuestClient(7, socket=str(daemon.socket)) as client:
        client.version()


@pytest.mark.parametrize("forget", [True, False], ids=["nodes go", "nodes stay"])
def test_a_destroyed_domain_is_told_at_once(daemon: Daemon, guest: Guest, forget: bool) -> None:
    with asking(daemon, guest.domid, 30.0) as process:
        guest.destroy(forget=forget)
        _, complaint = process.communicate(timeout=5.0)
    assert (process.returncode, "Domain 7 went away" in complaint) == (GONE, True), complaint
    with pytest.raises(DomainGoneError, match="no domain 7"), GuestClient(7, socket=str(daemon.socket)) as client:
        client.version()
    assert daemon.host.list(f"{guest.home}/data/host") == []


def test_a_domain_that_never_was_is_told(daemon: Daemon) -> None:
    with pytest.raises(DomainGoneError, match="no domain 9"), GuestClient(9, socket=str(daemon.socket)) as client:
        client.version()
    assert daemon.host.list("/local/domain") in ([], ["0"])


def test_the_end_of_another_domain_is_none_of_this_one(daemon: Daemon, guest: Guest) -> None:
    with Guest(daemon, 8) as other, asking(daemon, guest.domid, 1.0) as process:
        other.destroy()
        _, complaint = process.communicate(timeout=10.0)
    assert process.returncode == SILENT, complaint
