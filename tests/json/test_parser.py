"""The JSON parser beyond the recorded cases: codes, messages, and input that is meant to break it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guestagent_core import (
    CommandBase,
    CommandDeniedError,
    CommandError,
    CommandNotFoundError,
    CommandRegistry,
    CommandResult,
    CommandRunner,
    CommandTimeoutError,
    InvalidArgumentError,
    Parser,
    command,
)
from guestagent_core.testing import ParserContract
from guestagent_json import JsonParser


class Runner:
    """Answers every command with the same result, or error."""

    def __init__(self, outcome: CommandResult | BaseException) -> None:
        self.outcome = outcome
        self.calls: list[tuple[str, Any]] = []

    def run_command(self, name: str, value: Any = "missing") -> CommandResult:
        self.calls.append((name, value))
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


def answer_of(outcome: CommandResult | BaseException, data: bytes = b'{"name": "any"}') -> dict[str, str]:
    response = JsonParser(Runner(outcome)).parse_request({"data": data})
    answer = json.loads(response["data"])
    assert isinstance(answer, dict)
    return answer


class TestContract(ParserContract):
    entry_point = "json"

    @pytest.fixture
    def make_parser(self) -> Callable[[CommandRunner], Parser]:
        return JsonParser

    @pytest.fixture
    def encode(self) -> Callable[[str, str], bytes]:
        return lambda name, value: json.dumps({"name": name, "value": value}).encode()

    @pytest.fixture
    def decode(self) -> Callable[[bytes], tuple[str, str]]:
        def decode(data: bytes) -> tuple[str, str]:
            answer = json.loads(data)
            return answer["returncode"], answer["message"]

        return decode


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (CommandNotFoundError("x"), "404", "No such agent command 'x'"),
        (CommandDeniedError("not here"), "403", "not here"),
        (CommandTimeoutError("too slow"), "504", "too slow"),
        (InvalidArgumentError("Couldn't decode base64 data"), "500", "Couldn't decode base64 data"),
        (CommandError("failed", 409), "500", "failed"),
        (PermissionError("a plain one"), "500", "a plain one"),
        (TimeoutError("a plain one"), "500", "a plain one"),
        (ValueError(), "500", ""),
        (RecursionError("too deep"), "500", "too deep"),
    ],
)
def test_each_error_has_its_code(error: Exception, code: str, message: str) -> None:
    assert answer_of(error) == {"message": message, "returncode": code}


def test_an_error_that_cannot_be_shown_is_answered() -> None:
    class UnprintableError(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    assert answer_of(UnprintableError()) == {"message": "UnprintableError", "returncode": "500"}


@pytest.mark.parametrize(
    ("result", "code", "message"),
    [
        (CommandResult(), "0", ""),
        (CommandResult("D0", "5"), "D0", "5"),
        (CommandResult(1, "exit status"), "1", "exit status"),
        (CommandResult(0, {"a": [1, None]}), "0", '{"a": [1, null]}'),
        (CommandResult(0, None), "0", "null"),
        (CommandResult(0, 5), "0", "5"),
        (CommandResult(0, ["ü"]), "0", '["\\u00fc"]'),
        (CommandResult(0, "\ud800 \u2028 \x00"), "0", "\ud800 \u2028 \x00"),
    ],
)
def test_a_message_is_text_or_json_text(result: CommandResult, code: str, message: str) -> None:
    assert answer_of(result) == {"message": message, "returncode": code}


@pytest.mark.parametrize("message", [float("nan"), float("inf"), object(), {"a": {1, 2}}, b"bytes"])
def test_a_message_that_json_cannot_hold_is_an_error_that_names_the_command(message: object) -> None:
    answer = answer_of(CommandResult(0, message))
    assert answer["returncode"] == "500"
    assert "'any'" in answer["message"]


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"name": "any"}', ""),
        (b'{"name": "any", "value": null}', None),
        (b'{"name": "any", "value": 68436575764933852815830951574296}', 68436575764933852815830951574296),
        (b'{"name": "any", "value": [1, {"a": 2.5}]}', [1, {"a": 2.5}]),
        (b'{"name": "any", "value": 1, "value": 2}', 2),
    ],
)
def test_a_value_reaches_the_command_as_it_is(data: bytes, value: object) -> None:
    runner = Runner(CommandResult())
    JsonParser(runner).parse_request({"data": data})
    assert runner.calls == [("any", value)]


@pytest.mark.parametrize("data", [bytearray(b'{"name": "any"}'), memoryview(b'{"name": "any"}')])
def test_any_bytes_like_data_will_do(data: object) -> None:
    assert JsonParser(Runner(CommandResult())).parse_request({"data": data})["data"].endswith(b'"0"}')


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"[" * 100_000, id="nested lists"),
        pytest.param(b'{"a":' * 100_000, id="nested objects"),
        pytest.param(b'{"name": "any", "value": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="nested value"),
        pytest.param(b'{"name": "any", "value": ' + b"9" * 100_000 + b"}", id="long integer"),
        pytest.param(b'{"name": "any", "value": 0.' + b"9" * 100_000 + b"}", id="long fraction"),
        pytest.param(b'{"name": "any", "value": "' + b"x" * 16 * 1024 * 1024 + b'"}', id="16 MiB"),
        pytest.param(b" " * 16 * 1024 * 1024, id="16 MiB of nothing"),
        pytest.param(b'{"name": "\xff"}', id="invalid UTF-8"),
        pytest.param('{"name": "any"}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'{"name": "any"', id="cut off"),
        pytest.param(b'{"name": "any"}\0', id="trailing NUL"),
        pytest.param(b'{"name": "a\nb"}', id="newline in a string"),
    ],
)
def test_what_is_no_request_is_malformed_and_runs_nothing(data: bytes) -> None:
    runner = Runner(CommandResult())
    response = JsonParser(runner).parse_request({"data": data})
    assert json.loads(response["data"]) == {"message": "Request is malformed", "returncode": "500"}
    assert not runner.calls


def test_a_name_that_is_no_string_runs_nothing() -> None:
    runner = Runner(CommandResult())
    assert b"No such agent command '5'" in JsonParser(runner).parse_request({"data": b'{"name": 5}'})["data"]
    assert not runner.calls


def test_the_limit_is_an_option() -> None:
    parser = JsonParser(Runner(CommandResult()), JsonParser.Options(limit=20))
    assert b'"0"' in parser.parse_request({"data": b'{"name": "any"}'})["data"]
    assert b"malformed" in parser.parse_request({"data": b'{"name": "any" }     '})["data"]


def test_a_runner_that_cannot_run_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^Command class has no 'run_command' method$"):
        JsonParser(object())  # type: ignore[arg-type]  # that is the point


def test_only_what_ends_the_program_passes_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        answer_of(KeyboardInterrupt())


class Echo(CommandBase):
    @command("echo")
    def echo(self, value: Any) -> CommandResult:
        return CommandResult(0, value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(
    st.binary()
    | st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))
    | json_values.map(lambda value: json.dumps(value).encode())
    | json_values.map(lambda value: json.dumps({"name": value, "value": value}).encode())
    | json_values.map(lambda value: json.dumps({"name": "echo", "value": value}).encode())
)
@settings(max_examples=500)
def test_any_bytes_in_one_valid_answer_out(data: bytes) -> None:
    response = JsonParser(CommandRegistry([Echo])).parse_request({"data": data})
    answer = json.loads(response["data"].decode("ascii"), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert set(answer) == {"message", "returncode"}
    assert isinstance(answer["message"], str)
    assert isinstance(answer["returncode"], str)
    assert b"\n" not in response["data"]


@given(st.text())
def test_text_comes_back_as_it_went(text: str) -> None:
    data = json.dumps({"name": "echo", "value": text})
    answer = json.loads(JsonParser(CommandRegistry([Echo])).parse_request({"data": data})["data"])
    assert answer == {"message": text, "returncode": "0"}
