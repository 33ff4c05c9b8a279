"""Parsers that each break one clause of the contract: `breaks` says which one. Not collected; see test_broken.py."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from guestagent_core.errors import CommandError
from guestagent_core.testing import ParserContract
from guestagent_json import JsonParser


class Held(ParserContract):
    make: ClassVar[Callable[..., Any]] = JsonParser
    breaks: ClassVar[str]

    @pytest.fixture
    def make_parser(self) -> Any:
        return type(self).make

    @pytest.fixture
    def encode(self) -> Any:
        return lambda name, value: json.dumps({"name": name, "value": value}, ensure_ascii=False).encode()

    @pytest.fixture
    def decode(self) -> Any:
        return lambda data: (json.loads(data)["returncode"], json.loads(data)["message"])


def answer(code: str, message: Any) -> dict[str, bytes]:
    return {"data": json.dumps({"returncode": code, "message": message}).encode()}


class Plain:
    """A parser as somebody writes it at first; each class below makes one mistake more, or another one."""

    def __init__(self, runner: Any) -> None:
        self.runner = runner

    def parse_request(self, request: Any) -> Any:
        try:
            return self.run(json.loads(request["data"]))
        except Exception as error:
            return self.encode_error(500, self.text(error))

    def run(self, asked: Any) -> Any:
        code, message = self.runner.run_command(asked["name"], asked["value"])
        return answer(str(code), message if isinstance(message, str) else json.dumps(message))

    def text(self, error: Exception) -> str:
        try:
            return str(error)
        except Exception:
            return type(error).__name__

    def encode_error(self, code: int, message: str) -> Any:
        return answer(str(code), message)


class TestSound(Held):
    breaks = ""


class TestPlain(Held):
    breaks = ""
    make = Plain


class TestEncodesNoErrors(Held):
    breaks = "test_it_is_a_parser"

    class make(Plain):  # noqa: N801 - it stands for the function that makes one
        encode_error: Any = None


class TestForgetsTheCode(Held):
    breaks = "test_a_command_is_run_and_its_result_answered"

    class make(Plain):  # noqa: N801
        def run(self, asked: Any) -> Any:
            return answer("0", self.runner.run_command(asked["name"], asked["value"])[1])


class TestLosesLetters(Held):
    breaks = "test_a_command_is_run_and_its_result_answered"

    class make(Plain):  # noqa: N801
        def run(self, asked: Any) -> Any:
            return super().run({**asked, "value": asked["value"].encode("ascii", "ignore").decode()})


class TestTakesBytesOnly(Held):
    breaks = "test_a_request_may_be_text"

    class make(Plain):  # noqa: N801
        def parse_request(self, request: Any) -> Any:
            return super().parse_request({"data": request["data"].decode()})


class TestLetsErrorsThrough(Held):
    breaks = "test_a_failure_is_answered"

    class make(Plain):  # noqa: N801
        def parse_request(self, request: Any) -> Any:
            try:
                return self.run(json.loads(request["data"]))
            except CommandError as error:
                return self.encode_error(error.code, str(error))


class TestCannotShowAnError(Held):
    breaks = "test_a_failure_is_answered"

    class make(Plain):  # noqa: N801
        def text(self, error: Exception) -> str:
            return str(error)


class TestCallsAFailureSuccess(Held):
    breaks = "test_a_failure_is_answered"

    class make(Plain):  # noqa: N801
        def encode_error(self, code: int, message: str) -> Any:
            return answer("0", message)


class TestCatchesEverything(Held):
    breaks = "test_what_ends_a_program_passes_through"

    class make(Plain):  # noqa: N801
        def parse_request(self, request: Any) -> Any:
            try:
                return super().parse_request(request)
            except BaseException as error:
                return self.encode_error(500, repr(error))


class TestKnowsTextOnly(Held):
    breaks = "test_a_structured_message_is_answered"

    class make(Plain):  # noqa: N801
        def run(self, asked: Any) -> Any:
            code, message = self.runner.run_command(asked["name"], asked["value"])
            return answer(str(code), "" + message)


class TestTrustsTheHost(Held):
    breaks = "test_malformed_requests_are_answered"

    class make(Plain):  # noqa: N801
        def parse_request(self, request: Any) -> Any:
            return super().parse_request({"data": json.dumps(json.loads(request["data"]))})


class TestAnswersNothing(Held):
    breaks = "test_malformed_requests_are_answered"

    class make(Plain):  # noqa: N801
        def parse_request(self, request: Any) -> Any:
            return super().parse_request(request) if request["data"].startswith(b'{"') else None


class TestExpectsData(Held):
    breaks = "test_a_request_without_data_is_answered"

    class make(Plain):  # noqa: N801
        def parse_request(self, request: Any) -> Any:
            data = request["data"]
            return super().parse_request({"data": data})


class TestHidesWhatIsWrong(Held):
    breaks = "test_an_error_can_be_encoded"

    class make(Plain):  # noqa: N801
        def encode_error(self, code: int, message: str) -> Any:
            return answer(str(code), "error")


class TestKeepsTheRequestInTheParser(Held):
    breaks = "test_several_threads_may_ask_at_once"

    class make(Plain):  # noqa: N801
        def run(self, asked: Any) -> Any:
            self.asked = asked
            time.sleep(0.001)
            return super().run(self.asked)


class TestIsNotInstalled(Held):
    breaks = "test_it_is_found_by_its_entry_point"
    entry_point = "morse"


class TestIsAnotherOne(Held):
    breaks = "test_it_is_found_by_its_entry_point"
    entry_point = "json"
    make = Plain
