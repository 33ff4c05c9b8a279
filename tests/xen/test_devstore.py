"""The development store as tests use it; what it has in common with the real ones is in conformance/."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
import threading
from contextlib import closing
from pathlib import Path

import pytest

from guestagent_core import ChannelRunner, CommandBase, CommandRegistry, CommandResult, Context, Dispatcher, command
from guestagent_json import JsonParser
from guestagent_xen.connecting import connect
from guestagent_xen.devstore import DevelopmentStore
from guestagent_xen.exchange import XenStoreExchange
from guestagent_xen.host import DomainGoneError, GuestClient
from guestagent_xen.session import Session, SessionLostError, StoreError

READ, WATCH, WRITE = 2, 4, 11
HOME = "/local/domain/7"


class Echo(CommandBase):
    @command("echo")
    def echo(self, value: str) -> CommandResult:
        return CommandResult(0, value)


@pytest.mark.parametrize("daemon", ["xenstored", "oxenstored"])
def test_an_agent_and_a_host_talk_through_it(daemon: str, tmp_path: Path) -> None:
    with DevelopmentStore(daemon=daemon) as store:  # type: ignore[arg-type]
        exchange = XenStoreExchange(XenStoreExchange.Options(path=store.add_guest(7)))
        runner = ChannelRunner(CommandRegistry([Echo], Context(root=tmp_path)))
        dispatcher = Dispatcher(exchange, JsonParser(runner))
        thread = threading.Thread(target=dispatcher.run)
        thread.start()
        try:
            with GuestClient(7, socket=str(store.path), timeout=20) as client:
                for number in range(20):
                    assert client.call("echo", f"{number}").message == f"{number}"
            assert store.list(f"{HOME}/data/host") == store.list(f"{HOME}/data/guest") == []
        finally:
            dispatcher.stop()
            thread.join()
            exchange.close()


def test_nodes_can_be_looked_at_and_changed(small_store: DevelopmentStore) -> None:
    small_store.write("/a/b", b"\0\xff")
    assert small_store.read("/a/b") == b"\0\xff"
    assert small_store.read("/a/none") is None
    assert small_store.list("/a") == ["b"]
    assert small_store.list("/none") == []
    small_store.remove("/a")
    small_store.remove("/a")
    assert small_store.read("/a/b") is None
    with pytest.raises(ValueError, match="/a b"):
        small_store.write("/a b", b"")


def test_what_is_changed_from_outside_is_told(small_store: DevelopmentStore) -> None:
    with closing(connect(small_store.path, 10.0)) as session:
        session.call(WATCH, b"/a", b"t")
        small_store.write("/a/b", b"x")
        session.call(READ, b"/")  # what is answered in turn comes after what was told before
        assert [event.path for event in session.events] == [b"/a", b"/a/b"]


def test_what_was_asked_is_remembered(small_store: DevelopmentStore) -> None:
    with closing(connect(small_store.add_guest(7), 10.0)) as session:
        session.call(READ, b"name")
        with pytest.raises(StoreError, match="ENOSYS"):
            session.call(99, b"")
    assert list(small_store.operations) == [(7, "READ"), (7, "99")]


def test_one_that_is_stopped_does_not_answer(small_store: DevelopmentStore) -> None:
    with closing(connect(small_store.path, 0.05)) as session:
        with small_store.stopped(), pytest.raises(SessionLostError, match="within"):
            session.call(READ, b"/")
    with closing(connect(small_store.path, 10.0)) as session:
        assert session.call(READ, b"/") == b""


@pytest.mark.parametrize("forget", [True, False])
def test_one_that_is_restarted_hangs_up_and_may_forget(small_store: DevelopmentStore, forget: bool) -> None:
    guest = small_store.add_guest(7)
    small_store.write("/a", b"x")
    with closing(connect(guest, 10.0)) as session:
        session.call(READ, b"name")
        small_store.restart(forget=forget)
        with pytest.raises(SessionLostError):
            session.call(READ, b"name")
    assert small_store.read("/a") == (None if forget else b"x")
    assert small_store.read(f"{HOME}/name") == b"guest7"  # the toolstack writes it again
    with closing(connect(guest, 10.0)) as session:
        assert session.call(READ, b"name") == b"guest7"


def test_a_guest_that_is_removed_is_gone(small_store: DevelopmentStore) -> None:
    guest = small_store.add_guest(7)
    with closing(connect(small_store.path, 10.0)) as host, closing(connect(guest, 10.0)) as session:
        host.call(WATCH, b"@releaseDomain", b"t")
        session.call(READ, b"name")
        small_store.remove_guest(7)
        with pytest.raises(SessionLostError):
            session.call(READ, b"name")
        host.call(READ, b"/")
        assert [event.path for event in host.events] == [b"@releaseDomain"] * 2
    assert not guest.exists()
    with GuestClient(7, socket=str(small_store.path)) as client, pytest.raises(DomainGoneError):
        client.call("version")
    small_store.add_guest(7)


def test_a_message_that_is_too_large_is_hung_up_on(small_store: DevelopmentStore) -> None:
    largest = 4096
    for path in (small_store.path, small_store.add_guest(7)):
        with closing(connect(path, 10.0)) as session, socket.socket(socket.AF_UNIX) as raw:
            session.call(READ, b"/" if path == small_store.path else b"name")
            raw.connect(str(path))
            raw.sendall(b"\2\0\0\0" * 3 + (largest + 1).to_bytes(4, "little"))
            assert raw.recv(1) == b""
            assert _refusal(session, b"/" + b"x" * (largest - 2)) == "EINVAL"


def test_who_does_not_listen_holds_nobody_up(small_store: DevelopmentStore) -> None:
    with closing(connect(small_store.path, 10.0)) as lazy:
        lazy.call(WATCH, b"/a", b"t")
        for number in range(8_000):  # more than a socket holds
            small_store.write(f"/a/{number % 10}", b"x")
        small_store.write("/a/last", b"x")
        while not any(event.path == b"/a/last" for event in lazy.events):
            lazy.receive()
        assert len(lazy.events) == 8_002


def test_it_leaves_nothing_behind() -> None:
    store = DevelopmentStore()
    guest = store.add_guest(7)
    assert guest.parent == store.path.parent
    store.close()
    store.close()
    assert not store.path.parent.exists()


def test_a_path_that_is_taken_is_an_error(small_store: DevelopmentStore) -> None:
    threads = threading.active_count()
    with pytest.raises(OSError, match="in use"):
        DevelopmentStore(small_store.path)
    assert threading.active_count() == threads
    assert small_store.path.exists()


def test_the_example_of_the_reference_runs(tmp_path: Path) -> None:
    page = Path(__file__).parents[2].joinpath("docs/reference/xen.rst").read_text()
    block = page.split("   :caption: test_store.py\n")[1].split("\n\nA whole agent")[0]
    (tmp_path / "test_store.py").write_text(textwrap.dedent(block))
    command = [sys.executable, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", "test_store.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "2 passed" in done.stdout, done.stdout


def _refusal(session: Session, path: bytes) -> str:
    with pytest.raises(StoreError) as caught:
        session.call(READ, path)
    return caught.value.name
