"""The publisher, on all stores as an unprivileged guest: what the host sees, and when."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.xen.harness import Daemon, Guest

from guestagent_commands_net.netlink import Changes
from guestagent_core import Context, __version__
from guestagent_xapi import publisher as publisher_module
from guestagent_xapi.publisher import Publisher, PublisherOptions
from guestagent_xen.host.xapi import XapiHost
from guestagent_xen.session import StoreError
from guestagent_xen.watching import Watcher

from .conftest import DEVELOPMENT_ALONE, MACS, run, until

Start = Callable[..., Publisher]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The guest's files."""
    for name, content in {
        "etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        "etc/debian_version": "12.5\n",
        "etc/hostname": "web1.example.org\n",
        "proc/meminfo": "MemTotal:  2048000 kB\nMemFree:  1000 kB\nMemAvailable:  1024000 kB\n",
    }.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path / "root"


@pytest.fixture
def start(guest: Guest, host: XapiHost, root: Path) -> Iterator[Start]:
    """Starts a publisher of the guest."""
    running = []

    def begin(services: Callable[[], dict[str, str]] = dict, **options: object) -> Publisher:
        chosen = PublisherOptions(path=guest.device, **options)  # type: ignore[arg-type]
        publisher = Publisher(chosen, Context(root).path, services)
        publisher.start()
        running.append(publisher)
        until(lambda: host.view().pv_drivers_version)
        return publisher

    yield begin
    for publisher in running:
        publisher.stop()


class Network(Changes):
    """The kernel's word of a change, given by the test."""

    last: Network

    def __init__(self) -> None:
        self._socket, self._kernel = socket.socketpair()
        self._socket.setblocking(False)
        Network.last = self

    def change(self) -> None:
        """Says that something has changed."""
        self._kernel.send(b"x")

    def close(self) -> None:
        self._kernel.close()
        super().close()


@contextmanager
def watched(daemon: Daemon, guest: Guest) -> Iterator[Callable[[], list[str]]]:
    """Gives what returns the guest's nodes that have changed, in their order, once nothing changes any more."""
    watcher = Watcher(daemon.socket, (guest.home,))
    assert watcher.wait(5).paths == [guest.home]  # which every watch begins with

    def changed() -> list[str]:
        paths: list[str] = []
        while found := watcher.wait(0.3).paths:
            paths += [path.removeprefix(f"{guest.home}/") for path in found]
        return paths

    yield changed
    watcher.close()


def test_the_host_sees_what_the_guest_is(start: Start, host: XapiHost) -> None:
    start()
    view = host.view()
    major, minor, micro = __version__.split(".")
    assert view.pv_drivers_version == {"major": major, "minor": minor, "micro": micro, "build": "0"}
    assert view.os_version["distro"] == "debian"
    assert view.os_version["name"] == "Debian GNU/Linux 12 (bookworm)"
    assert (view.os_version["major"], view.os_version["minor"]) == ("12", "5")
    assert view.os_version["host_name"] == "web1.example.org"
    assert view.memory == {"meminfo_total": "2048000", "meminfo_free": "1024000"}
    assert "feature-balloon" not in view.other


def test_the_host_sees_that_memory_can_be_taken(start: Start, host: XapiHost, root: Path) -> None:
    (root / "sys/devices/system/xen_memory/xen_memory0").mkdir(parents=True)
    start()
    until(lambda: host.view().other.get("feature-balloon") == "1")


def test_what_the_host_does_not_watch_is_written_first(
    start: Start, host: XapiHost, daemon: Daemon, guest: Guest, root: Path
) -> None:
    (root / "sys/devices/system/xen_memory/xen_memory0").mkdir(parents=True)
    with watched(daemon, guest) as changed:
        start()
        paths = [path for path in changed() if path.startswith(("data/", "attr/", "control/"))]
    kinds = [path.partition("/")[0] for path in paths]
    assert kinds == sorted(kinds, key=["data", "attr", "control"].index)
    assert set(kinds) == {"data", "attr", "control"}
    assert "data/updated" in paths


def test_an_address_is_seen_while_it_is_there(
    start: Start, host: XapiHost, nics: tuple[str, str], daemon: Daemon, guest: Guest
) -> None:
    for number, mac in enumerate(MACS):
        host.plug(number, mac.upper())
    start()
    run("ip", "address", "add", "192.0.2.10/24", "dev", nics[0])
    run("ip", "address", "add", "2001:db8::10/64", "dev", nics[1], "nodad")
    until(lambda: host.view().networks.get("0/ip") == "192.0.2.10")
    until(lambda: "2001:db8::10" in host.view().networks.values())
    assert host.view().networks["1/ipv6/0"] in ("2001:db8::10", "fe80::800:ff:fe00:2")
    with watched(daemon, guest) as changed:
        run("ip", "address", "del", "192.0.2.10/24", "dev", nics[0])
        until(lambda: "0/ip" not in host.view().networks)
        assert any(path.startswith("attr/vif/0/ipv4/0") for path in changed())


def test_an_address_keeps_its_index(start: Start, host: XapiHost, nics: tuple[str, str]) -> None:
    host.plug(0, MACS[0])
    for number in (1, 2, 3):
        run("ip", "address", "add", f"192.0.2.{number}/24", "dev", nics[0])
    publisher = start()
    until(lambda: host.view().networks.get("0/ipv4/2") == "192.0.2.3")
    run("ip", "address", "add", "198.51.100.1/24", "dev", nics[0])
    run("ip", "address", "del", "198.51.100.1/24", "dev", nics[0])
    run("ip", "address", "del", "192.0.2.2/24", "dev", nics[0])
    until(lambda: "0/ipv4/1" not in host.view().networks)
    assert host.view().networks["0/ipv4/2"] == "192.0.2.3"
    publisher.stop()
    run("ip", "address", "add", "192.0.2.4/24", "dev", nics[0])
    start()  # which knows what the one before has published
    until(lambda: host.view().networks.get("0/ipv4/1") == "192.0.2.4")
    assert host.view().networks["0/ipv4/2"] == "192.0.2.3"
    assert host.view().networks["0/ip"] == "192.0.2.1"


def test_a_virtual_function_is_known_by_its_mac(start: Start, host: XapiHost, daemon: Daemon, guest: Guest,
                                                nics: tuple[str, str]) -> None:  # fmt: skip
    host.plug(5, MACS[1].upper(), kind="net-sriov-vf")
    start()
    run("ip", "address", "add", "192.0.2.10/24", "dev", nics[1])
    until(lambda: daemon.host.read(f"{guest.home}/xenserver/attr/net-sriov-vf/5/ipv4/0") == b"192.0.2.10")
    assert host.view().networks["5/ip"] == "192.0.2.10"


def test_a_device_with_the_driver_of_the_host_is_known_by_its_number(
    start: Start, host: XapiHost, root: Path, nics: tuple[str, str]
) -> None:
    (root / f"sys/class/net/{nics[1]}/device").mkdir(parents=True)
    (root / f"sys/class/net/{nics[1]}/device/nodename").write_text("device/vif/3\n")
    run("ip", "address", "add", "192.0.2.10/24", "dev", nics[1])
    start()
    until(lambda: host.view().networks.get("3/ip") == "192.0.2.10")


def test_a_device_of_which_the_host_knows_nothing_is_not_published(
    start: Start, host: XapiHost, nics: tuple[str, str]
) -> None:
    host.plug(0, MACS[0])
    run("ip", "address", "add", "192.0.2.20/24", "dev", nics[1])
    run("ip", "address", "add", "192.0.2.10/24", "dev", nics[0])
    start()
    until(lambda: host.view().networks.get("0/ip") == "192.0.2.10")
    assert "192.0.2.20" not in host.view().networks.values()


def test_after_a_resume_all_is_published_again(
    start: Start, host: XapiHost, daemon: Daemon, guest: Guest, nics: tuple[str, str]
) -> None:
    host.plug(0, MACS[0])
    run("ip", "address", "add", "192.0.2.10/24", "dev", nics[0])
    start()
    until(lambda: host.view().networks.get("0/ip") == "192.0.2.10")
    before = host.view()
    host.resume({0: MACS[0]})
    until(lambda: host.view().networks == before.networks)
    until(lambda: host.view().pv_drivers_version == before.pv_drivers_version)
    assert host.view().os_version == before.os_version
    identifier = daemon.host.read(f"{guest.home}/unique-domain-id")
    assert identifier is not None
    with watched(daemon, guest) as changed:  # the same one again: a resume that was not one
        daemon.host.write({f"{guest.home}/unique-domain-id": identifier})
        assert changed() == ["unique-domain-id"]


def test_a_store_that_comes_back_empty_is_filled_again(
    start: Start, host: XapiHost, daemon: Daemon, guest: Guest
) -> None:
    start()
    daemon.kill()
    daemon.start()
    host.close()
    with XapiHost(guest.domid, socket=str(daemon.socket)) as again:
        again.make()
        until(lambda: again.view().pv_drivers_version)


def test_a_host_that_keeps_control_for_itself_sees_the_rest(
    start: Start, host: XapiHost, daemon: Daemon, guest: Guest, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    daemon.host.remove(f"{guest.home}/control", f"{guest.home}/vm-data")
    host.make(libxl=True)
    (root / "sys/devices/system/xen_memory/xen_memory0").mkdir(parents=True)
    start()
    until(lambda: "control/feature-balloon" in caplog.text)
    assert "EACCES" in caplog.text
    assert host.view().os_version["distro"] == "debian"


def test_a_full_store_is_told_of_and_tried_again(
    start: Start, host: XapiHost, guest: Guest, daemon: Daemon, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    services: dict[str, str] = {}
    publisher = start(lambda: services, memory_interval=1.0)
    services["acme/large"] = "x" * 3000  # more than either daemon takes of a guest
    publisher.services_changed()
    until(lambda: "data/service/acme/large" in caplog.text)
    services["acme/large"] = "small"
    until(lambda: host.view().services.get("acme/large") == "small")
    assert caplog.text.count("data/service/acme/large") == 1


@pytest.mark.real
def test_what_the_daemon_did_not_hear_in_time_is_made_true_again(
    start: Start, host: XapiHost, guest: Guest, daemon: Daemon
) -> None:
    services = {"acme/state": "well"}
    publisher = start(lambda: services, timeout=1.0)
    path = f"{guest.home}/data/service/acme/state"
    until(lambda: daemon.host.read(path) == b"well")
    daemon.stop()
    services["acme/state"] = "ill"
    publisher.services_changed()
    until(lambda: not publisher._watcher.connected)
    services["acme/state"] = "well"  # while the daemon is yet to write what it was told before
    daemon.resume()
    until(lambda: publisher._watcher.connected)
    until(lambda: daemon.host.read(path) == b"well")
    time.sleep(0.3)
    assert daemon.host.read(path) == b"well"


@DEVELOPMENT_ALONE
def test_a_network_that_changes_while_the_store_cannot_be_read_costs_no_processor(
    start: Start, host: XapiHost, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(self: Watcher, path: str) -> list[str]:
        raise StoreError("EACCES", f"DIRECTORY {path}")

    monkeypatch.setattr(publisher_module, "Changes", Network)
    start()
    with monkeypatch.context() as patch:
        patch.setattr(Watcher, "children", refused)
        host.make()  # with another identifier
        until(lambda: "may be out of date" in caplog.text)
        Network.last.change()
        time.sleep(0.3)
        assert caplog.text.count("may be out of date") <= 4


@DEVELOPMENT_ALONE
def test_it_stands_down_while_another_agent_publishes(
    start: Start, host: XapiHost, root: Path, daemon: Daemon, guest: Guest, caplog: pytest.LogCaptureFixture
) -> None:
    start(memory_interval=1.0)
    (root / "proc/123").mkdir(parents=True)
    (root / "proc/123/comm").write_text("xen-guest-agent\n"[:15] + "\n")
    until(lambda: "xen-guest-agent runs here" in caplog.text)
    (root / "etc/hostname").write_text("web2\n")
    with watched(daemon, guest) as changed:
        assert changed() == []
    (root / "proc/123/comm").unlink()
    until(lambda: host.view().os_version.get("host_name") == "web2")


def test_a_service_is_seen_at_once(start: Start, host: XapiHost) -> None:
    services: dict[str, str] = {}
    publisher = start(lambda: services)
    services["acme/state"] = "backing up"
    publisher.services_changed()
    until(lambda: host.view().services == {"acme/state": "backing up"}, 1.0)
    host.resume({})
    until(lambda: host.view().services == {"acme/state": "backing up"})


@DEVELOPMENT_ALONE
def test_what_changes_only_below_data_makes_the_host_look(
    start: Start, host: XapiHost, daemon: Daemon, guest: Guest, root: Path
) -> None:
    start(memory_interval=1.0)
    (root / "etc/hostname").write_text("web2.example.org\n")
    with watched(daemon, guest) as changed:
        until(lambda: host.view().os_version.get("host_name") == "web2.example.org")
        paths = changed()
    assert paths[-1] == "attr/PVAddons/Installed"
    (root / "proc/meminfo").write_text("MemTotal:  2048000 kB\nMemAvailable:  512000 kB\n")
    with watched(daemon, guest) as changed:
        until(lambda: host.view().memory["meminfo_free"] == "512000")
        assert set(changed()) == {"data/meminfo_free"}
