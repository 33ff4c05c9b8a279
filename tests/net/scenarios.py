"""How each tool is met in a machine, and what a host asks for: what the tests of all backends share."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import Any

from tests.net import lab

STATE = "/var/lib/guestagent"
INTERFACES_HEAD = "# by hand\nauto lo\niface lo inet loopback\n"


@dataclass(frozen=True)
class Tool:
    """A backend, and a machine in which its tool is at work."""

    name: str
    systemd: bool
    files: dict[str, str] = field(default_factory=dict)
    start: str = "true"
    """What has to be run once the machine is there."""
    watched: str = "/etc"
    """The folder whose files are to be old or new."""
    spoil: str = "false"
    """A command after which the tool refuses the files, by a mistake that is not ours."""
    liars: tuple[str, ...] = ()
    """The programs that apply a configuration, which a test may replace."""


IFUPDOWN = Tool(
    "ifupdown",
    False,
    {"/etc/network/interfaces": INTERFACES_HEAD},
    "ifup -a",
    "/etc/network",
    "echo 'iface eth9 inet statik' >> /etc/network/interfaces",
    ("/usr/sbin/ifup",),
)
NETPLAN = Tool(
    "netplan",
    True,
    {"/etc/netplan/50-cloud-init.yaml": "network:\n  version: 2\n  renderer: networkd\n"},
    "systemctl stop NetworkManager; systemctl mask NetworkManager; netplan generate;"
    " systemctl enable --now systemd-networkd",
    "/etc/netplan",
    "umask 077; echo '{network: {version: 2, ethernets: {eth9: {optional: maybe}}}}' > /etc/netplan/10-user.yaml",
    ("/usr/bin/networkctl",),
)
NETWORK_MANAGER = Tool(
    "networkmanager",
    True,
    {"/etc/NetworkManager/conf.d/lab.conf": "[main]\nno-auto-default=*\n"},
    "nmcli -w 20 networking on && for i in 0 1 2; do nmcli device set eth$i managed yes || true; done",
    "/etc/NetworkManager/system-connections",
    "for f in /etc/NetworkManager/system-connections/*eth0*; do printf '\\n[802-1x]\\neap=maybe\\n' >> $f; done",
    ("/usr/bin/nmcli",),
)
TOOLS = (IFUPDOWN, NETPLAN, NETWORK_MANAGER)


def wanted(number: int, *, card: int = 0, gateway: bool = True, **more: Any) -> dict[str, Any]:
    """Returns the record of an interface as hosts publish it: both IP versions, a route and name servers."""
    network = f"10.9.{card}"
    record = {
        "label": "public",
        "mac": lab.mac_of(card).upper(),
        "ips": [{"ip": f"{network}.{number}", "netmask": "255.255.255.0", "enabled": "1"}],
        "ip6s": [{"ip": f"fd09:{card + 1}::{number}", "netmask": 64, "enabled": "1"}],
        "routes": [{"route": f"10.20{card}.0.0", "netmask": "255.255.0.0", "gateway": f"{network}.2"}],
        "dns": ["10.9.0.53"],
    }
    if gateway:
        record |= {"gateway": f"{network}.1", "gateway_v6": f"fd09:{card + 1}::1"}
    return record | more


def shown(number: int, *, card: int = 0, gateway: bool = True) -> tuple[set[str], set[str]]:
    """Returns the addresses and routes that ``ip -j`` shows when :func:`wanted` is configured."""
    addresses = {f"10.9.{card}.{number}/24", f"fd09:{card + 1}::{number}/64"}
    routes = {f"10.20{card}.0.0/16 via 10.9.{card}.2"}
    if gateway:
        routes |= {f"default via 10.9.{card}.1", f"default via fd09:{card + 1}::1"}
    return addresses, routes


class Guest:
    """A machine whose network one tool configures."""

    def __init__(self, tool: Tool, *, interfaces: int = 3, dad: bool = False) -> None:
        self.tool = tool
        self.machine = lab.Machine(interfaces=interfaces, systemd=tool.systemd, files=tool.files)
        if not dad:  # else each turn would take two seconds longer
            for place in ("all", "default", *(f"eth{number}" for number in range(interfaces))):
                self.machine.run("sysctl", "-qw", f"net.ipv6.conf.{place}.accept_dad=0", check=True)
        self.machine.run("sh", "-ec", tool.start, check=True)

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *exception: object) -> None:
        self.machine.close()

    def net(self, verb: str, *records: dict[str, Any], timeout: int | None = None) -> Any:
        """Runs ``guestagent net`` on the records of all interfaces; returns what it printed and its exit status."""
        more = ["--backend", self.tool.name, *(["--timeout", str(timeout)] if timeout else [])]
        self.machine.write("/wanted.json", json.dumps(records))
        return self.machine.python("-I", "-m", "guestagent_core", "net", verb, "/wanted.json", *more)

    def apply(self, *records: dict[str, Any]) -> str:
        """Applies, which must succeed; returns what was said."""
        done = self.net("apply", *records)
        assert done.returncode == 0, done.stderr + self.last()
        return str(done.stdout)

    def last(self) -> str:
        """Returns how the last transaction ended, with its log."""
        return str(self.machine.run("cat", f"{STATE}/net/last.json").stdout)

    def kill_at(self, step: str, *whom: str, records: list[dict[str, Any]]) -> None:
        """Has an agent apply, and the worker and ``whom`` killed at the beginning of ``step``."""
        self.machine.write("/wanted.json", json.dumps(records))
        self.machine.run(
            sys.executable, f"{lab.HERE}/agent.py", "/wanted.json", STATE, step, *whom
        )  # whatever becomes of it
        self.machine.run("flock", f"{STATE}/net/lock", "true")  # until the dead-man switch has ended

    def recover(self) -> None:
        """Does what the next start of an agent does."""
        self.machine.python("-I", "-m", "guestagent_commands_net.transaction.worker", STATE, "--recover", check=True)

    def state(self, card: int = 0) -> tuple[set[str], set[str]]:
        """Returns the addresses and routes that ``ip -j`` shows."""
        return self.machine.addresses(f"eth{card}"), self.machine.routes(f"eth{card}")

    def files(self) -> dict[str, str]:
        """Returns the tool's files by path."""
        listed = self.machine.run("find", self.tool.watched, "-type", "f").stdout.split()
        return {path: self.machine.read(path) for path in listed}
