"""What was recorded of the original agent and its hosts: the store, before and after, and the requests they wrote."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from guestagent_core import CommandBase, CommandRegistry, CommandResult, Dispatcher, command
from guestagent_json import JsonParser
from guestagent_xen.devstore import DevelopmentStore
from guestagent_xen.exchange import XenStoreExchange
from guestagent_xen.host import Answer, GuestClient

HOME = "/local/domain/7"
OPERATIONS = json.loads((Path(__file__).with_name("vectors") / "xenstore_operations.json").read_text())["cases"]
SYSTEM = Path(__file__).parents[1] / "system" / "vectors"


class Recorded(CommandBase):
    @command("version")
    def version(self, value: object) -> CommandResult:
        return CommandResult(0, "1.39.1")


@pytest.mark.parametrize("case", OPERATIONS, ids=lambda case: case["title"])
def test_the_store_is_afterwards_as_recorded(case: dict[str, Any]) -> None:
    with DevelopmentStore() as store:
        device = store.add_guest(7)
        for path, value in case["store_before"].items():
            store.write(f"{HOME}/{path}", value.encode())
        exchange = XenStoreExchange(XenStoreExchange.Options(path=device))
        dispatcher = Dispatcher(exchange, JsonParser(CommandRegistry([Recorded])))
        while dispatcher.run_once(0.2):
            pass
        exchange.close()
        found = {
            f"{folder}/{name}": store.read(f"{HOME}/{folder}/{name}")
            for folder in ("data/host", "data/guest")
            for name in store.list(f"{HOME}/{folder}")
        }
        assert store.read(f"{HOME}/data/host") == b""
        assert found == {path: text.encode() for path, text in case["store_after"].items() if path != "data/host"}


def requests(name: str) -> list[dict[str, Any]]:
    return [json.loads(case["request"]) for case in json.loads((SYSTEM / f"{name}.json").read_text())["cases"]]


def test_hosts_write_requests_as_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    client, sent = GuestClient(7), list[dict[str, Any]]()

    def call(name: str, value: Any = "") -> Answer:
        if name != "features":
            sent.append({"name": name, "value": value})
        return Answer("0", "injectfile")

    monkeypatch.setattr(client, "call", call)
    wanted = [request for request in requests("injectfile") if request["value"]]
    for request in wanted:
        path, _, content = base64.b64decode(request["value"]).partition(b",")
        client.inject_file(path.decode(), content)
    updates = [request for request in requests("agentupdate") if isinstance(request["value"], str)]
    for request in updates:
        client.agent_update(*request["value"].split(","))
    activations = [
        request for request in requests("activate")
        if isinstance(request["value"], dict) and isinstance(request["value"].get("domains"), list)
        and "activation_key" in request["value"]
    ]  # fmt: skip
    for request in activations:
        client.activate_kms(*(request["value"][key] for key in ("activation_key", "profile", "domains")))
    assert len(wanted) * len(updates) * len(activations) > 0
    assert sent == [*wanted, *updates, *activations]
