"""Addresses that the host sets, on all stores as an unprivileged guest: the conversation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.xen.harness import Daemon, Guest

from guestagent_commands_net import families
from guestagent_core import (
    ChannelRunner,
    CommandBase,
    CommandError,
    CommandRegistry,
    CommandResult,
    command,
)
from guestagent_xapi import vif_exchange
from guestagent_xapi.vif_exchange import VifExchange
from guestagent_xapi.vif_parser import VifParser
from guestagent_xen.host.xapi import XapiHost
from guestagent_xen.session import StoreError
from guestagent_xen.watching import Changes, Watcher

from .conftest import MACS, Channel, fill, make_room, run, until, vif_channel

FLAG = "control/feature-static-ip-setting"
NO_SETTING = {"mac": MACS[0], "error-code": "0", "error-msg": ""}


class Vif(CommandBase):
    """Notes what it is asked for."""

    orders: ClassVar[list[dict[str, Any]]] = []
    outcome: Callable[[dict[str, Any]], CommandResult]

    @command("xapi.vif", idempotent=True)
    def configure(self, value: dict[str, Any]) -> CommandResult:
        """Does what the test says."""
        self.orders.append(value)
        return Vif.outcome(value)


@pytest.fixture
def start(
    guest: Guest, host: XapiHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Channel]]:
    """Starts an agent, in a guest whose network somebody owns."""
    monkeypatch.setattr(Vif, "orders", [])
    monkeypatch.setattr(Vif, "outcome", lambda value: CommandResult(), raising=False)
    monkeypatch.setattr(families, "owner", lambda context: "ifupdown")
    running: list[Channel] = []

    def begin(device_timeout: float = 30.0) -> Channel:
        running.append(vif_channel(Vif, guest.device, tmp_path, device_timeout))
        return running[-1]

    yield begin
    for agent in running:
        agent.close()


def taken(host: XapiHost, number: int = 0, kind: str = "vif") -> Callable[[], bool]:
    return lambda: not {"enabled", "enabled6"} & set(host.setting(number, kind))


def count_waits(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """Returns a list that grows by one with each wait from now on."""
    waits: list[float | None] = []
    wait = Watcher.wait

    def counted(self: Watcher, timeout: float | None, descriptors: Iterable[tuple[int, int]] = ()) -> Changes:
        waits.append(timeout)
        return wait(self, timeout, descriptors)

    monkeypatch.setattr(Watcher, "wait", counted)
    return waits


def test_a_device_that_is_plugged_has_no_setting(start: Callable[..., Channel], host: XapiHost) -> None:
    start()
    host.plug(0, MACS[0].upper())
    until(taken(host))
    assert host.setting(0) == {**NO_SETTING, "mac": MACS[0].upper()}
    assert [(order["family"], order["enabled"]) for order in Vif.orders] == [("ipv4", "0"), ("ipv6", "0")]


def test_a_setting_is_applied_and_taken_away(
    start: Callable[..., Channel], host: XapiHost, nics: tuple[str, str]
) -> None:
    start()
    host.plug(0, MACS[0].upper())
    until(taken(host))
    Vif.orders.clear()
    host.static(0, "192.0.2.10/24", "192.0.2.1")
    host.static(0, "2001:db8::10/64", family=6)
    until(taken(host))
    wanted = {"device": "vif/0", "mac": MACS[0], "enabled": "1", "dns": []}
    assert Vif.orders == [
        {**wanted, "family": "ipv4", "address": "192.0.2.10/24", "gateway": "192.0.2.1"},
        {**wanted, "family": "ipv6", "address": "2001:db8::10/64", "gateway": None},
    ]
    host.dhcp(0)
    until(lambda: len(Vif.orders) == 3)
    assert Vif.orders[2] == {**wanted, "family": "ipv4", "enabled": "2", "address": None, "gateway": None}
    until(taken(host))
    assert {name: value for name, value in host.setting(0).items() if name.startswith("error")} == {
        "error-code": "0",
        "error-msg": "",
    }


def test_name_servers_are_read_where_the_host_gives_some(
    start: Callable[..., Channel], host: XapiHost, nics: tuple[str, str]
) -> None:
    host.plug(0, MACS[0], {"enabled": "1", "address": "192.0.2.10/24", "dns/10": "192.0.2.3", "dns/2": "192.0.2.2"})
    start()
    until(lambda: len(Vif.orders) == 2)
    assert Vif.orders[0]["dns"] == ["192.0.2.2", "192.0.2.3"]


def test_an_error_stands_beside_the_setting(
    start: Callable[..., Channel], host: XapiHost, nics: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(value: dict[str, Any]) -> CommandResult:
        if value["enabled"] == "1" and value["family"] == "ipv6":
            raise CommandError("xapi0: there is no such gateway " + "é" * 2000)
        return CommandResult()

    monkeypatch.setattr(Vif, "outcome", fail)
    start()
    host.plug(0, MACS[0])
    until(taken(host))
    host.static(0, "2001:db8::10/64", "2001:db8::1", family=6)
    until(taken(host))
    setting = host.setting(0)
    assert setting["error-code"] == "500"
    assert setting["error-msg"].startswith("[ipv6] xapi0: there is no such gateway é")
    host.static(0, "192.0.2.10/24")  # that of the other family stays
    until(taken(host))
    assert host.setting(0)["error-code"] == "500"
    host.none(0, family=6)
    until(taken(host))
    assert host.setting(0)["error-code"] == "0"
    assert host.setting(0)["error-msg"] == ""


def test_a_device_that_comes_late_is_waited_for(start: Callable[..., Channel], host: XapiHost) -> None:
    start()
    host.plug(0, MACS[0], {"enabled": "1", "address": "192.0.2.10/24"})
    until(lambda: len(Vif.orders) == 1)  # of IPv6, which has no setting
    time.sleep(0.3)
    assert host.setting(0)["enabled"] == "1"
    assert len(Vif.orders) == 1
    run("ip", "link", "add", "xapi0", "address", MACS[0], "type", "veth", "peer", "name", "xapi-peer0")
    try:
        until(taken(host))
        assert Vif.orders[1]["address"] == "192.0.2.10/24"
    finally:
        run("ip", "link", "del", "xapi0")


def test_a_device_that_does_not_come_is_an_error_of_the_command(start: Callable[..., Channel], host: XapiHost) -> None:
    start(device_timeout=0.2)
    host.plug(0, "0a:00:00:00:00:99", {"enabled": "1", "address": "192.0.2.10/24"})
    until(taken(host))
    assert Vif.orders[-1]["mac"] == "0a:00:00:00:00:99"  # the command says what is wrong


def test_an_order_that_is_taken_back_before_its_device_has_come_costs_no_processor(
    guest: Guest, host: XapiHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(families, "owner", lambda context: "ifupdown")
    with closing(VifExchange(VifExchange.Options(guest.device, tmp_path, device_timeout=0.2))) as exchange:
        host.plug(0, "0a:00:00:00:00:99", {"enabled": "1", "address": "192.0.2.10/24", "enabled6": ""})
        assert not exchange.wait(0.1)
        host.unplug(0)
        assert not exchange.wait(0.3)
        waits = count_waits(monkeypatch)
        assert not exchange.wait(0.5)
    assert len(waits) <= 3


def test_a_device_that_cannot_be_read_keeps_no_other_waiting(
    guest: Guest, host: XapiHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children = Watcher.children

    def refused(self: Watcher, path: str) -> list[str]:
        if "/1/static-ip-setting/dns" in path or "net-sriov-vf" in path:
            raise StoreError("E2BIG", f"DIRECTORY {path}")
        return children(self, path)

    monkeypatch.setattr(families, "owner", lambda context: "ifupdown")
    monkeypatch.setattr(Watcher, "children", refused)
    for number in range(4):
        host.plug(number, "0a:00:00:00:00:99", {"enabled": str(number % 2), "address": "192.0.2.10/24", "enabled6": ""})
    waits = count_waits(monkeypatch)
    with closing(VifExchange(VifExchange.Options(guest.device, tmp_path, device_timeout=0.2))) as exchange:
        seen = set()
        while exchange.wait(1.5):
            order = exchange.get_request()
            assert order is not None
            seen.add(order["id"])
    assert seen == {"vif/0/ipv4", "vif/2/ipv4", "vif/3/ipv4"}
    assert len(waits) < 20


def test_a_setting_that_changes_while_it_is_applied_is_applied_again(
    start: Callable[..., Channel], host: XapiHost, nics: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait(value: dict[str, Any]) -> CommandResult:
        begun.set()
        assert go_on.wait(10)
        return CommandResult()

    start()
    host.plug(0, MACS[0])
    until(taken(host))
    monkeypatch.setattr(Vif, "outcome", wait)
    Vif.orders.clear()
    host.static(0, "192.0.2.10/24")
    assert begun.wait(10)
    assert host.setting(0)["enabled"] == "1"  # which stays until it has been tried
    host.static(0, "192.0.2.20/24")
    go_on.set()
    until(taken(host))
    assert [order["address"] for order in Vif.orders] == ["192.0.2.10/24", "192.0.2.20/24"]


def test_an_order_is_seen_that_comes_at_once_after_the_answer_to_the_one_before(
    guest: Guest, host: XapiHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(families, "owner", lambda context: "ifupdown")
    with closing(VifExchange(VifExchange.Options(guest.device, tmp_path))) as exchange:
        parser = VifParser(ChannelRunner(CommandRegistry([Vif]), "xapi-vif"))
        monkeypatch.setattr(Vif, "outcome", lambda value: CommandResult(), raising=False)
        host.plug(0, MACS[0])
        for family in ("ipv4", "ipv6"):
            assert exchange.wait(10)
            order = exchange.get_request()
            assert order is not None
            assert order["id"] == f"vif/0/{family}"
            exchange.put_response(order, parser.parse_request(order))
            if family == "ipv4":
                host.none(0)  # changes one node alone, of which the agent is yet to hear that it removed it
        assert exchange.wait(10)
        again = exchange.get_request()
        assert again is not None
        assert again["id"] == "vif/0/ipv4"


def test_an_error_that_the_guest_had_no_room_for_stands_there_once_it_has(
    start: Callable[..., Channel], host: XapiHost, daemon: Daemon, guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Vif, "outcome", lambda value: CommandResult(7, "not today"))
    folder = f"{guest.home}/xenserver/device/vif/0/static-ip-setting"
    host.plug(0, MACS[0])
    daemon.host.remove(f"{folder}/error-code", f"{folder}/error-msg", f"{folder}/enabled6")
    fill(daemon, guest)
    start()
    until(lambda: Vif.orders)
    time.sleep(0.3)
    assert daemon.host.read(f"{folder}/enabled") == b"0"
    assert len(Vif.orders) < 5  # one a second, and not one after the other
    make_room(daemon, guest)
    until(taken(host))
    assert (host.setting(0)["error-code"], host.setting(0)["error-msg"]) == ("7", "not today")


def test_a_virtual_function_is_set_too(start: Callable[..., Channel], host: XapiHost, nics: tuple[str, str]) -> None:
    start()
    host.plug(4, MACS[1].upper(), {"enabled": "1", "address": "192.0.2.10/24"}, kind="net-sriov-vf")
    until(taken(host, 4, "net-sriov-vf"))
    assert Vif.orders[0]["device"] == "net-sriov-vf/4"
    assert Vif.orders[0]["mac"] == MACS[1]


def test_what_stood_there_before_the_agent_is_applied(
    start: Callable[..., Channel], host: XapiHost, nics: tuple[str, str]
) -> None:
    host.plug(0, MACS[0], {"enabled": "1", "address": "192.0.2.10/24", "enabled6": "2"})
    host.plug(1, MACS[1])
    start()
    until(taken(host))
    until(taken(host, 1))
    assert len(Vif.orders) == 4
    host.unplug(1)
    host.none(0)
    until(lambda: len(Vif.orders) == 5)


def test_the_flag_is_there_while_somebody_owns_the_network(
    start: Callable[..., Channel], host: XapiHost, daemon: Daemon, guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = f"{guest.home}/{FLAG}"
    agent = start()
    until(lambda: daemon.host.read(flag) == b"1")
    host.resume({})
    until(lambda: daemon.host.read(flag) == b"1")
    monkeypatch.setattr(families, "owner", lambda context: None)
    host.resume({})
    time.sleep(0.3)
    assert daemon.host.read(flag) is None
    monkeypatch.setattr(families, "owner", lambda context: "ifupdown")
    host.resume({})
    until(lambda: daemon.host.read(flag) == b"1")
    agent.close()
    assert daemon.host.read(flag) is None


def test_a_flag_that_the_guest_had_no_room_for_is_there_once_it_has(
    start: Callable[..., Channel],
    host: XapiHost,
    daemon: Daemon,
    guest: Guest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(vif_exchange, "_FLAG_AGAIN", 0.5)
    fill(daemon, guest)
    start()
    until(lambda: "The host cannot set addresses" in caplog.text)
    make_room(daemon, guest)
    until(lambda: daemon.host.read(f"{guest.home}/{FLAG}") == b"1")


def test_a_daemon_that_comes_back_empty_is_served_again(
    start: Callable[..., Channel], host: XapiHost, daemon: Daemon, guest: Guest
) -> None:
    start()
    host.close()
    daemon.kill()
    daemon.start()
    with XapiHost(guest.domid, socket=str(daemon.socket)) as again:
        again.make()
        again.plug(0, MACS[0])
        until(taken(again))
        until(lambda: daemon.host.read(f"{guest.home}/{FLAG}") == b"1")


def test_without_a_daemon_an_exchange_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = count_waits(monkeypatch)
    with closing(VifExchange(VifExchange.Options(tmp_path / "nobody", tmp_path))) as exchange:
        assert not exchange.wait(0.3)
    assert len(waits) <= 2
