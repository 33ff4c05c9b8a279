"""A kill at each step of a request's way, and what the host gets after the next start."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.kills.harness import STEPS, Account, CountingAgent, LocalHost
from tests.xen.harness import DAEMONS

PATIENCE = 60.0  # seconds


class Result(NamedTuple):
    """What is to be seen from outside in the end."""

    effects: int
    answer: str


DONE, INTERRUPTED = "done", "interrupted"
EXPECTED = {
    "before started": Result(1, DONE),
    "after started": Result(0, INTERRUPTED),
    "before effect": Result(0, INTERRUPTED),
    "after effect": Result(1, INTERRUPTED),
    "before finished": Result(1, INTERRUPTED),
    "after finished": Result(1, DONE),
    "before put": Result(1, DONE),
    "before settling": Result(1, DONE),
    "before removal": Result(1, DONE),
    "after removal": Result(1, DONE),
}


def answer(place: Any, token: str = "t") -> tuple[str, str]:
    """Waits for the answer and takes it."""
    deadline = time.monotonic() + PATIENCE
    while token not in place.account.answers:
        place.host.collect()
        assert time.monotonic() < deadline, place.agent.log
        time.sleep(0.005)
    ((code, message),) = place.account.answers[token]
    return code, message


def seen(place: Any) -> Result:
    """Has the agent start again, take up what was left, and end."""
    place.agent.start()
    answer(place)
    place.host.ask_as("another", "count", "last")
    answer(place, "last")
    place.agent.end()
    place.host.collect()
    (verdict,) = Account.verdicts(only(place.account, "t"))
    return Result(place.agent.marks("effect")["t"], verdict)


def only(account: Account, token: str) -> Account:
    part = Account()
    part.asked, part.answers = {token: account.asked[token]}, {token: account.answers[token]}
    return part


def test_every_step_is_tried() -> None:
    assert set(EXPECTED) == set(STEPS)


@pytest.mark.real
@pytest.mark.parametrize("step", STEPS)
def test_over_xenstore(place: Any, step: str) -> None:
    place.host.ask_as("one", "count", "t")
    place.agent.start(die_at=step)
    place.agent.await_death()
    assert seen(place) == EXPECTED[step]


ONE = pytest.mark.parametrize("place", DAEMONS[:1], indirect=True)  # the daemon makes no difference


@ONE
@pytest.mark.real
def test_what_failed_before_the_kill_fails_with_the_same_text(place: Any) -> None:
    place.host.ask_as("one", "fail", "t")
    place.agent.start(die_at="after finished")
    place.agent.await_death()
    place.agent.start()
    assert answer(place) == ("500", "[Errno 28] no room for t")
    assert place.agent.marks("effect")["t"] == 1


@ONE
@pytest.mark.real
def test_a_command_that_can_is_resumed(place: Any) -> None:
    place.host.ask_as("one", "count-on", "t")
    place.agent.start(die_at="after effect")
    place.agent.await_death()
    assert seen(place) == Result(1, DONE)
    assert place.agent.marks("resumed")["t"] == 1


@ONE
@pytest.mark.real
def test_an_id_that_is_used_again_is_a_new_request(place: Any) -> None:
    place.agent.start()
    for count in range(1, 4):
        place.host.ask_as("one", "count", "t")
        answer(place)
        del place.account.answers["t"]
        assert place.agent.marks("effect")["t"] == count


@ONE
@pytest.mark.real
@pytest.mark.parametrize(
    ("step", "programs"),
    [
        ("after finished", 1),
        ("before settling", 1),
        ("after answered", 1),
        ("before program", 0),  # noted as started: at most once
        ("after program", 1),
    ],
)
def test_a_program_after_the_answer_is_started_at_most_once(place: Any, step: str, programs: int) -> None:
    place.host.ask_as("one", "count-after", "t")
    place.agent.start(die_at=step)
    place.agent.await_death()
    place.agent.start()
    assert answer(place) == ("0", "t")
    deadline = time.monotonic() + (PATIENCE if programs else 1.0)
    while place.agent.marks("program")["t"] < max(programs, 1) and time.monotonic() < deadline:
        time.sleep(0.01)
    for _ in range(2):
        place.agent.kill()
        place.agent.start()
        place.host.ask_as(f"again{_}", "count", f"again{_}")
        answer(place, f"again{_}")
    place.agent.end()
    assert place.agent.marks("program")["t"] == programs
    assert place.agent.marks("effect")["t"] == 1


# The local socket, where nobody can ask again

# Without an id the entry is removed when the command has finished, before the answer, which nobody waits for then.
LOCAL_STEPS = tuple(step for step in STEPS if "finished" not in step and step != "before settling")


@pytest.mark.parametrize("step", LOCAL_STEPS)
def test_over_the_local_socket(folder: Path, step: str) -> None:
    account, agent = Account(), CountingAgent(folder)
    host = LocalHost(agent.socket, account)
    try:
        agent.start(die_at=step)
        host.ask([("count", "t")])
        agent.await_death()
        host.collect()
        effects = 0 if step in ("before started", "after started", "before effect") else 1
        assert agent.marks("effect")["t"] == effects
        assert account.lost == {"t"}
        agent.start()
        host.ask([("count", "u")])
        deadline = time.monotonic() + PATIENCE
        while "u" not in account.answers:
            host.collect()
            assert time.monotonic() < deadline, agent.log
            time.sleep(0.005)
        agent.end()
        assert agent.marks("effect") == {"t": effects, "u": 1} if effects else {"u": 1}
        named = "local: count was interrupted" in agent.log
        assert named == (step in ("after started", "before effect", "after effect", "before removal"))
        assert not agent.journal.exists()
    finally:
        host.close()
        agent.kill()


@pytest.mark.parametrize(
    ("step", "programs"),
    [("after finished", 1), ("before settling", 1), ("after answered", 1), ("before program", 0), ("after program", 1)],
)
def test_a_program_after_a_local_answer_is_started_at_most_once(folder: Path, step: str, programs: int) -> None:
    account, agent = Account(), CountingAgent(folder)
    host = LocalHost(agent.socket, account)
    try:
        agent.start(die_at=step)
        host.ask([("count-after", "t")])
        agent.await_death()
        for number in range(3):
            agent.start()
            host.ask([("count", f"u{number}")])
            deadline = time.monotonic() + PATIENCE
            while f"u{number}" not in account.answers or agent.marks("program")["t"] < programs:
                host.collect()
                assert time.monotonic() < deadline, agent.log
                time.sleep(0.005)
            agent.end()
        assert agent.marks("program")["t"] == programs
        assert agent.marks("effect")["t"] == 1
    finally:
        host.close()
        agent.kill()
