"""The harness itself: a guest of it meets what a guest of a hypervisor meets, seen with the distribution's programs."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack, closing

import pytest
from tests.xen.harness import Daemon, Guest, Host

from guestagent_xen.connecting import connect
from guestagent_xen.session import Operation, StoreError

pytestmark = pytest.mark.real
READ, WATCH, UNWATCH, BEGIN, WRITE = 2, 4, 5, 6, 11


def test_a_guest_sees_its_own_nodes_through_its_device(daemon: Daemon, guest: Guest) -> None:
    inside = Host(guest.device)  # the programs take any way to a daemon
    assert inside.read("domid") == b"7"
    inside.write({"data/x": b"1"})
    assert daemon.host.read(f"{guest.home}/data/x") == b"1"
    daemon.host.write({f"{guest.home}/vm-data/y": b"2"})
    assert inside.read("vm-data/y") == b"2"
    with pytest.raises(OSError, match="xenstore-write"):
        inside.write({"vm-data/y": b"3"})


def test_several_programs_of_a_guest_have_the_device_open(guest: Guest) -> None:
    with ExitStack() as stack:
        sessions = []
        for _ in range(8):
            sessions.append(stack.enter_context(closing(connect(guest.device, 10.0))))
            assert sessions[-1].call(READ, b"domid") == b"7"
        for number, session in enumerate(sessions):
            session.call(WATCH, b"data/x", b"%d" % number)
            session.events.clear()
        assert Host(guest.device).read("domid") == b"7"
        sessions[0].call_all(Operation(WRITE, b"data/x\0"))
        for number, session in enumerate(sessions):
            session.call(READ, b"domid")
            assert session.events.popleft() == (b"data/x", b"%d" % number)


def test_quotas_are_those_of_a_guest(daemon: Daemon, guest: Guest) -> None:
    most, refusal = {"xenstored": (2015, "ENOSPC"), "oxenstored": (2048, "E2BIG")}[daemon.name]
    with closing(connect(guest.device, 10.0)) as session:
        assert session.call_all(Operation(WRITE, b"data/x\0" + b"v" * most)) == [b"OK\0"]
        (refused,) = session.call_all(Operation(WRITE, b"data/x\0" + b"v" * (most + 1)))
        assert isinstance(refused, StoreError)
        assert refused.name == refusal


def test_a_killed_daemon_comes_back_empty_and_a_watch_of_the_guest_goes_on(daemon: Daemon, guest: Guest) -> None:
    with closing(connect(guest.device, 10.0)) as session:
        session.call(WATCH, b"data/x", b"t")
        daemon.host.write({f"{guest.home}/data/x": b"1", "/elsewhere": b""})
        daemon.restart()
        assert daemon.host.read("/elsewhere") is None
        assert session.call(READ, b"name") == b"guest7"
        session.events.clear()
        daemon.host.write({f"{guest.home}/data/x": b"1"})
        session.call(READ, b"name")
        assert [event.path for event in session.events] == [b"data/x"]


def test_a_closed_device_ends_watches_and_transactions(daemon: Daemon, guest: Guest) -> None:
    for _ in range(30):  # a domain may have ten transactions and about a hundred watches
        with closing(connect(guest.device, 10.0)) as session:
            for number in range(8):
                session.call(WATCH, b"data", b"%d" % number)
            for _ in range(2):
                session.call(BEGIN, b"")


def test_an_old_kernel_answers_watches_with_request_id_0(daemon: Daemon) -> None:
    with Guest(daemon, 7, old_kernel=True) as guest, closing(connect(guest.device, 10.0)) as session:
        assert session.call(WATCH, b"data", b"t") == b"OK\0"
        assert session.call(READ, b"domid") == b"7"
        assert session.call(UNWATCH, b"data", b"t") == b"OK\0"


def test_a_destroyed_domain_is_told_of(daemon: Daemon) -> None:
    with Guest(daemon, 7) as guest:
        with subprocess.Popen(
            ["xenstore-watch", "-n", "2", "@releaseDomain"],
            env=daemon.host.environment,
            stdout=subprocess.PIPE,
            text=True,
        ) as watching:
            assert watching.stdout is not None
            assert watching.stdout.readline() == "@releaseDomain\n"
            guest.destroy()
            assert watching.stdout.readline() == "@releaseDomain\n"
        assert daemon.host.read(f"{guest.home}/name") is None
