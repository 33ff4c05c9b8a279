"""A XAPI host and a guest, on the real daemons and the development store: XapiHost is xenopsd, domain 7 the guest."""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.xen.harness import DAEMONS, Daemon, Guest, ProgramsMissingError, find_programs

from guestagent_core import ChannelRunner, CommandBase, CommandRegistry, Dispatcher
from guestagent_xapi.script_exchange import ScriptExchange
from guestagent_xapi.script_parser import ScriptParser
from guestagent_xapi.vif_exchange import VifExchange
from guestagent_xapi.vif_parser import VifParser
from guestagent_xen.host.xapi import XapiHost

from .development import DevelopmentDaemon, DevelopmentGuest

MACS = ("0a:00:00:00:00:01", "0a:00:00:00:00:02")
DEVELOPMENT_ALONE = pytest.mark.parametrize("daemon", ["development"], indirect=True)
"""For tests that take seconds, and in which the daemon is not the subject."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="ga-") as name:
        yield Path(name)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives each test its stores: the real daemons, and the development store where the test is not `real` itself.

    Network devices are made on real daemons alone: that needs root, as those tests say.
    """
    chosen = any("daemon" in mark.args for mark in metafunc.definition.iter_markers("parametrize"))
    if "daemon" in metafunc.fixturenames and not chosen:
        stores = [pytest.param(name, marks=pytest.mark.real) for name in DAEMONS]
        if "nics" not in metafunc.fixturenames and not metafunc.definition.get_closest_marker("real"):
            stores.insert(0, pytest.param("development"))
        metafunc.parametrize("daemon", stores, indirect=True)


@pytest.fixture
def daemon(request: pytest.FixtureRequest, folder: Path) -> Iterator[Daemon | DevelopmentDaemon]:
    """A daemon that has just been started."""
    (folder / "store").mkdir()
    if request.param == "development":
        development = DevelopmentDaemon(folder / "store")
        with development.store:
            yield development
        return
    try:
        programs = find_programs()
    except ProgramsMissingError as error:
        pytest.skip(str(error))
    with Daemon(request.param, folder / "store", programs) as running:
        yield running


@pytest.fixture
def guest(daemon: Daemon | DevelopmentDaemon) -> Iterator[Guest | DevelopmentGuest]:
    """Domain 7."""
    if isinstance(daemon, DevelopmentDaemon):
        yield DevelopmentGuest(daemon, 7)
        return
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


class Channel:
    """A channel of this process, as the agent would run it."""

    def __init__(self, exchange: ScriptExchange | VifExchange, parser: ScriptParser | VifParser) -> None:
        self.dispatcher = Dispatcher(exchange, parser)
        self._exchange = exchange
        self._thread = threading.Thread(target=self.dispatcher.run)
        self._thread.start()

    def close(self) -> None:
        """Ends it."""
        self.dispatcher.stop()
        self._thread.join()
        self._exchange.close()


def vif_channel(pack: type[CommandBase], way: Path, root: Path, device_timeout: float = 30.0) -> Channel:
    """Starts a channel that takes the host's addresses to ``pack``."""
    exchange = VifExchange(VifExchange.Options(way, root, device_timeout))
    return Channel(exchange, VifParser(ChannelRunner(CommandRegistry([pack]), "xapi-vif")))


def script_channel(pack: type[CommandBase], way: Path) -> Channel:
    """Starts a channel that takes the host's scripts to ``pack``."""
    exchange = ScriptExchange(ScriptExchange.Options(way))
    return Channel(exchange, ScriptParser(ChannelRunner(CommandRegistry([pack]), "xapi-script")))


def fill(daemon: Daemon | DevelopmentDaemon, guest: Guest | DevelopmentGuest) -> None:
    """Uses the guest's quota up, so that it cannot make a node more."""
    nodes = [f"{guest.home}/data/filler/{number}" for number in range(1100)]
    for begin in range(0, len(nodes), 100):
        daemon.host.write(dict.fromkeys(nodes[begin : begin + 100], b""))


def make_room(daemon: Daemon | DevelopmentDaemon, guest: Guest | DevelopmentGuest) -> None:
    """Takes away what :func:`fill` has made."""
    daemon.host.remove(f"{guest.home}/data/filler")


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Waits until ``condition`` is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.005)
