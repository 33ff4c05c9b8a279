"""What the backends write, read by the tools themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml
from tests.net import lab

from guestagent_commands_net.backends import FileState, NetworkBackend, Snapshot
from guestagent_commands_net.model import Change, Interface, Nic
from guestagent_commands_net.testing import examples
from guestagent_commands_net.tools.ifupdown import Ifupdown
from guestagent_commands_net.tools.keyfile import as_read
from guestagent_commands_net.tools.netplan import Netplan
from guestagent_commands_net.tools.networkmanager import NetworkManager

pytestmark = pytest.mark.real

NICS = tuple(Nic(f"eth{number}", f"bc:76:4e:20:00:4{number}") for number in range(10))


@pytest.fixture(scope="module")
def machine() -> Iterator[lab.Machine]:
    with lab.Machine() as machine:
        yield machine


def written(backend: NetworkBackend, interface: Interface) -> tuple[Change, dict[str, str]]:
    members = (Interface(name) for name in getattr(interface.link, "members", ()))
    change = Change((*members, interface), whole=False)
    return change, {each.path: (each.content or b"").decode() for each in backend.render(change, Snapshot(nics=NICS))}


@pytest.mark.parametrize("example", examples(), ids=str)
def test_ifquery_reads_what_was_written(machine: lab.Machine, example: object) -> None:
    interface = example.interface  # type: ignore[attr-defined]
    change, files = written(Ifupdown(), interface)
    machine.write("/tmp/check/etc/network/interfaces", files["/etc/network/interfaces"])
    for step in Ifupdown().validate(change, {}, "/tmp/check"):
        done = machine.run(*step.argv)
        assert done.returncode == 0, done.stderr
        said = done.stdout
    for address in interface.addresses:
        assert f"address: {address}" in said or f"address: {address.ip}\n" in said
    for version in (4, 6):
        gateway = interface.gateway(version)
        assert gateway is None or str(gateway) in said
    assert all(str(server) in said for server in interface.dns.servers)


def test_ifquery_refuses_what_is_wrong(machine: lab.Machine) -> None:
    machine.write("/tmp/check/etc/network/interfaces", "iface eth0 inet statik\n    address 192.0.2.1/24\n")
    (step,) = Ifupdown().validate(Change((Interface("eth0"),)), {}, "/tmp/check")
    assert machine.run(*step.argv).returncode != 0


@pytest.mark.parametrize("example", examples(), ids=str)
def test_netplan_reads_what_was_written(machine: lab.Machine, example: object) -> None:
    interface = example.interface  # type: ignore[attr-defined]
    _, files = written(Netplan(), interface)
    machine.run("rm", "-rf", "/tmp/netplan")
    for path, text in {**files, **_parents(interface)}.items():
        machine.write(f"/tmp/netplan{path}", text, 0o600)
    (step,) = Netplan().validate(Change(), {}, "/tmp/netplan")
    done = machine.run(*step.argv)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr
    assert "too open" not in done.stderr
    shown = machine.run("netplan", "get", "--root-dir", "/tmp/netplan", "all")
    (found,) = [
        each
        for each in Netplan().read({"/etc/netplan/a.yaml": FileState(shown.stdout.encode())}, NICS)
        if each.name == interface.name
    ]
    assert found == interface


def _parents(interface: Interface) -> dict[str, str]:
    parent = getattr(interface.link, "parent", None)
    return {"/etc/netplan/10-parent.yaml": f"network: {{ethernets: {{{parent}: {{}}}}}}\n"} if parent else {}


def test_netplan_refuses_what_is_wrong(machine: lab.Machine) -> None:
    machine.run("rm", "-rf", "/tmp/netplan")
    wrong = {"network": {"version": 2, "ethernets": {"eth0": {"addresses": ["10.9.0.999/16"]}}}}
    machine.write("/tmp/netplan/etc/netplan/a.yaml", yaml.safe_dump(wrong), 0o600)
    (step,) = Netplan().validate(Change(), {}, "/tmp/netplan")
    done = machine.run(*step.argv)
    assert done.returncode != 0
    assert "10.9.0.999" in done.stderr


@pytest.mark.parametrize("example", examples(), ids=str)
def test_networkmanager_reads_what_was_written(machine: lab.Machine, example: object) -> None:
    interface = example.interface  # type: ignore[attr-defined]
    backend = NetworkManager()
    change, files = written(backend, interface)
    staged = {path: FileState(text.encode()) for path, text in files.items()}
    shown: dict[str, FileState] = {}
    for step, path in zip(backend.validate(change, staged, ""), files, strict=True):
        done = machine.run(*step.argv, input=step.input.decode())
        assert done.returncode == 0, f"{path}: {done.stderr}\n{step.input.decode()}"
        shown[path] = FileState(done.stdout.encode())
    (found,) = [each for each in backend.read(shown, NICS) if each.name == interface.name]
    assert found == as_read(interface)


@pytest.mark.parametrize(
    "text",
    [
        "[connection]\nid=a\ntype=ethernet\n[ipv4]\nmethod=manual\naddress1=10.9.0.999/16\n",
        "[connection]\nid=a\ntype=ethernet\n[ipv4]\nmethod=statik\n",
    ],
)
def test_networkmanager_refuses_what_is_wrong(machine: lab.Machine, text: str) -> None:
    change = Change((Interface("eth0", NICS[0].mac),))
    content = text.replace("id=a", "id=a\ninterface-name=eth0").encode()
    (step,) = NetworkManager().validate(change, {"/etc/NetworkManager/system-connections/a": FileState(content)}, "")
    assert machine.run(*step.argv, input=content.decode()).returncode != 0


def test_what_ifup_does_is_what_was_wanted(machine: lab.Machine) -> None:
    for example in examples():
        if example.features & {"bond", "vlan", "dhcp4", "dhcp6", "ra-on", "address6"}:
            continue  # this kernel has none of the first two, no server answers here, and the last one takes a while
        interface = example.interface
        _, files = written(Ifupdown(), interface)
        machine.write("/etc/network/interfaces", files["/etc/network/interfaces"])
        done = machine.run("ifup", "eth0")
        assert done.returncode == 0, done.stderr
        assert machine.addresses("eth0") >= {str(address) for address in interface.addresses_of(4)}
        routes = json.loads(
            machine.run("ip", "-j", "-4", "route", "show", "dev", "eth0", "proto", "boot").stdout or "[]"
        )
        assert {(each["dst"], each.get("gateway"), each.get("metric")) for each in routes} == {
            ("default" if route.is_default else str(route.destination), _text(route.gateway), route.metric)
            for route in interface.routes
        }
        assert machine.link("eth0")["mtu"] == (interface.mtu or 1500)
        machine.run("ifdown", "eth0", check=True)
        machine.run("ip", "link", "set", "eth0", "mtu", "1500")


def _text(value: object) -> str | None:
    return None if value is None else str(value)
