"""The table of distributions in the reference says of each backend what the backend says itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.net.models import CARDS
from tests.net.scenarios import TOOLS
from tests.net.test_more_tools import IFUPDOWN_NG, NETCTL, NETWORKD
from tests.net.test_refusals import backends

from guestagent_commands_net.backends import FileState, NetworkBackend, Plan, Snapshot
from guestagent_commands_net.model import Change, Interface
from guestagent_commands_net.testing import apply_changes, examples
from guestagent_core.errors import InvalidArgumentError

PAGE = Path(__file__).parents[2] / "docs/reference/network.rst"
WORDS = {"NAME": r"[\w.:-]+", "FILE": r"\S+", "FOLDER": r"\S+", "UUID": r"[0-9a-f-]{36}"}
"""What stands for something in the table."""
HOUSEKEEPING = ("ip addr flush dev NAME scope global", "ip link set dev NAME down")
"""What is told of below the table."""
UUID = "11111111-2222-3333-4444-555555555555"
FACTS: dict[str, tuple[dict[str, str], ...]] = {
    "ifcfg": ({"manager": "network"}, {"manager": "NetworkManager"}),
    "netifrc": ({"style": "openrc", "services": "eth0"}, {"style": "legacy"}),
    "networkd": ({}, {"networkd": "active"}),
    "netplan": ({"networkd": "active"},),
}


class Row(NamedTuple):
    distribution: str
    backend: str
    files: str
    verb: str
    checked: str
    tested: str


def rows() -> list[Row]:
    text = PAGE.read_text()
    table = text[text.index("\nDistributions\n") :].partition(".. list-table::")[2]
    parts = re.split(r"^   \* - ", table.partition("\n\nBefore the verb")[0], flags=re.MULTILINE)[2:]
    cells = (re.split(r"^     -(?: |$)", part, flags=re.MULTILINE) for part in parts)
    return [Row(*(" ".join(cell.split()) for cell in row)) for row in cells]


def literals(cell: str) -> list[str]:
    return re.findall(r"``(.+?)``", cell)


def matches(documented: str, said: str) -> bool:
    pattern = re.sub("|".join(WORDS), lambda word: WORDS[word[0]], re.escape(documented))
    return re.fullmatch(pattern, said) is not None


class Said(NamedTuple):
    """What a backend says for changes of all kinds."""

    files: set[str]
    verbs: set[str]
    checks: set[str]


def said_by(name: str, backend: NetworkBackend) -> Said:
    said = Said(set(), set(), set())
    for snapshot, change in situations(name, backend):
        changes = backend.render(change, snapshot)
        plan: Plan = backend.plan(change, snapshot, changes)
        staged = apply_changes(snapshot.files, changes)
        said.files.update(each.path for each in changes)
        said.verbs.update(" ".join(step.argv) for step in (*plan.apply.before, *plan.apply.after))
        said.checks.update(" ".join(step.argv) for step in backend.validate(change, staged, "/folder"))
    return said


def situations(name: str, backend: NetworkBackend) -> Iterator[tuple[Snapshot, Change]]:
    """Gives each example in an empty machine, and in one that has it otherwise and loses another interface."""
    first = Change((Interface("eth0", CARDS[0].mac, dhcp4=True), Interface("eth1", CARDS[1].mac, dhcp4=True)))
    for facts in FACTS.get(name, ({},)):
        empty = Snapshot({}, facts, CARDS)
        files: Mapping[str, FileState] = apply_changes({}, backend.render(first, empty))
        for example in examples():
            members = tuple(Interface(member) for member in getattr(example.interface.link, "members", ()))
            interfaces = (*members, example.interface)
            try:
                backend.render(Change(interfaces, whole=False), empty)
            except InvalidArgumentError:
                continue  # the form cannot express it
            yield empty, Change(interfaces, whole=False)
            yield Snapshot(files, facts, CARDS), Change(interfaces, whole=False, removed=("eth1",))
        if name == "networkmanager":
            profile = f"[connection]\nid=a\nuuid={UUID}\ntype=ethernet\ninterface-name=eth0\n[ipv4]\nmethod=auto\n"
            active = {
                "/etc/NetworkManager/system-connections/guestagent-eth0.nmconnection": FileState(profile.encode())
            }
            yield (
                Snapshot(active, {"uuid eth0": UUID}, CARDS),
                Change((next(each.interface for each in examples() if "address" in each.features),), whole=False),
            )
        if name == "netplan":
            text = "network:\n  version: 2\n  renderer: NetworkManager\n"
            managed = {"/etc/netplan/01-manager.yaml": FileState(text.encode())}
            yield (
                Snapshot(managed, facts, CARDS),
                Change((next(each.interface for each in examples() if "address" in each.features),), whole=False),
            )


def test_every_backend_has_its_row_and_no_other() -> None:
    named = [name for row in rows() for name in literals(row.backend)]
    ours = {name for name, backend in backends().items() if type(backend).__module__.startswith("guestagent_")}
    assert sorted(named) == sorted(ours)


ROWS = [row for row in rows() if literals(row.backend)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.backend.strip("`"))
def test_the_row_says_what_the_backend_says(row: Row) -> None:
    (name,) = literals(row.backend)
    said = said_by(name, backends()[name])
    same(literals(row.files), said.files)
    verbs = {verb for verb in said.verbs if not any(matches(each, verb) for each in HOUSEKEEPING)}
    same(literals(row.verb), verbs)
    same(literals(row.checked), said.checks)
    assert literals(row.checked) or row.checked.startswith("nothing: ")


def same(documented: Iterable[str], said: Iterable[str]) -> None:
    documented, said = list(documented), sorted(said)
    unknown = [each for each in said if not any(matches(pattern, each) for pattern in documented)]
    assert not unknown, f"not in the table: {', '.join(unknown)}"
    invented = [pattern for pattern in documented if not any(matches(pattern, each) for each in said)]
    assert not invented, f"in the table, and nobody says so: {', '.join(invented)}"


def test_what_is_applied_in_tests_is_called_so() -> None:
    applied = {literals(row.backend)[0] for row in ROWS if row.tested.startswith("applied")}
    assert applied == {tool.name for tool in (*TOOLS, NETWORKD, IFUPDOWN_NG, NETCTL)}
