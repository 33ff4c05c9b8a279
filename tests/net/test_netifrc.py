"""Gentoo's netifrc: what is written to /etc/conf.d/net, and what of it stays."""

from __future__ import annotations

from typing import ClassVar

import pytest
from tests.net.models import DictStore, files_of, nics_of, vectors

from guestagent_commands_net.backends import FileState, Snapshot
from guestagent_commands_net.netifrc import Netifrc
from guestagent_commands_net.readers.sources import read_store
from guestagent_commands_net.testing import NetworkBackendContract, apply_changes

FILE = "/etc/conf.d/net"


class TestContract(NetworkBackendContract):
    files: ClassVar = {
        FILE: """\
# mine
modules="iproute2"
config_eth0="dhcp" # why
dhcpcd_eth0="-t 10"
config_eth9="198.51.100.7/24
  2001:db8:9::7/64"
routes_eth9="10.0.0.0/8 via 198.51.100.1"
preup() {
  echo "$IFACE"
}
""",
    }
    kept: ClassVar = ("# mine\n", 'modules="iproute2"\n', '# why\n', 'dhcpcd_eth0="-t 10"\n', 'preup() {\n  echo "$IFACE"\n}\n')
    unsupported: ClassVar = frozenset({"ra-on", "ra-off"})

    @pytest.fixture
    def backend(self) -> Netifrc:
        return Netifrc()


class TestContractBeforeOpenrc(TestContract):
    facts: ClassVar = {"style": "legacy"}


@pytest.mark.parametrize("name", ["gentoo-openrc", "gentoo-legacy"])
def test_what_was_recorded_is_configured_again(name: str) -> None:
    for case in vectors(name):
        change = read_store(DictStore(case["store"]), nics_of(case["nics"]))
        before = files_of(case["before"], FILE)
        snapshot = Snapshot(before, {"style": name.removeprefix("gentoo-")})
        after = apply_changes(before, Netifrc().render(change, snapshot))
        ours = {each.name: each for each in Netifrc().read(after)}
        theirs = {each.name: each for each in Netifrc().read(files_of(case["after"], FILE))}
        for interface in change.interfaces:
            assert ours[interface.name] == interface
            found = theirs[interface.name]
            if "routes" not in DROPPED.get(case["title"], ""):
                assert found == interface, case["title"]


DROPPED = {
    "default-route-in-routes": "routes through the default gateway are lost",
    "two-if-routes-dns": "routes: the recorded ones",
}
