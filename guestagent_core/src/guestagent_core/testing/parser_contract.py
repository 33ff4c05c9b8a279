"""What every parser has to keep."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import pytest

from guestagent_core.commands import CommandResult
from guestagent_core.errors import CommandDeniedError, CommandNotFoundError, CommandTimeoutError, InvalidArgumentError
from guestagent_core.protocols import CommandRunner, Parser, Response

from .contract import Contract

__all__ = ("ParserContract",)

Encode = Callable[[str, str], bytes]
Decode = Callable[[bytes], tuple[str, str]]


class _Stop(BaseException):
    """Stands for what ends a program, or abandons a call while the agent stops."""


class _UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("has no text")


_FAILURES: dict[str, BaseException] = {
    "invalid": InvalidArgumentError("that cannot be"),
    "deny": CommandDeniedError("not here"),
    "late": CommandTimeoutError("too slow"),
    "crash": ZeroDivisionError("crashed for the test"),
    "unprintable": _UnprintableError(),
    "stop": _Stop(),
}


class _Runner:
    """Knows the commands that the clauses ask for."""

    def run_command(self, name: str, value: Any = "") -> CommandResult:
        if name == "echo":
            return CommandResult(0, value)
        if name == "numbers":
            return CommandResult(0, {"one": 1, "many": [2.5, None, True]})
        if name == "refuse":
            return CommandResult(7, "not today")
        if name == "rubbish":
            return CommandResult(0, object())
        if name in _FAILURES:
            raise _FAILURES[name]
        raise CommandNotFoundError(name)


class ParserContract(Contract):
    """The clauses of :class:`~guestagent_core.protocols.Parser`; a vendor's test gives the fixtures.

    - ``make_parser``: a function of a runner that returns a new parser.
    - ``encode``: a function of a command's name and a value (a str) that returns the bytes of the request.
    - ``decode``: a function of an answer's bytes that returns its code, as a str, and its message.
    """

    group = "guestagent.parsers"
    malformed: ClassVar[tuple[bytes, ...]] = (b"", b"\0", b"\xff\xfe", b"{", b"[" * 100_000, b"\n", b"9" * 100_000)
    """What no request looks like."""
    values: ClassVar[tuple[str, ...]] = ("hello", "two words", "Grüße", 'quotes " and \\', "")
    """Values that the wire has to carry as they are, there and back."""

    @pytest.fixture
    def parser(self, make_parser: Callable[[CommandRunner], Parser]) -> Parser:
        """A parser whose runner knows what the clauses ask for."""
        return make_parser(_Runner())

    def test_it_is_a_parser(self, parser: Parser) -> None:
        """A parser has the methods ``parse_request(request)`` and ``encode_error(code, message)``.

        It is built with an object that has ``run_command(name, value)``.
        """
        assert isinstance(parser, Parser), "parse_request() or encode_error() is missing"

    def test_a_command_is_run_and_its_result_answered(self, parser: Parser, encode: Encode, decode: Decode) -> None:
        """A command is run with the value of the request, and what it answers goes to the host.

        Encode the code and the message of what ``run_command(name, value)`` returns; a code other than 0 too.
        """
        for value in self.values:
            assert decode(_ask(parser, encode("echo", value))) == ("0", value)
        code, message = decode(_ask(parser, encode("refuse", "")))
        assert code == "7", f"a command answered the code 7, and the host got {code}"
        assert message == "not today"

    def test_a_request_may_be_text(self, parser: Parser, encode: Encode, decode: Decode) -> None:
        """The data of a request may be a str, which means UTF-8, and the request may have keys of the exchange.

        Encode it: ``data.encode() if isinstance(data, str) else bytes(data)``.
        """
        request = {"data": encode("echo", "hello").decode(), "a key of the exchange": 1}
        assert decode(_answer(parser, request)) == ("0", "hello")

    @pytest.mark.parametrize("name", ["no-such-command", "crash", "invalid", "deny", "late", "rubbish", "unprintable"])
    def test_a_failure_is_answered(self, parser: Parser, encode: Encode, decode: Decode, name: str) -> None:
        """Whatever a command raises is answered, with a code that tells of a failure; nothing is raised.

        Catch ``Exception`` around everything, and answer a result that the wire cannot hold, or an error that has no
        text, with an error too.
        """
        code, _ = decode(_ask(parser, encode(name, "")))
        assert code != "0", f"the failure of {name!r} looks like success"

    def test_what_ends_a_program_passes_through(self, parser: Parser, encode: Encode) -> None:
        """What is no ``Exception`` passes through the parser: it ends the program, or a call that is given up.

        Catch ``Exception``, and neither ``BaseException`` nor everything.
        """
        try:
            parser.parse_request({"data": encode("stop", "")})
        except _Stop:
            return
        raise AssertionError("the parser caught a BaseException that is no Exception")

    def test_a_structured_message_is_answered(self, parser: Parser, encode: Encode, decode: Decode) -> None:
        """A message may be any JSON value.

        A wire that has only text gets anything but a str as JSON text.
        """
        assert decode(_ask(parser, encode("numbers", "")))[0] == "0"

    def test_malformed_requests_are_answered(self, parser: Parser, decode: Decode) -> None:
        """What is no request is answered, with a code that tells of a failure; nothing is raised.

        Catch what decoding raises: UnicodeDecodeError, RecursionError and all others.
        """
        for data in self.malformed:
            code, _ = decode(_ask(parser, data))
            assert code != "0", f"{data[:20]!r} looks like success"

    def test_a_request_without_data_is_answered(self, parser: Parser, decode: Decode) -> None:
        """A request whose data is missing, or is neither bytes nor str, is answered as malformed.

        Use ``request.get("data")`` and check its type.
        """
        for request in ({}, {"data": None}, {"data": 5}):
            assert decode(_answer(parser, request))[0] != "0", f"{request!r} looks like success"

    def test_an_error_can_be_encoded(self, parser: Parser, decode: Decode) -> None:
        """``encode_error(code, message)`` returns an answer that says ``message``, with a code that is not 0.

        The dispatcher answers with it what never was a request, and what is too large.
        """
        code, message = decode(_data(parser.encode_error(500, "It is too large")))
        assert code != "0", "an error looks like success"
        assert "It is too large" in message

    def test_several_threads_may_ask_at_once(self, parser: Parser, encode: Encode, decode: Decode) -> None:
        """A parser is entered by several threads at once, and mixes nothing up.

        Keep what belongs to a request in local variables, and not in the parser.
        """
        questions = [encode("echo", f"{number}" * 50) for number in range(8)]
        for _ in range(20):
            answers = self.at_once([partial(_ask, parser, data) for data in questions], "parse_request() hangs")
            for number, answer in enumerate(answers):
                assert decode(answer) == ("0", f"{number}" * 50), "an answer belongs to another request"

    def test_it_is_found_by_its_entry_point(self, parser: Parser) -> None:
        """The installed package offers the parser by its entry point.

        Name the class in ``[project.entry-points."guestagent.parsers"]`` and install the package anew.
        """
        from guestagent_core.discovery import load

        plugin = self.offered()
        found = load(plugin)
        assert callable(found), f"{plugin.entry_point.value} is nothing that a parser could be built by"
        if isinstance(found, type):
            assert isinstance(parser, found), f"{plugin.entry_point.value} is not what this test tests"


def _ask(parser: Parser, data: bytes) -> bytes:
    return _answer(parser, {"data": data})


def _answer(parser: Parser, request: dict[str, Any]) -> bytes:
    try:
        response = parser.parse_request(request)
    except Exception as error:
        raise AssertionError(f"parse_request() raised {type(error).__name__} instead of answering") from error
    return _data(response)


def _data(response: Response | None) -> bytes:
    assert response is not None, "a request that can be answered was not"
    data = response["data"]
    return data.encode() if isinstance(data, str) else bytes(data)
