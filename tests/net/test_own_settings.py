"""What somebody wrote into a file of the network stays, in every form: comments, settings of other programs or of tools
that are not known here, and other interfaces.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.net.forms import ARRAYS, GENTOO, MANAGER, OPENRC, RC_CONF, REDHAT, SCRIPTS, SUSE, WICKED, Form
from tests.net.models import CARDS, QUICK, interfaces
from tests.net.test_networkmanager import expressible

from guestagent_commands_net.backends import FileState, NetworkBackend, Snapshot
from guestagent_commands_net.model import Change, Interface
from guestagent_commands_net.testing import apply_changes
from guestagent_commands_net.tools.ifupdown import Ifupdown
from guestagent_commands_net.tools.ifupdown_others import BusyboxIfup, IfupdownNg
from guestagent_commands_net.tools.netctl import Netctl
from guestagent_commands_net.tools.netplan import Netplan
from guestagent_commands_net.tools.networkd import Networkd
from guestagent_commands_net.tools.networkmanager import NetworkManager

Lines = st.SearchStrategy[str]

words = st.text(string.ascii_letters + string.digits + "-_./", min_size=1, max_size=12)
comments = st.lists(words, max_size=3).map(lambda found: " ".join(("# mine:", *found)))


def variables(*names: str) -> Lines:
    """Assignments of ``names`` and of names that nobody knows, quoted in any way, some with a comment."""
    values = st.one_of(
        words, words.map("'{} and more'".format), words.map('"{}"'.format), words.map('"two {}" # why'.format)
    )
    unknown = words.map(lambda word: "MINE_" + "".join(c for c in word if c.isalnum()))
    return st.builds("{}={}".format, st.sampled_from(names) | unknown, values)


def keys(*names: str) -> Lines:
    return st.builds("{}={}".format, st.sampled_from(names), words)


def _same(interface: Interface) -> Interface:
    return interface


def _without_dhcp6(interface: Interface) -> Interface:
    return replace(interface, dhcp6=False)


@dataclass(frozen=True)
class Case:
    """A file with places for somebody's own lines, each ``{}`` for some of the kind that stands there."""

    name: str
    backend: NetworkBackend
    path: str
    text: str
    lines: tuple[Lines, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    fit: Callable[[Interface], Interface] = _same
    beside: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def of_form(form: Form, path: str, text: str, own: Lines, beside: Mapping[str, str]) -> Case:
    def fit(interface: Interface) -> Interface:
        return form.fitting(Change((interface,))).interfaces[0]

    lines = (comments | own,) * text.count("{}")
    return Case(form.name, form.backend, path, text, lines, form.facts, fit, beside)


REDHAT_OWN = variables("ZONE", "PEERDNS", "UUID", "NAME", "ETHTOOL_OPTS", "IPV6_PRIVACY")
SUSE_OWN = variables("ZONE", "FIREWALL", "ETHTOOL_OPTIONS", "PRE_UP_SCRIPT", "NAME")
GENTOO_OWN = variables("modules", "dhcpcd_eth0", "metric_eth0", "dad_timeout_eth0", "rc_net_eth0_need", "primary")
FREEBSD_OWN = variables("hostname", "sshd_enable", "keymap", "ifconfig_eth0_descr", "ntpd_flags", "gateway_enable")
OPTIONS = st.one_of(
    words.map("    hwaddress {}".format), words.map("    wpa-ssid {}".format), comments.map("    {}".format),
    words.map("    up echo {} >> /tmp/mine".format),
)  # fmt: skip
STANZAS = "{}auto lo eth0\niface lo inet loopback\n\niface eth0 inet static\n    address 198.51.100.7/24\n{}\
\n{}auto eth1\niface eth1 inet dhcp\n{}"

CASES = (
    *(
        of_form(form, f"{REDHAT}/ifcfg-eth0", "{}DEVICE=eth0\n{}BOOTPROTO=dhcp\nONBOOT=yes\n{}", REDHAT_OWN,
                {f"{REDHAT}/ifcfg-eth1": "DEVICE=eth1\nIPADDR=192.0.2.9\nPREFIX=24\n",
                 f"{REDHAT}/ifcfg-eth1:1": "DEVICE=eth1:1\nIPADDR=192.0.2.8\nPREFIX=24\n",
                 f"{REDHAT}/route-eth1": "10.7.0.0/16 via 192.0.2.1\n", f"{REDHAT}/rule-eth1": "to 10.9.9.9 table 7\n"})
        for form in (SCRIPTS, MANAGER)
    ),
    of_form(WICKED, f"{SUSE}/ifcfg-eth0", "{}BOOTPROTO='dhcp'\n{}STARTMODE='auto'\n{}", SUSE_OWN,
            {f"{SUSE}/ifcfg-eth1": "IPADDR='192.0.2.9/24'\n", f"{SUSE}/ifroute-eth1": "10.7.0.0/16 192.0.2.1 - eth1\n",
             f"{SUSE}/routes": "172.16.0.0/12 192.0.2.2 - -\n"}),
    of_form(OPENRC, GENTOO, '{}config_eth0="dhcp"\n{}config_eth1="192.0.2.9/24"\n{}preup() {\n  :\n}\n{}', GENTOO_OWN,
            {}),
    of_form(ARRAYS, GENTOO, '{}config_eth0=( "dhcp" )\n{}config_eth1=( "192.0.2.9/24" )\n{}', GENTOO_OWN, {}),
    of_form(RC_CONF, "/etc/rc.conf", '{}ifconfig_eth0="DHCP"\n{}ifconfig_eth1="inet 172.31.0.9/24"\n{}', FREEBSD_OWN,
            {}),
    *(
        Case(backend.name, backend, "/etc/network/interfaces", STANZAS, (comments, OPTIONS, comments, comments), {},
             fit)
        for backend, fit in ((Ifupdown(), _same), (IfupdownNg(), _without_dhcp6), (BusyboxIfup(), _without_dhcp6))
    ),
    Case("netctl", Netctl(), "/etc/netctl/eth0", "{}Interface=eth0\n{}Connection=ethernet\nIP=dhcp\n{}",
         (comments | variables("Description", "ExecUpPost", "SkipDAD", "Priority"),) * 3, {"enabled eth0": "yes"},
         _same, {"/etc/netctl/eth1": "Interface=eth1\nConnection=ethernet\nIP=dhcp\n"}),
    Case("networkd", Networkd(), "/etc/systemd/network/20-mine.network",
         "{}[Match]\nName=eth0\n\n[Link]\n{}\n[Network]\n{}DHCP=yes\n",
         (comments, comments | keys("RequiredForOnline", "Multicast"), comments | keys("LLDP", "Description", "MDNS")),
         {}, _same, {"/etc/systemd/network/30-eth1.network": "[Match]\nName=eth1\n[Network]\nDHCP=yes\n"}),
    Case("networkmanager", NetworkManager(), "/etc/NetworkManager/system-connections/mine",
         "{}[connection]\nid=mine\nuuid=u\ntype=ethernet\ninterface-name=eth0\n{}\n[ethernet]\n{}\n[ipv4]\n{}method=auto\n",
         (comments, comments | keys("zone", "autoconnect-priority"), comments | keys("wake-on-lan"),
          comments | keys("may-fail", "dns-priority")),
         {}, expressible,
         {"/etc/NetworkManager/system-connections/e":
          "[connection]\nid=e\nuuid=e\ntype=ethernet\ninterface-name=eth1\n"}),
    Case("netplan", Netplan(), "/etc/netplan/50-cloud-init.yaml",
         "{}network:\n  version: 2\n{}  ethernets:\n    eth0:\n      dhcp4: true\n{}    eth1:\n      dhcp4: true\n{}",
         (comments, comments.map("  {}".format), comments.map("    {}".format), comments.map("      {}".format))),
)  # fmt: skip


@st.composite
def changed(draw: st.DrawFn, case: Case) -> tuple[dict[str, FileState], list[list[str]], Interface]:
    """The files, somebody's own lines by their places, and what eth0 is to be."""
    own: list[list[str]] = []
    text = ""
    seen: set[str] = set()
    pieces = case.text.split("{}")
    for piece, lines in zip(pieces, (*case.lines, None), strict=True):
        text += piece
        found = draw(st.lists(lines, max_size=3, unique=True)) if lines is not None else []
        # Each variable once: of two assignments one is what counts.
        found = [line for line in found if line.lstrip().startswith("#") or line.partition("=")[0] not in seen]
        seen |= {line.partition("=")[0] for line in found}
        text += "".join(f"{line}\n" for line in found)
        own.append(found)
    files = {case.path: text, **case.beside}
    states = {path: FileState(text.encode(), 0o600) for path, text in files.items()}
    return states, own, case.fit(draw(interfaces("eth0")))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_own_settings_and_other_interfaces_stay(case: Case) -> None:
    @QUICK
    @given(drawn=changed(case))
    def check(drawn: tuple[dict[str, FileState], list[list[str]], Interface]) -> None:
        before, own, wanted = drawn
        change = Change((wanted,), whole=False)

        def snapshot(files: Mapping[str, FileState]) -> Snapshot:
            return Snapshot(files, case.facts, CARDS)

        changes = case.backend.render(change, snapshot(before))
        after = apply_changes(before, changes)
        text = "\n".join(state.content.decode() for state in after.values())
        for lines in own:
            place = 0
            for line in lines:
                place = text.find(line.strip(), place) + 1
                assert place > 0, f"{line!r} is lost, or not in its order any more, in\n{text}"
        assert not {each.path for each in changes} & case.beside.keys()
        others = {each.name: each for each in case.backend.read(before, CARDS) if each.name != "eth0"}
        found = {each.name: each for each in case.backend.read(after, CARDS)}
        assert others
        assert {name: found.get(name) for name in others} == others
        assert case.backend.render(change, snapshot(after)) == (), "doing it again changes something"

    check()


def test_every_backend_is_tried() -> None:
    from tests.net.test_refusals import backends

    assert {type(case.backend) for case in CASES} >= {
        type(backend) for backend in backends().values() if type(backend).__module__.startswith("guestagent_")
    }
