"""The reader of the kernel's network agrees with pyroute2, and its event socket tells of changes."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest

from guestagent_commands_net import netlink


@pytest.fixture
def kernel() -> Iterator[Any]:
    """Two ends of a cable in the network of the tests, named one and two, and what writes to the kernel there."""
    if os.geteuid() != 0 or os.access("/etc", os.W_OK):
        pytest.skip("needs root that may make namespaces (the guard's)")
    from pyroute2 import IPRoute

    with IPRoute() as route:
        route.link("add", ifname="one", kind="veth", peer="two", address="02:00:00:00:77:01")
        for name in ("one", "two"):
            route.link("set", index=route.link_lookup(ifname=name)[0], state="up")
        yield route
        route.link("del", index=route.link_lookup(ifname="one")[0])


def index_of(kernel: Any, name: str) -> int:
    return int(kernel.link_lookup(ifname=name)[0])


def fill(kernel: Any) -> None:
    one, two = index_of(kernel, "one"), index_of(kernel, "two")
    kernel.link("set", index=one, mtu=1400)
    kernel.addr("add", index=one, address="192.0.2.10", prefixlen=24)
    kernel.addr("add", index=one, address="192.0.2.11", prefixlen=24)
    kernel.addr("add", index=one, address="2001:db8::10", prefixlen=64)
    kernel.addr("add", index=two, address="198.51.100.1", prefixlen=32, preferred_lft=100, valid_lft=200)
    kernel.route("add", dst="default", gateway="192.0.2.1", oif=one, priority=50, proto=4)
    kernel.route("add", dst="10.0.0.0/8", gateway="192.0.2.1", oif=one)
    kernel.route("add", dst="10.1.0.0/16", oif=two, scope=253)
    kernel.route("add", dst="10.2.0.0/16", multipath=[{"gateway": "192.0.2.1"}, {"gateway": "192.0.2.2"}])
    kernel.route("add", dst="10.3.0.0/16", oif=one, via={"family": 10, "addr": "fe80::1"})
    kernel.route("add", dst="10.4.0.0/16", oif=one, gateway="192.0.2.1", table=100)
    kernel.route("add", family=10, dst="default", gateway="fe80::1", oif=one)
    kernel.route("replace", type="blackhole", dst="10.5.0.0/16")


@pytest.mark.real
def test_links_and_addresses_are_those_that_pyroute2_reads(kernel: Any) -> None:
    fill(kernel)
    state = netlink.read_state()
    expected = {link.get("ifname"): link for link in kernel.get_links()}
    assert state.keys() == expected.keys()
    for name, link in state.items():
        theirs = expected[name]
        assert link.index == theirs["index"]
        assert link.mac == (theirs.get("address") or "")
        assert link.mtu == theirs.get("mtu")
        assert link.up == bool(theirs["flags"] & 1)
        assert link.carrier == bool(theirs["flags"] & 0x10000)
        assert link.kind == (theirs.get(("linkinfo", "kind")) or "")
        assert link.lower == (theirs.get("link") or 0)
        assert link.ethernet == (theirs["ifi_type"] == 1)
        addresses = {
            (ip_interface(f"{address.get('local') or address.get('address')}/{address['prefixlen']}"))
            for address in kernel.get_addr(index=link.index)
        }
        assert {address.interface for address in link.addresses} == addresses
        flags = {
            ip_address(address.get("local") or address.get("address")): address.get("flags")
            for address in kernel.get_addr(index=link.index)
        }
        assert {address.interface.ip: address.flags for address in link.addresses} == flags
    assert state["one"].mac == "02:00:00:00:77:01"
    assert state["one"].kind == "veth"
    assert state["lo"].loopback
    configured = {str(address.interface) for address in state["one"].addresses if address.configured}
    assert configured == {"192.0.2.10/24", "192.0.2.11/24", "2001:db8::10/64"}
    assert not any(address.configured for address in state["two"].addresses)


@pytest.mark.real
def test_routes_are_those_that_pyroute2_reads(kernel: Any) -> None:
    fill(kernel)
    expected = set()
    for route in [*kernel.get_routes(family=2, table=254), *kernel.get_routes(family=10, table=254)]:
        if route["type"] != 1:
            continue
        destination = route.get("dst") or ("0.0.0.0" if route["family"] == 2 else "::")
        network = ip_network(f"{destination}/{route['dst_len']}")
        for hop in route.get("multipath") or [route]:
            via = (hop.get("via") or {}).get("addr")
            gateway = hop.get("gateway") or via
            oif = hop.get("oif") if hop is not route else route.get("oif")
            expected.add((oif, network, ip_address(gateway) if gateway else None, route.get("priority") or 0))
    read = {
        (link.index, route.destination, route.gateway, route.metric)
        for link in netlink.read_state().values()
        for route in link.routes
    }
    assert {row[1:] for row in read} == {row[1:] for row in expected}
    assert {row for row in expected if row[0]} <= read
    one = netlink.read_state()["one"]
    assert {str(route.gateway) for route in one.routes if str(route.destination) == "10.2.0.0/16"} == {
        "192.0.2.1",
        "192.0.2.2",
    }
    assert not [route for route in one.routes if str(route.destination) == "10.4.0.0/16"], "of another table"


@pytest.mark.real
def test_a_duplicate_address_is_seen(kernel: Any) -> None:
    # The other end of the cable has it already.
    kernel.addr("add", index=index_of(kernel, "two"), address="2001:db8::99", prefixlen=64, flags=0x02)  # NODAD
    with netlink.Changes() as changes:
        kernel.addr("add", index=index_of(kernel, "one"), address="2001:db8::99", prefixlen=64)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            (address,) = (
                address
                for address in netlink.read_state()["one"].addresses
                if str(address.interface.ip) == "2001:db8::99"
            )
            if address.duplicate:
                break
            assert address.tentative
            changes.wait(end - time.monotonic())
    assert address.duplicate


@pytest.mark.real
def test_a_change_ends_the_wait_and_nothing_does_not(kernel: Any) -> None:
    with netlink.Changes() as changes:
        while changes.wait(0.2):
            pass
        assert not changes.wait(0)
        timer = threading.Timer(0.1, kernel.addr, ["add"], {"index": 1, "address": "127.7.7.7", "prefixlen": 32})
        timer.start()
        assert changes.wait(60)
        timer.join()
        kernel.addr("del", index=1, address="127.7.7.7", prefixlen=32)


def test_a_program_with_many_descriptors_can_wait_for_changes() -> None:
    many = 1100  # select(2) takes those below 1,024
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < many + 100:
        pytest.skip(f"needs {many + 100} descriptors (ulimit -n)")
    with ExitStack() as stack:
        for _ in range(many):
            stack.enter_context(Path(os.devnull).open("rb"))
        with netlink.Changes() as changes:
            assert changes.fileno() > 1024
            while changes.wait(0):
                pass


def test_what_is_not_asked_for_is_not_read() -> None:
    state = netlink.read_state(addresses=False, routes=False)
    assert state["lo"].loopback
    assert not any(link.addresses or link.routes for link in state.values())
