"""Agents that are killed, daemons that stop or are killed: in the end every request has its answer.

The order of events is that of a seed, ``GUESTAGENT_XEN_SEED``; ``GUESTAGENT_XEN_REQUESTS`` is how many are asked.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
from tests.xen.harness import Agent
from tests.xen.real.questions import Questions

pytestmark = pytest.mark.real

_REQUESTS = int(os.environ.get("GUESTAGENT_XEN_REQUESTS", "2000"))
_SEED = int(os.environ.get("GUESTAGENT_XEN_SEED", "1"))
_KILLS_OF_AGENT, _STOPS_OF_DAEMON, _KILLS_OF_DAEMON = 20, 5, 20
_MOST_OPEN = 100  # oxenstored can list as many


def test_every_request_is_answered_while_agents_are_killed_and_the_daemon_stops(place: Any, folder: Path) -> None:
    chance = random.Random(_SEED)
    rounds = _REQUESTS // 40
    turns = [*["kill"] * _KILLS_OF_AGENT, *["stop"] * _STOPS_OF_DAEMON]
    turns += [""] * (rounds - len(turns))
    chance.shuffle(turns)
    questions = Questions(place.daemon.host, place.home)
    with questions.watch() as watch, Agent(folder, place.way, timeout=0.4) as agent:
        for number, turn in enumerate(turns):
            questions.ask(f"request-{number:05}-{each:022}" for each in range(40))
            if turn:
                time.sleep(chance.uniform(0, 0.05))  # the agent is somewhere in the middle
            if turn == "kill":
                agent.kill()
                agent.start()
            elif turn == "stop":
                place.daemon.stop()
                time.sleep(chance.choice((0.1, 1.0)))  # shorter than the time-out, and longer
                place.daemon.resume()
            questions.collect(watch, most_open=_MOST_OPEN - 40)
        questions.ask(["last"])  # an agent that has just been started would not know yet what SIGTERM means
        questions.collect(watch)
    questions.assert_nothing_is_left()


def test_every_request_that_is_there_in_the_end_is_answered_while_the_daemon_is_killed(
    place: Any, folder: Path
) -> None:
    chance = random.Random(_SEED)
    questions = Questions(place.daemon.host, place.home)
    with Agent(folder, place.way, timeout=0.4):
        for number in range(_KILLS_OF_DAEMON):
            with questions.watch() as watch:
                questions.ask_again()  # what was there when the daemon was killed
                questions.ask(f"request-{number:05}-{each:022}" for each in range(20))
                questions.collect(watch, most_open=chance.randrange(20))
            time.sleep(chance.uniform(0, 0.02))
            place.daemon.restart()
        with questions.watch() as watch:
            questions.ask_again()
            questions.collect(watch)
            questions.await_taken()  # some may have been asked twice
