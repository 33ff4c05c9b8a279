"""Commands that the host calls as scripts, on all stores as an unprivileged guest."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from tests.xen.harness import Daemon, Guest

from guestagent_core import (
    ChannelRunner,
    CommandBase,
    CommandError,
    CommandRegistry,
    CommandResult,
    command,
)
from guestagent_xapi.script_exchange import ScriptExchange
from guestagent_xapi.script_parser import ScriptParser
from guestagent_xen.host.xapi import ScriptOutcome, XapiHost
from guestagent_xen.session import StoreError
from guestagent_xen.watching import Watcher

from .conftest import Channel, fill, make_room, script_channel, until

CANNOT_BE_READ = "The script has to be the name of a command, and after a blank its value in JSON"


class Acme(CommandBase):
    """What a vendor ships."""

    begun = threading.Event()
    go_on = threading.Event()

    @command("acme.echo", parallel=True)
    def echo(self, value: object) -> tuple[int, object]:
        """Answers its value."""
        return 0, value

    @command("acme.fail")
    def fail(self, value: object) -> CommandResult:
        """Answers a failure."""
        return CommandResult(3, "the disk is full")

    @command("acme.crash")
    def crash(self, value: object) -> CommandResult:
        """Raises."""
        raise CommandError("there is no disk")

    @command("acme.wait")
    def wait(self, value: object) -> CommandResult:
        """Ends when the test says so."""
        self.begun.set()
        assert self.go_on.wait(10)
        return CommandResult(0, "done")


@pytest.fixture
def agent(guest: Guest, host: XapiHost, daemon: Daemon) -> Iterator[Channel]:
    """An agent that the host knows to take scripts."""
    Acme.begun.clear()
    Acme.go_on.clear()
    running = script_channel(Acme, guest.device)
    until(lambda: daemon.host.read(f"{guest.home}/control/feature-xs-batcmd") == b"1")
    yield running
    Acme.go_on.set()
    running.close()


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ("acme.echo", ScriptOutcome("SUCCESS", 0, "", "")),
        ('acme.echo "hello"', ScriptOutcome("SUCCESS", 0, "hello", "")),
        ('  acme.echo {"a": [1, 2]}\r\n', ScriptOutcome("SUCCESS", 0, '{"a": [1, 2]}', "")),
        ('acme.echo "été"', ScriptOutcome("SUCCESS", 0, "été", "")),
        ("acme.fail", ScriptOutcome("SUCCESS", 3, "", "the disk is full")),
        ("acme.crash", ScriptOutcome("FAILURE", 500, "", "there is no disk")),
        ("acme.unknown", ScriptOutcome("FAILURE", 404, "", "No such agent command 'acme.unknown'")),
        ("acme.echo hello", ScriptOutcome("FAILURE", 500, "", CANNOT_BE_READ)),
        ("rm -rf /", ScriptOutcome("FAILURE", 500, "", CANNOT_BE_READ)),
    ],
)
def test_a_script_is_the_name_of_a_command_and_its_value(
    agent: Channel, host: XapiHost, script: str, outcome: ScriptOutcome
) -> None:
    assert host.script(script, 10) == outcome


@pytest.mark.parametrize("length", [1023, 1024, 2000, 100_000])
def test_long_outputs_are_cut_and_the_state_says_so(agent: Channel, host: XapiHost, length: int) -> None:
    class Long(Acme):
        @command("acme.long", parallel=True)
        def long(self, value: int) -> CommandResult:
            return CommandResult(0, "é" * (value // 2) + "x" * (value % 2))

    parser = ScriptParser(ChannelRunner(CommandRegistry([Long])))
    agent.dispatcher._parser = parser  # the same channel with one command more
    outcome = host.script(f"acme.long {length}", 10)
    assert outcome.returned == 0
    assert len(outcome.stdout.encode()) <= 1024
    if length < 1024:
        assert (outcome.state, len(outcome.stdout.encode())) == ("SUCCESS", length)
    else:
        assert outcome.state == "TRUNCATED"
        assert outcome.stdout.endswith("é (truncated)")


def test_scripts_run_one_after_the_other(agent: Channel, host: XapiHost) -> None:
    for number in range(30):
        assert host.script(f"acme.echo {number}", 10).stdout == str(number)


def test_what_the_host_took_back_before_it_was_read_is_not_run(
    agent: Channel, host: XapiHost, daemon: Daemon, guest: Guest
) -> None:
    folder = f"{guest.home}/control/batcmd"
    daemon.host.write({f"{folder}/state": b"READY"})  # and no script
    until(lambda: daemon.host.read(f"{folder}/state") == b"FAILURE")
    assert daemon.host.read(f"{folder}/stderr") == b"The host gave no script"
    daemon.host.remove(folder)
    assert host.script("acme.echo 1", 10).stdout == "1"


def test_what_the_host_takes_back_while_it_runs_leaves_nothing(
    agent: Channel, host: XapiHost, daemon: Daemon, guest: Guest
) -> None:
    folder = f"{guest.home}/control/batcmd"
    daemon.host.write({f"{folder}/script": b"acme.wait", f"{folder}/state": b"READY"})
    assert Acme.begun.wait(10)
    assert daemon.host.read(f"{folder}/state") == b"IN PROGRESS"
    daemon.host.remove(folder)
    Acme.go_on.set()
    assert host.script("acme.echo 1", 10).stdout == "1"  # which comes after it
    assert daemon.host.list(folder) == []


def test_a_second_request_while_one_runs_is_taken_after_it(
    agent: Channel, host: XapiHost, daemon: Daemon, guest: Guest
) -> None:
    folder = f"{guest.home}/control/batcmd"
    daemon.host.write({f"{folder}/script": b"acme.wait", f"{folder}/state": b"READY"})
    assert Acme.begun.wait(10)
    daemon.host.write({f"{folder}/script": b'acme.echo "second"', f"{folder}/state": b"READY"})
    Acme.go_on.set()
    until(lambda: daemon.host.read(f"{folder}/state") == b"SUCCESS")
    assert daemon.host.read(f"{folder}/stdout") == b"second"


def test_what_the_guest_had_no_room_for_is_taken_on_and_ended_once_it_has(
    agent: Channel, host: XapiHost, daemon: Daemon, guest: Guest
) -> None:
    folder = f"{guest.home}/control/batcmd"
    fill(daemon, guest)
    daemon.host.write({f"{folder}/script": b"acme.wait", f"{folder}/state": b"READY"})
    assert not Acme.begun.wait(0.3)  # there is no room for what tells this run from another
    make_room(daemon, guest)
    assert Acme.begun.wait(10)
    fill(daemon, guest)
    Acme.go_on.set()
    time.sleep(0.3)
    assert daemon.host.read(f"{folder}/state") == b"IN PROGRESS"
    make_room(daemon, guest)
    until(lambda: daemon.host.read(f"{folder}/state") == b"SUCCESS")
    assert daemon.host.read(f"{folder}/stdout") == b"done"


@pytest.mark.real
def test_what_the_daemon_did_not_hear_in_time_it_is_told_again(guest: Guest, host: XapiHost, daemon: Daemon) -> None:
    folder = f"{guest.home}/control/batcmd"
    parser = ScriptParser(ChannelRunner(CommandRegistry([Acme])))
    with closing(ScriptExchange(ScriptExchange.Options(guest.device, timeout=1.0))) as exchange:
        daemon.host.write({f"{folder}/script": b"acme.echo 1", f"{folder}/state": b"READY"})
        while not exchange.wait(5):
            pass
        request = exchange.get_request()
        assert request is not None
        daemon.stop()
        exchange.put_response(request, parser.parse_request(request))
        daemon.resume()
        while daemon.host.read(f"{folder}/state") != b"SUCCESS":
            assert not exchange.wait(0.1)
        assert daemon.host.read(f"{folder}/stdout") == b"1"


@pytest.mark.real
def test_what_was_taken_on_without_the_daemon_s_word_for_it_is_run(
    guest: Guest, host: XapiHost, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = Watcher._end
    commits = []

    def unheard(self: Watcher, transaction: int, how: bytes) -> bytes | StoreError:
        commits.append(transaction)
        if len(commits) == 1:
            daemon.stop()
        return end(self, transaction, how)

    folder = f"{guest.home}/control/batcmd"
    with closing(ScriptExchange(ScriptExchange.Options(guest.device, timeout=1.0))) as exchange:
        exchange.wait(0.5)  # there is nothing of an earlier run
        monkeypatch.setattr(Watcher, "_end", unheard)
        daemon.host.write({f"{folder}/script": b"acme.echo 1", f"{folder}/state": b"READY"})
        assert not exchange.wait(2.0)
        daemon.resume()
        assert exchange.wait(10)
        request = exchange.get_request()
        assert request is not None
        assert request["data"] == b"acme.echo 1"
        assert daemon.host.read(f"{folder}/guestagent-run") == request["id"].encode()


def test_what_an_earlier_run_had_not_begun_ends_in_failure(guest: Guest, host: XapiHost, daemon: Daemon) -> None:
    folder = f"{guest.home}/control/batcmd"
    daemon.host.write({f"{folder}/script": b"acme.echo", f"{folder}/state": b"IN PROGRESS"})
    running = script_channel(Acme, guest.device)
    try:
        until(lambda: daemon.host.read(f"{folder}/state") == b"FAILURE")
        assert b"interrupted" in (daemon.host.read(f"{folder}/stderr") or b"")
    finally:
        running.close()


def test_what_an_earlier_run_had_begun_is_handed_out_with_the_same_id(
    guest: Guest, host: XapiHost, daemon: Daemon
) -> None:
    folder = f"{guest.home}/control/batcmd"
    daemon.host.write(
        {f"{folder}/script": b"acme.echo", f"{folder}/state": b"IN PROGRESS", f"{folder}/guestagent-run": b"the-run"}
    )
    with ExitStack() as stack:
        exchange = ScriptExchange(ScriptExchange.Options(guest.device))
        stack.callback(exchange.close)
        while not exchange.wait(5):
            pass
        request = exchange.get_request()
        assert request == {"data": b"acme.echo", "id": "the-run"}


def test_the_flag_is_there_while_the_channel_is_open(guest: Guest, host: XapiHost, daemon: Daemon) -> None:
    flag = f"{guest.home}/control/feature-xs-batcmd"
    running = script_channel(Acme, guest.device)
    until(lambda: daemon.host.read(flag) == b"1")
    host.resume({})
    until(lambda: daemon.host.read(flag) == b"1")
    running.close()
    assert daemon.host.read(flag) is None


def test_a_flag_that_the_guest_had_no_room_for_is_there_once_it_has(
    guest: Guest, host: XapiHost, daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    fill(daemon, guest)
    running = script_channel(Acme, guest.device)
    try:
        until(lambda: "The host cannot call commands" in caplog.text)
        make_room(daemon, guest)
        until(lambda: daemon.host.read(f"{guest.home}/control/feature-xs-batcmd") == b"1")
    finally:
        running.close()


def test_an_agent_without_the_channel_cannot_be_called(host: XapiHost) -> None:
    with pytest.raises(Exception, match="does not take scripts"):
        host.script("acme.echo", 1)
