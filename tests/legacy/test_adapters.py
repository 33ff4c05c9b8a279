"""Old exchanges and parsers in the form of today's."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

from guestagent_core import CommandRegistry, Dispatcher, ResponseTooLargeError
from guestagent_core.builtin import Builtin
from guestagent_legacy.adapters import OldExchange, OldParser, adapted_exchange
from guestagent_legacy.old_plugins import JsonParser, XSComm
from guestagent_xen.devstore import DevelopmentStore

REQUEST = "/local/domain/0/data/host/1"


@pytest.fixture
def comm(store: DevelopmentStore, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("XENSTORED_PATH", str(store.path))
    comm = XSComm()
    yield comm
    comm.close()


def test_a_wake_is_kept_for_the_next_wait(comm: Any) -> None:
    exchange = adapted_exchange(comm)
    exchange.wait(0)  # type: ignore[attr-defined]  # it is one that waits
    exchange.wake()  # type: ignore[attr-defined]
    assert exchange.get_request() is None
    assert exchange.wait(30) is False  # type: ignore[attr-defined]


def test_who_only_calls_get_request_gets_the_old_form(store: DevelopmentStore, comm: Any) -> None:
    store.write(REQUEST, b"text")
    request = next(filter(None, (comm.get_request() for _ in range(100))))
    assert (request["path"], request["data"]) == ("data/host/1", "text")
    with pytest.raises(ResponseTooLargeError):
        comm.put_response(request, {"data": "x" * 5000})
    comm.put_response(request, {"data": "answer"})
    assert (comm.request_path, comm.response_path) == ("data/host", "data/guest")
    assert store.read("/local/domain/0/data/guest/1") == b"answer"
    assert store.read(REQUEST) is None


@pytest.mark.parametrize("fails", [True, False])
def test_what_a_derived_class_took_and_did_not_hand_on_comes_again(
    store: DevelopmentStore, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    class Choosy(XSComm):
        asked = 0

        def get_request(self) -> Any:
            request = super().get_request()
            if request is not None:
                self.asked += 1
                if self.asked <= 3 and fails:
                    raise OSError("not up yet")
            return request if self.asked > 3 else None

    monkeypatch.setenv("XENSTORED_PATH", str(store.path))
    exchange = adapted_exchange(Choosy())
    dispatcher = Dispatcher(exchange, OldParser(JsonParser(CommandRegistry([Builtin])), CommandRegistry()))
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    begun = time.monotonic()
    store.write(REQUEST, b'{"name": "version"}')
    try:
        while store.read(REQUEST) is not None:
            assert time.monotonic() < begun + 60
            time.sleep(0.01)
        assert time.monotonic() - begun > 1.9  # a pause before each but the first, which an early wake may end
    finally:
        dispatcher.stop()
        thread.join()
        exchange.close()


def test_an_object_that_is_no_mapping_comes_back_as_it_was() -> None:
    class Odd:
        answered: object = None

        def get_request(self) -> object:
            return 5

        def put_response(self, request: object, response: object) -> None:
            self.answered = request, response

    class Doubling:
        def parse_request(self, request: int) -> int:
            return request * 2

    odd = Odd()
    exchange = OldExchange(odd)
    request = exchange.get_request()
    assert request is not None
    assert exchange.get_request() is None  # until it is answered
    response = OldParser(Doubling(), CommandRegistry()).parse_request(request)
    assert response is not None
    exchange.put_response(request, response)
    assert odd.answered == (5, 10)
    assert exchange.get_request() is not None


def test_errors_are_encoded_as_the_old_parser_encodes_results() -> None:
    class Lines:
        def encode_result(self, result: tuple[int, str]) -> dict[str, str]:
            return {"data": "%s %s" % result}  # noqa: UP031 - as it was written

    runner = CommandRegistry()
    assert OldParser(Lines(), runner).encode_error(500, "no")["data"] == "500 no"
    answer = OldParser(object(), runner).encode_error(500, "no")["data"]
    assert json.loads(answer) == {"returncode": "500", "message": "no"}


def test_any_registry_will_do_for_the_parser() -> None:
    class Registry:
        class CommandNotFoundError(Exception):
            pass

        def run_command(self, name: str, value: object) -> list[object]:
            if name != "known":
                raise self.CommandNotFoundError(name)
            return ["D0", value]

    parser = JsonParser(Registry())

    def ask(name: str) -> Any:
        return json.loads(parser.parse_request({"data": json.dumps({"name": name, "value": "v"})})["data"])

    assert ask("known") == {"returncode": "D0", "message": "v"}
    assert ask("other") == {"returncode": "404", "message": "No such agent command 'other'"}
    assert json.loads(parser.parse_request({"path": "p"})["data"]) == {
        "returncode": "500",
        "message": "Internal error with request",
    }
    assert json.loads(parser.encode_result(("D0", "5"))["data"]) == {"returncode": "D0", "message": "5"}
    for nothing in (object(), type("Without", (), {"run_command": None})()):
        with pytest.raises(TypeError, match=r"^Command class has no 'run_command' method$"):
            JsonParser(nothing)
    assert JsonParser(CommandRegistry([Builtin])).parse_request({"data": '{"name": "version"}'})


def test_a_parser_whose_encode_result_takes_something_else_ends_nothing() -> None:
    class Lines:
        def encode_result(self, code: int, message: str) -> dict[str, str]:
            return {"data": f"{code} {message}"}

    answer = OldParser(Lines(), CommandRegistry()).encode_error(500, "no")["data"]
    assert json.loads(answer) == {"returncode": "500", "message": "no"}


def test_a_subclass_of_the_parser_encodes_all_results() -> None:
    class Signed(JsonParser):
        def encode_result(self, result: tuple[Any, Any]) -> Any:
            return {"data": "acme:" + super().encode_result(result)["data"], "failed": result[0] != 0}

    parser = Signed(CommandRegistry([Builtin(None)]))  # type: ignore[arg-type]  # version needs no context
    assert parser.parse_request({"data": '{"name": "version"}'})["failed"] is False
    for data in ('{"name": "nothing"}', "[]", "{}"):
        assert parser.parse_request({"data": data})["failed"] is True
        assert parser.parse_request({"data": data})["data"].startswith('acme:{"message"')
