"""While an exclusive command runs: what is answered at once, what waits, and in which order answers come."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest
from tests.pressure.harness import PressedAgent, request

PATIENCE = 60.0  # seconds
AT_ONCE = 5.0  # seconds: a busy machine is no reason, and an exclusive command runs until it is told to end


@contextmanager
def holding(agent: PressedAgent, channel: str = "one") -> Iterator[None]:
    """Has an exclusive command run meanwhile."""
    end = agent.folder / "end"
    thread = threading.Thread(target=agent.ask, args=("hold", str(end), channel))
    thread.start()
    deadline = time.monotonic() + PATIENCE
    while not end.with_name("end.begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    try:
        yield
        assert thread.is_alive()
    finally:
        end.touch()
        thread.join(PATIENCE)


@pytest.mark.parametrize("channel", ["one", "two"])
def test_parallel_commands_are_answered_at_once(agent: PressedAgent, channel: str) -> None:
    with holding(agent):
        for _ in range(50):
            assert agent.ask("version", channel=channel, timeout=AT_ONCE)[0] == "0"


def test_exclusive_commands_of_all_channels_wait(agent: PressedAgent) -> None:
    with ExitStack() as stack:
        with holding(agent):
            waiting = [stack.enter_context(closing(agent.connected(channel))) for channel in ("one", "two")]
            for connection in waiting:
                connection.sendall(request("note", "x") + b"\n")
                connection.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    connection.recv(1)
                connection.settimeout(PATIENCE)
        for connection in waiting:
            assert b'"x"' in connection.recv(65536)


def test_the_answers_of_a_connection_keep_the_order_of_its_requests(agent: PressedAgent) -> None:
    with closing(agent.connected()) as connection, connection.makefile("rb") as answers:
        with holding(agent):
            connection.sendall(
                b"".join(request(*words) + b"\n" for words in (["note", "1"], ["version"], ["note", "2"]))
            )
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            connection.settimeout(PATIENCE)
        assert [json.loads(answers.readline())["message"] for _ in range(3)][::2] == ["1", "2"]


def test_at_64_the_parallel_commands_of_that_channel_wait_and_those_of_others_do_not(agent: PressedAgent) -> None:
    with ExitStack() as stack:
        with holding(agent):
            waiting = [stack.enter_context(closing(agent.connected())) for _ in range(62)]
            for number, connection in enumerate(waiting):
                connection.sendall(request("note", str(number)) + b"\n")
            assert agent.ask("version", timeout=AT_ONCE)[0] == "0"  # 63 are open
            one_more = stack.enter_context(closing(agent.connected()))
            one_more.sendall(request("note", "one more") + b"\n")
            late = stack.enter_context(closing(agent.connected()))
            time.sleep(0.3)
            late.sendall(request("version") + b"\n")
            late.settimeout(0.5)
            with pytest.raises(TimeoutError):
                late.recv(1)
            for _ in range(20):
                assert agent.ask("version", channel="two", timeout=AT_ONCE)[0] == "0"
            late.settimeout(PATIENCE)
        for number, connection in enumerate(waiting):
            assert json.loads(connection.recv(65536))["message"] == str(number)
        assert b'"one more"' in one_more.recv(65536)
        assert b'"0"' in late.recv(65536)
    assert agent.ask("version")[0] == "0"
