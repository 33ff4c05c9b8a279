"""The host's side: what it asks, what it makes of answers, and what it leaves behind."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from guestagent_xen.host import AgentError, Answer, AnswerError, RequestTooLargeError, StoreError
from guestagent_xen.host import __main__ as host

from .old_agents import WRITE, Agent, client_of, leftovers, succeed


def test_several_calls_share_a_connection_and_leave_nothing_behind(store: Path) -> None:
    agent = Agent(store, succeed("1.39.1"))
    with client_of(store) as client:
        assert client.version() == "1.39.1"
        connection = client._store
        assert client.call("other", {"a": [1, None]}) == Answer("0", "1.39.1")
        assert client._store is connection
    assert agent.asked == [{"name": "version", "value": "agent"}, {"name": "other", "value": {"a": [1, None]}}]
    assert leftovers(store) == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"returncode": 0, "message": "x"}, Answer("0", "x")),
        ({"returncode": 500, "message": None}, Answer("500", "None")),
        ({"returncode": "0", "message": "1.2.3\\r\\n"}, Answer("0", "1.2.3")),
        ({"returncode": "0", "message": "C:\\r\\n is inside"}, Answer("0", "C:\\r\\n is inside")),
        (b'{"message": "h\\u00e9", "returncode": "0"}\r\n', Answer("0", "hé")),
    ],
)
def test_what_old_agents_answer_is_understood(store: Path, answer: Any, expected: Answer) -> None:
    Agent(store, lambda identifier, request: answer)
    with client_of(store) as client:
        assert client.call("version") == expected


@pytest.mark.parametrize("answer", [b"plain text", b"[]", b'{"message": ""}', b"\xff", b"[" * 2000])
def test_an_answer_that_is_none_is_shown_and_removed(store: Path, answer: bytes) -> None:
    Agent(store, lambda identifier, request: answer)
    with client_of(store) as client, pytest.raises(AnswerError, match="version: the answer is not a JSON object"):
        client.version()
    assert leftovers(store) == []


def test_the_connection_is_made_anew_between_two_calls(store: Path) -> None:
    Agent(store, succeed("1"))
    with client_of(store) as client:
        assert client.version() == "1"
        assert client._store is not None
        broken = socket.socket(fileno=os.dup(client._store._descriptor))
        broken.shutdown(socket.SHUT_RDWR)  # as a daemon does that restarts
        broken.close()
        assert client.version() == "1"


def test_a_request_that_does_not_fit_is_refused_with_the_limit(store: Path) -> None:
    with client_of(store) as client:
        with pytest.raises(RequestTooLargeError, match=r"other: .* are 41\d\d bytes, 4096 fit"):
            client.call("other", "x" * 4100)
    assert leftovers(store) == []


@pytest.mark.parametrize("name", ["E2BIG", "EQUOTA", "ENOSPC", "EINVAL"])
def test_a_request_that_this_store_refuses_names_its_error(
    store: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = host._Store._ask

    def refusing(self: Any, operation: int, content: bytes, deadline: float) -> bytes:
        if operation == WRITE:
            raise StoreError(f"XenStore refuses: {name}", name)
        return real(self, operation, content, deadline)

    monkeypatch.setattr(host._Store, "_ask", refusing)
    with client_of(store) as client:
        with pytest.raises(RequestTooLargeError, match=f"2016 fit anywhere .{name}."):
            client.call("other", "x" * 3000)
        with pytest.raises(StoreError, match=f"refuses: {name}") as caught:
            client.call("other")
    assert not isinstance(caught.value, RequestTooLargeError)


def test_files_are_injected_in_the_way_that_the_agent_knows(store: Path) -> None:
    features: list[tuple[str, str]] = []

    def handle(identifier: str, request: dict[str, Any]) -> dict[str, Any]:
        code, message = features[0] if request["name"] == "features" else ("0", "")
        return {"message": message, "returncode": code}

    agent = Agent(store, handle)
    old = {"name": "injectfile", "value": "L2V0Yy9tb3RkMixoZWxsbwo="}  # as recorded of the original
    new = {"name": "file_inject", "value": {"b64_path": "L2V0Yy9tb3RkMg==", "b64_file": "aGVsbG8K"}}
    with client_of(store) as client:
        for answer, expected in (
            (("0", "version,injectfile"), old),
            (("0", "injectfile,file_inject"), new),
            (("404", "No such agent command 'features'"), old),
        ):
            features[:] = [answer]
            client.inject_file("/etc/motd2", b"hello\n")
            assert agent.asked[-1] == expected
        features[:] = [("0", "version,injectfile")]
        with pytest.raises(ValueError, match="comma"):
            client.inject_file("/etc/a,b", b"")
        features[:] = [("0", "version")]
        with pytest.raises(AgentError, match="neither file_inject nor injectfile, but version"):
            client.inject_file("/etc/motd2", b"")


def test_the_other_commands_send_what_was_recorded(store: Path) -> None:
    agent = Agent(store, succeed())
    with client_of(store) as client:
        client.reset_network()
        client.agent_update("http://h/a.tar", "0123")
        client.agent_update("http://h/a,b.tar", "0123")
        client.activate_kms("KEY-1", "srv01", ["d1", "d2"])
    assert [(asked["name"], asked["value"]) for asked in agent.asked] == [
        ("resetnetwork", ""),
        ("agentupdate", "http://h/a.tar,0123"),
        ("agentupdate", {"url": "http://h/a,b.tar", "md5sum": "0123"}),
        ("kmsactivate", {"activation_key": "KEY-1", "profile": "srv01", "domains": ["d1", "d2"]}),
    ]


def test_a_bus_takes_less_in_a_message(tmp_path: Path) -> None:
    (tmp_path / "xenbus").touch()
    store = host._Store([str(tmp_path / "xenbus")])
    assert store.largest == 4080
    store.close()
