"""Whoever is killed (-9) at whichever step, the old or the new configuration is there in the end, never between."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.net.scenarios import IFUPDOWN, NETPLAN, NETWORK_MANAGER, STATE, Guest, Tool, shown, wanted

from guestagent_commands_net.transaction.steps import STEPS

WORKER: tuple[str, ...] = ()
AND_AGENT = ("agent",)
EVERYBODY = ("agent", "watcher")
CHANGING = STEPS[STEPS.index("before") :]

# Before the first change all tools are the same: it is tried with one of them.
CASES = [(IFUPDOWN, step, whom) for step in STEPS for whom in (WORKER, AND_AGENT, EVERYBODY)] + [
    (tool, step, whom) for tool in (NETPLAN, NETWORK_MANAGER) for step in CHANGING for whom in (AND_AGENT, EVERYBODY)
]


@pytest.fixture(scope="module")
def guests() -> Iterator[dict[str, Guest]]:
    """The machines by tool; each is started once, and put into order after each test."""
    made: dict[str, Guest] = {}
    yield made
    for guest in made.values():
        guest.machine.close()


@pytest.mark.real
@pytest.mark.parametrize(
    ("tool", "step", "whom"), CASES, ids=["-".join((tool.name, step, "worker", *whom)) for tool, step, whom in CASES]
)
def test_the_old_or_the_new_is_there(guests: dict[str, Guest], tool: Tool, step: str, whom: tuple[str, ...]) -> None:
    if tool.name not in guests:
        guests[tool.name] = Guest(tool)
    guest = guests[tool.name]
    guest.apply(wanted(10))
    assert guest.state() == shown(10)
    old = guest.files()
    guest.kill_at(step, *whom, records=[wanted(20)])
    if whom == EVERYBODY or (whom == AND_AGENT and step not in CHANGING):
        assert guest.machine.run("test", "-e", f"{STATE}/net/record.json").returncode == 0, "nobody was killed"
        guest.recover()  # what the next agent does when it starts
    committed = step == "committed"
    assert guest.state() == shown(20 if committed else 10), guest.last()
    assert (guest.files() == old) is not committed
    assert guest.machine.run("test", "-e", f"{STATE}/net/record.json").returncode == 1


@pytest.mark.real
def test_in_the_midst_of_a_step_too(guests: dict[str, Guest]) -> None:
    if IFUPDOWN.name not in guests:
        guests[IFUPDOWN.name] = Guest(IFUPDOWN)
    guest = guests[IFUPDOWN.name]
    files = {}
    for number in (20, 10):
        guest.apply(wanted(number))
        files[number] = guest.files()
    reached = set()
    for milliseconds in range(60, 320, 40):
        # Worker and dead-man switch have one command line; which of them are there depends on the moment. The brackets
        # keep the shell from finding itself.
        kill = f"sleep {milliseconds / 1000}; kill -9 $(pgrep -f [g]uestagent_commands_net.transaction.worker)"
        killing = guest.machine.start("sh", "-c", f"until [ -e {STATE}/net/record.json ]; do :; done; {kill}")
        guest.net("apply", wanted(20))  # an agent that lives on ends what nobody else did
        killing.communicate(timeout=30)
        guest.recover()
        (reached_now,) = (number for number in files if guest.files() == files[number])
        assert guest.state() == shown(reached_now), guest.last()
        reached.add(reached_now)
        guest.apply(wanted(10))
    assert 10 in reached, "no kill came in time"
