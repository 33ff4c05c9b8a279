"""What every parser has to keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from guestagent_core.commands import CommandResult
from guestagent_core.errors import CommandNotFoundError, InvalidArgumentError
from guestagent_core.protocols import CommandRunner, Parser, Response

__all__ = ("ParserContract",)


class _Runner:
    """Knows the commands that the clauses ask for."""

    def run_command(self, name: str, value: Any = "") -> CommandResult:
        if name == "echo":
            return CommandResult(0, value)
        if name == "numbers":
            return CommandResult(0, {"one": 1, "many": [2.5, None, True]})
        if name == "refuse":
            return CommandResult(7, "not today")
        if name == "invalid":
            raise InvalidArgumentError("that cannot be")
        if name == "crash":
            raise ZeroDivisionError("crashed for the test")
        if name == "rubbish":
            return CommandResult(0, object())
        raise CommandNotFoundError(name)


class ParserContract:
    """The clauses of :class:`~guestagent_core.protocols.Parser`; a vendor's test gives the fixtures.

    - ``make_parser``: a function of a runner that returns a new parser.
    - ``encode``: a function of a command's name and a value (a str) that returns the bytes of the request.
    - ``decode``: a function of an answer's bytes that returns its code, as a str, and its message.
    """

    malformed: ClassVar[tuple[bytes, ...]] = (b"", b"\0", b"\xff\xfe", b"{", b"[" * 100_000, b"\n", b"9" * 100_000)
    """What no request looks like."""

    @pytest.fixture
    def parser(self, make_parser: Callable[[CommandRunner], Parser]) -> Parser:
        return make_parser(_Runner())

    def test_it_is_a_parser(self, parser: Parser) -> None:
        assert isinstance(parser, Parser), "a parser has the methods parse_request() and encode_error()"

    def test_a_command_is_run_and_its_result_answered(
        self, parser: Parser, encode: Callable[[str, str], bytes], decode: Callable[[bytes], tuple[str, str]]
    ) -> None:
        assert decode(_answer(parser.parse_request({"data": encode("echo", "hello")}))) == ("0", "hello")
        assert decode(_answer(parser.parse_request({"data": encode("refuse", "")})))[0] == "7"

    def test_a_request_may_be_text(
        self, parser: Parser, encode: Callable[[str, str], bytes], decode: Callable[[bytes], tuple[str, str]]
    ) -> None:
        request = {"data": encode("echo", "hello").decode(), "a key of the exchange": 1}
        assert decode(_answer(parser.parse_request(request))) == ("0", "hello")

    @pytest.mark.parametrize("name", ["no-such-command", "crash", "invalid", "rubbish"])
    def test_a_failure_is_answered(
        self,
        parser: Parser,
        encode: Callable[[str, str], bytes],
        decode: Callable[[bytes], tuple[str, str]],
        name: str,
    ) -> None:
        code, _ = decode(_answer(parser.parse_request({"data": encode(name, "")})))
        assert code != "0", f"the failure of {name!r} looks like success"

    def test_a_structured_message_is_answered(
        self, parser: Parser, encode: Callable[[str, str], bytes], decode: Callable[[bytes], tuple[str, str]]
    ) -> None:
        assert decode(_answer(parser.parse_request({"data": encode("numbers", "")})))[0] == "0"

    def test_malformed_requests_are_answered(self, parser: Parser, decode: Callable[[bytes], tuple[str, str]]) -> None:
        for data in self.malformed:
            code, _ = decode(_answer(parser.parse_request({"data": data})))
            assert code != "0", f"{data[:20]!r} looks like success"

    def test_a_request_without_data_is_answered(
        self, parser: Parser, decode: Callable[[bytes], tuple[str, str]]
    ) -> None:
        for request in ({}, {"data": None}, {"data": 5}):
            assert decode(_answer(parser.parse_request(request)))[0] != "0"

    def test_an_error_can_be_encoded(self, parser: Parser, decode: Callable[[bytes], tuple[str, str]]) -> None:
        code, message = decode(_answer(parser.encode_error(500, "It is too large")))
        assert code != "0"
        assert "It is too large" in message


def _answer(response: Response | None) -> bytes:
    assert response is not None, "a request that can be answered was not"
    data = response["data"]
    return data.encode() if isinstance(data, str) else bytes(data)
