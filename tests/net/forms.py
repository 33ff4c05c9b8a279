"""The forms that are files of shell variables, what each can express, and the shells that read them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.net.models import CARDS

from guestagent_commands_net.backends import FileState, NetworkBackend, Snapshot
from guestagent_commands_net.model import Bond, Change, Dns, Interface, Route, Vlan
from guestagent_commands_net.settling import settle
from guestagent_commands_net.testing import apply_changes
from guestagent_commands_net.tools.freebsd import Freebsd
from guestagent_commands_net.tools.ifcfg import Ifcfg
from guestagent_commands_net.tools.netifrc import Netifrc
from guestagent_commands_net.tools.shell_variables import ShellVariables
from guestagent_commands_net.tools.wicked import Wicked

REDHAT, SUSE = "/etc/sysconfig/network-scripts", "/etc/sysconfig/network"
GENTOO, FREEBSD = "/etc/conf.d/net", "/etc/rc.conf"


_ROUTES = re.compile(r"(?:default|[\d./]+) (?:via|dev) ")  # as ip takes them: no shell reads these


def _same(change: Change) -> Change:
    return change


@dataclass(frozen=True)
class Form:
    """A backend with what it found out of the machine, and what it is tried with."""

    name: str
    backend: NetworkBackend
    shell: str
    """What reads the files on a machine of this kind, or the one of its family that is to be had."""
    variables: tuple[str, ...]
    """What the paths of those files begin with that the shell reads; the others are lists of routes and the like."""
    facts: Mapping[str, str] = field(default_factory=dict)
    fit: Callable[[Change], Change] = _same
    """Returns the change without what the form cannot express; that it cannot, test_refusals shows."""

    def __str__(self) -> str:
        return self.name

    def snapshot(self, files: Mapping[str, FileState]) -> Snapshot:
        return Snapshot(files, self.facts, CARDS)

    def fitting(self, change: Change) -> Change:
        """Returns ``change`` as the form can express it, with routes that the kernel can hold."""
        change = self.fit(change)
        routes = {each.name: each.routes for each in change.interfaces}
        return replace(change, interfaces=settle(change.interfaces, routes))

    def render(self, change: Change, files: Mapping[str, FileState]) -> dict[str, FileState]:
        """Returns ``files`` once ``change`` is made."""
        return apply_changes(files, self.backend.render(change, self.snapshot(files)))

    def sourced(self, files: Mapping[str, FileState]) -> list[str]:
        """Returns the texts of the files that the shell reads."""
        texts = [state.content.decode() for path, state in files.items() if path.startswith(self.variables)]
        return [text for text in texts if not _ROUTES.match(text)]

    def read(self, files: Mapping[str, FileState]) -> dict[str, Interface]:
        return {each.name: each for each in self.backend.read(files, CARDS)}


def _of_manager(change: Change) -> Change:
    """Without what belongs to an IP version that is not used: NetworkManager reads nothing of it."""

    def fit(interface: Interface) -> Interface:
        versions = [4] * bool(interface.addresses_of(4) or interface.dhcp4)
        six = interface.addresses_of(6) or interface.routes_of(6) or interface.dhcp6 or interface.accept_ra is not None
        versions += [6] * bool(six)
        return replace(
            interface,
            routes=tuple(route for route in interface.routes if route.version in versions),
            dns=Dns(
                tuple(server for server in interface.dns.servers if server.version in versions),
                interface.dns.search if versions else (),
            ),
        )

    return replace(change, interfaces=tuple(map(fit, change.interfaces)))


def _of_netifrc(change: Change) -> Change:
    """Without orders about router advertisements."""
    return replace(change, interfaces=tuple(replace(each, accept_ra=None) for each in change.interfaces))


def _of_freebsd(change: Change) -> Change:
    """With bonds of FreeBSD's names, no DHCPv6, and one way to each place; a default gateway is on the link of its
    interface if not the networks of the addresses say that it is.
    """
    taken = set()
    found = []
    for interface in change.interfaces:
        routes = []
        for route in interface.routes:
            if route.destination not in taken:
                taken.add(route.destination)
                routes.append(
                    replace(route, metric=None, on_link=route.on_link or not _is_clear(route, interface, change))
                )
        link = interface.link
        if isinstance(link, Bond):
            known = ("xmit_hash_policy", "lacp_rate", "primary" if link.mode == "active-backup" else "")
            link = replace(link, options=tuple(option for option in link.options if option[0] in known))
        elif isinstance(link, Vlan):
            link = replace(link, parent=link.parent.replace("bond", "lagg"))
        name = interface.name.replace("bond", "lagg")
        found.append(replace(interface, name=name, link=link, routes=tuple(routes), dhcp6=False))
    return replace(change, interfaces=tuple(found))


def _is_clear(route: Route, interface: Interface, change: Change) -> bool:
    """Whether a default gateway is in the networks of ``interface`` alone, for rc.conf does not say whose it is."""
    if not route.is_default or route.gateway is None or route.gateway.is_link_local:
        return True
    near = [each.name for each in change.interfaces if any(route.gateway in at.network for at in each.addresses)]
    return near == [interface.name]


_REDHAT_FILES = (f"{REDHAT}/ifcfg-", f"{REDHAT}/route-")
SCRIPTS = Form("ifcfg-scripts", Ifcfg(), "bash", _REDHAT_FILES, {"manager": "network"})
MANAGER = Form("ifcfg-manager", Ifcfg(), "bash", _REDHAT_FILES, {"manager": "NetworkManager"}, _of_manager)
WICKED = Form("wicked", Wicked(), "bash", (f"{SUSE}/ifcfg-", f"{SUSE}/config"))
OPENRC = Form("netifrc-openrc", Netifrc(), "sh", (GENTOO,), {"style": "openrc"}, _of_netifrc)
ARRAYS = Form("netifrc-arrays", Netifrc(), "bash", (GENTOO,), {"style": "legacy"}, _of_netifrc)
RC_CONF = Form("freebsd", Freebsd(), "sh", (FREEBSD,), {}, _of_freebsd)
FORMS = (SCRIPTS, MANAGER, WICKED, OPENRC, ARRAYS, RC_CONF)


def said_by(shell: str, texts: Sequence[str], folder: Path) -> list[list[list[str]]]:
    """Returns what ``shell`` has of each text's variables once it has read it, with one process for all of them: of
    each text, in the order of our reader, the members of each variable.
    """
    script = []
    for number, text in enumerate(texts):
        (folder / str(number)).write_text(text)
        shown = []
        for name in ShellVariables(text).values():
            value = f'"${{{name}[@]}}"' if shell == "bash" else f'"${name}"'
            shown.append(f"printf '%s\\0' {value}; printf '\\1'")
        script.append(f"(. ./{number} && {{ {'; '.join(shown) or ':'}; }}) || exit 9; printf '\\2'")
    (folder / "script").write_text("set -u\n" + "\n".join(script) + "\n")
    done = subprocess.run([shell, "script"], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return [[variable.split("\0")[:-1] for variable in one.split("\1")[:-1]] for one in done.stdout.split("\2")[:-1]]


def read_by_us(text: str) -> list[list[str]]:
    """Returns what our reader has of the variables of a text, as :func:`said_by` shows it."""
    file = ShellVariables(text)
    return [list(file.items(name)) if f"{name}=(" in text else [value] for name, value in file.values().items()]
