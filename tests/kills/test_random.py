"""Kills at random moments: each request is answered once, and has its effect at most once.

A short run is part of the tests. The long one, of 1,000 kills over 10,000 requests on each way, is
``GUESTAGENT_KILLS=1000 pytest -s tests/kills/test_random.py``. ``GUESTAGENT_SEED`` repeats a run that failed, as far as
a run of several processes can be repeated.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from tests.kills.harness import Account, CountingAgent, LocalHost, XenHost
from tests.xen.harness import DAEMONS, Daemon, Guest, ProgramsMissingError, find_programs

KILLS = int(os.environ.get("GUESTAGENT_KILLS", "6"))
REQUESTS_PER_KILL = 10
SEED = int(os.environ.get("GUESTAGENT_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
PATIENCE = 60.0  # seconds
MOST_OPEN = 40  # requests
START = 0.25  # seconds that a start takes at most, more or less
COMMANDS = ("count", "count", "count", "count-on", "count-after", "fail")


def lead(agent: CountingAgent, host: LocalHost | XenHost, account: Account, chance: random.Random) -> None:
    """Lets the agent live and die until everything is asked, and then live until everything is answered."""
    requests = [(chance.choice(COMMANDS), f"t{index}") for index in range(KILLS * REQUESTS_PER_KILL)]

    def ask(most: int) -> None:
        wave = max(0, min(most, MOST_OPEN - len(account.open)))
        host.ask(requests[:wave])
        del requests[:wave]

    for life in range(KILLS):
        agent.start()
        try:
            if chance.random() < 0.25:  # while it starts, and takes up what the last one left
                time.sleep(chance.uniform(0, START))
                continue
            ask(len(requests) // (KILLS + 1 - life))
            deadline = time.monotonic() + PATIENCE
            # All may be lost: a child of the dead agent that has not got to its exec keeps the old socket for a moment.
            while not host.collect() and account.open:
                assert time.monotonic() < deadline, agent.log
                time.sleep(0.001)
            moment = time.monotonic() + chance.expovariate(1 / 0.012)
            while time.monotonic() < moment:
                host.collect()
        finally:
            agent.kill()
    agent.start()
    deadline = time.monotonic() + PATIENCE
    while requests or account.open:
        assert time.monotonic() < deadline, (account.open, agent.log)
        ask(MOST_OPEN)
        host.collect()
        time.sleep(0.001)
    followed = [token for token, name in account.asked.items() if name == "count-after" and token in account.answers]
    deadline = time.monotonic() + 1.0  # programs whose request does not come again are started after half a second
    while not set(followed) <= set(agent.marks("program")) and time.monotonic() < deadline:
        time.sleep(0.01)
    agent.end()
    host.collect()


def check(agent: CountingAgent, account: Account, seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = account.verdicts()
    effects, resumed, programs = (agent.marks(what) for what in ("effect", "resumed", "program"))
    figures = f"{seed}: {KILLS} kills, {len(account.asked)} requests: {dict(verdicts)}"
    missing = 0
    assert set(effects) <= set(account.asked)
    assert set(account.answers) <= set(account.asked), "an answer that nobody waited for"
    for token, name in account.asked.items():
        assert effects[token] <= 1, f"{token} ({name}) had its effect {effects[token]} times"
        assert programs[token] <= 1, f"{token} ({name}) started its program {programs[token]} times"
        (code, message) = account.answers.get(token, [("", "")])[0]
        if code == "0" and name == "count-on":
            assert effects[token] + resumed[token] >= 1, token
        elif code == "0" or (code == "500" and "was interrupted" not in message):
            assert effects[token] == 1, f"{token} was answered, and had no effect"
        if code == "0" and name == "count-after":
            missing += 1 - programs[token]
    with capsys.disabled():
        print(f"\n{figures}; {sum(effects.values())} effects, {sum(resumed.values())} resumed, ", end="")
        print(f"{sum(programs.values())} programs, {missing} lost between their note and their start")
    assert verdicts["open"] == 0
    assert missing <= KILLS, "a kill lost more than the program that was being started"
    assert not agent.journal.exists() or verdicts["lost"] == 0, "the journal keeps what nobody can ask for"


def test_over_the_local_socket(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    account, agent = Account(), CountingAgent(folder)
    with Announced(agent):
        host = LocalHost(agent.socket, account)
        try:
            lead(agent, host, account, random.Random(SEED))
        finally:
            host.close()
        check(agent, account, f"local, GUESTAGENT_SEED={SEED}", capsys)


@pytest.mark.real
@pytest.mark.parametrize("where", ["domain 0", "guest"])
@pytest.mark.parametrize("name", DAEMONS)
def test_over_xenstore(name: str, where: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        programs = find_programs()
    except ProgramsMissingError as error:
        pytest.skip(str(error))
    (folder / "store").mkdir()
    with Daemon(name, folder / "store", programs) as daemon, Guest(daemon, 7) as guest:
        way, home = (guest.device, guest.home) if where == "guest" else (daemon.socket, "/local/domain/0")
        account, agent = Account(), CountingAgent(folder, way)
        with Announced(agent):
            lead(agent, XenHost(daemon.socket, home, account, ids=50), account, random.Random(SEED))
            check(agent, account, f"{name}, {where}, GUESTAGENT_SEED={SEED}", capsys)
            assert account.verdicts()["lost"] == 0


class Announced:
    """Says on a failure how to repeat it, and leaves no agent behind."""

    def __init__(self, agent: CountingAgent) -> None:
        self._agent = agent

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        self._agent.kill()
        if error is not None:
            error.args = (f"GUESTAGENT_SEED={SEED} GUESTAGENT_KILLS={KILLS}: {error}",)
