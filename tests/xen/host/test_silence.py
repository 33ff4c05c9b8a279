"""The host's side: an agent that says nothing is told from one that died, and from a domain that is gone."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from guestagent_xen.host import AgentTimeoutError, DomainGoneError, GuestClient

from .old_agents import RELEASE, REMOVE, WRITE, Agent, Wire, client_of, leftovers, succeed


def test_a_silent_agent_is_told_and_the_request_removed(store: Path) -> None:
    with client_of(store, 0.05) as client:
        with pytest.raises(AgentTimeoutError, match=r"within 0\.05 s, and nobody took the request") as caught:
            client.version()
        assert not caught.value.was_taken
        assert leftovers(store) == []
        Agent(store, succeed("1"))
        client.timeout = 30.0
        assert client.version() == "1"


def test_an_agent_that_took_the_request_and_died_is_told(store: Path) -> None:
    def die(identifier: str, request: dict[str, Any]) -> None:
        Wire(store).ask(REMOVE, f"/local/domain/7/data/host/{identifier}")

    agent = Agent(store, die)
    with client_of(store, 0.5) as client, pytest.raises(AgentTimeoutError) as caught:
        client.version()
    assert caught.value.was_taken == bool(agent.asked)


def test_an_answer_that_is_empty_yet_is_waited_for(store: Path) -> None:
    def hesitate(identifier: str, request: dict[str, Any]) -> dict[str, Any]:
        Wire(store).ask(WRITE, f"/local/domain/7/data/guest/{identifier}", b"")
        return {"message": "done", "returncode": "0"}

    Agent(store, hesitate)
    with client_of(store) as client:
        assert client.version() == "done"


def test_a_guest_that_keeps_the_host_busy_does_not_hold_it_up(store: Path) -> None:
    stop = threading.Event()

    def tease(identifier: str, request: dict[str, Any]) -> None:
        wire = Wire(store)
        while not stop.is_set():
            wire.ask(WRITE, f"/local/domain/7/data/guest/{identifier}", b"")

    Agent(store, tease)
    with client_of(store, 0.2) as client, pytest.raises(AgentTimeoutError):
        client.version()
    stop.set()


def test_a_domain_that_is_not_there_is_told_and_nothing_written(store: Path) -> None:
    with GuestClient(8, socket=str(store)) as client, pytest.raises(DomainGoneError, match="There is no domain 8"):
        client.version()
    assert "8" not in Wire(store).children("/local/domain")


def test_a_domain_of_which_only_the_nodes_are_left_is_told_and_nothing_written(store: Path) -> None:
    Wire(store).ask(RELEASE, "7")
    with client_of(store) as client, pytest.raises(DomainGoneError, match="There is no domain 7"):
        client.version()
    assert leftovers(store) == []


def test_who_may_not_ask_for_domains_asks_their_agents(store: Path) -> None:
    view = store.with_name(f"{store.name}.7")  # an unprivileged domain's
    with client_of(view, 0.2) as client, pytest.raises(AgentTimeoutError):
        client.version()


@pytest.mark.parametrize("removed", ["/local/domain/7/name", "/local/domain/7"])
def test_a_domain_that_goes_is_told_from_a_silent_agent(store: Path, removed: str) -> None:
    def vanish(identifier: str, request: dict[str, Any]) -> None:
        Wire(store).ask(REMOVE, removed)

    Agent(store, vanish)
    with client_of(store) as client, pytest.raises(DomainGoneError, match="went away before it answered"):
        client.version()
    assert leftovers(store) == []
