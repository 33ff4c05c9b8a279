"""The exchange, held to its contract; and what is its own."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from example_spool import SpoolExchange

from guestagent_core.config import ChannelConfig, Config
from guestagent_core.testing import ExchangeContract, RunningAgent, take_request, wait_until

LIMIT = 1000


class Asked:
    """A request, from the host's side."""

    def __init__(self, folder: Path, name: str, data: bytes) -> None:
        self._request, self._answer = folder / "in" / name, folder / "out" / name
        staged = folder / name
        staged.write_bytes(data)
        staged.rename(self._request)

    def answer(self, timeout: float) -> bytes:
        wait_until(self._answer.exists, timeout)
        return self._answer.read_bytes()

    def vanish(self) -> None:
        self._request.unlink()


class TestSpool(ExchangeContract):
    entry_point = "spool"
    request_limit = answer_limit = LIMIT

    @pytest.fixture
    def exchange(self, tmp_path: Path) -> SpoolExchange:
        return SpoolExchange(SpoolExchange.Options(tmp_path, LIMIT))

    @pytest.fixture
    def ask(self, tmp_path: Path) -> Callable[[bytes], Asked]:
        names = itertools.count()
        return lambda data: Asked(tmp_path, str(next(names)), data)

    def test_what_was_not_answered_comes_again_after_a_restart(
        self, exchange: SpoolExchange, ask: Callable[[bytes], Asked], tmp_path: Path
    ) -> None:
        question = ask(b"once")
        assert take_request(exchange)["id"] == "0"
        exchange.close()
        restarted = SpoolExchange(SpoolExchange.Options(tmp_path, LIMIT))
        request = take_request(restarted)
        assert (request["id"], request["data"]) == ("0", b"once")
        restarted.put_response(request, {"data": b"twice"})
        restarted.close()
        assert question.answer(5) == b"twice"
        assert not os.listdir(tmp_path / "in")

    def test_a_file_that_is_being_written_is_left_alone(self, exchange: SpoolExchange, tmp_path: Path) -> None:
        (tmp_path / "in" / ".half").write_bytes(b"ha")
        assert exchange.wait(0) is False
        assert exchange.get_request() is None


@pytest.fixture
def agent_config() -> Config:
    return Config(channel=(ChannelConfig("spool"),))


def test_a_host_is_served(agent: RunningAgent) -> None:
    folder = agent.agent.places["state_dir"] / "spool"
    started = time.monotonic()
    answer = json.loads(Asked(folder, "one", b'{"name": "features"}').answer(30))
    assert answer["returncode"] == "0"
    assert time.monotonic() - started < 0.9, "the exchange was asked every second, and not woken"
