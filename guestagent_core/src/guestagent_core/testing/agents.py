"""A whole agent to test plugins in."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from guestagent_core.agent import Agent
from guestagent_core.client import LocalClient
from guestagent_core.config import ChannelConfig, Config
from guestagent_core.errors import ExchangeError
from guestagent_core.json_wire import decode_answer, encode_request
from guestagent_core.programs import Programs

__all__ = ("Answer", "RunningAgent", "run_agent")


class Answer(NamedTuple):
    """What a host gets from the parser ``json``."""

    code: str
    message: str


class RunningAgent:
    """An agent with the installed plugins, whose channels are open."""

    def __init__(self, agent: Agent, programs: Programs) -> None:
        #: The agent itself.
        self.agent = agent
        #: What its commands run programs by.
        self.programs = programs
        #: The folder that is the guest's ``/``.
        self.root = agent.places["root"]

    def call(self, name: str, value: Any = "") -> Answer:
        """Runs a command over the local channel, as ``guestagent call`` does.

        :raises ExchangeError: there is no such channel, or no answer.
        """
        return Answer(*decode_answer(self.request(encode_request(name, value))))

    def request(self, data: bytes, timeout: float = 30.0) -> bytes:
        """Sends bytes over the local channel and returns those of the answer.

        :raises ExchangeError: there is no such channel, or no answer.
        """
        path = self.agent.places["run_dir"] / "agent.sock"
        if not path.exists():
            raise ExchangeError("The configuration of this test has no channel with the exchange 'local'")
        with LocalClient(path, timeout=timeout) as client:
            return client.request(data)


@contextmanager
def run_agent(config: Config, scratch: Path, programs: Programs) -> Iterator[RunningAgent]:
    """Runs an agent with the installed plugins, as ``config`` says, but within ``scratch``.

    :raises AssertionError: something of it does not work; the text is what the agent's log would say.
    """
    interval = sys.getswitchinterval()
    root, state = scratch / "root", scratch / "state"
    for folder in (root, state):
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ga-") as run_dir:  # the path of a socket has to be short
        place = replace(config.agent, root=root, state_dir=state, run_dir=Path(run_dir))
        channels = config.channel or (ChannelConfig("local"),)
        agent = Agent(replace(config, agent=place, channel=channels), programs=programs)
        try:
            agent.start()
            assert not agent.problems, "\n".join(str(problem) for problem in agent.problems)
            yield RunningAgent(agent, programs)
        finally:
            agent.stop()
            agent.join()
            sys.setswitchinterval(interval)
