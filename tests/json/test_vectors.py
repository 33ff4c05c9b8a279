"""Requests as hosts send them, and the answers that the original agent gave; where it was wrong, what is right."""

from __future__ import annotations

import base64
import binascii
import json

import pytest

from guestagent_core import CommandBase, CommandError, CommandRegistry, CommandResult, command
from guestagent_json import JsonParser

NOT_FOUND = '{"message": "No such agent command \'%s\'", "returncode": "404"}'
MALFORMED = '{"message": "Request is malformed", "returncode": "500"}'
NO_NAME = '{"message": "Request is missing \'name\' key", "returncode": "500"}'
VERSION = '{"message": "1.39.1", "returncode": "0"}'


class Recorded(CommandBase):
    """Commands that answer as those of the original do to the recorded requests."""

    @command("version")
    def version(self, value: object) -> CommandResult:
        return CommandResult(0, "1.39.1")

    @command("keyinit", args=int)
    def keyinit(self, value: int) -> CommandResult:
        return CommandResult("D0", str(pow(5, 1, value)))

    @command("password", args=str)
    def password(self, value: str) -> CommandResult:
        try:
            base64.b64decode(value)
        except binascii.Error:
            raise CommandError("Couldn't decode base64 data") from None
        return CommandResult(500, "Password without key exchange")

    @command("fail")
    def fail(self, value: object) -> CommandResult:
        raise KeyError("activation_key")


@pytest.fixture
def parser() -> JsonParser:
    return JsonParser(CommandRegistry([Recorded]))


@pytest.mark.parametrize(
    ("request_text", "answer"),
    [
        # as recorded
        ('{"value":""}', NO_NAME),
        ("abc", MALFORMED),
        ('{"name": "<unknown_command>", "value": ""}', NOT_FOUND % "<unknown_command>"),
        ('{"name": "version"}', VERSION),
        ('{"name": "version", "value": {"a": 1}}', VERSION),
        ('{"name": "version", "value": "", "x": 1}', VERSION),
        ('{"name": "version", "value": "agent"}\r\n', VERSION),
        ('{"name": 5, "value": ""}', NOT_FOUND % "5"),
        (
            '{"name": "password", "value": "kjadfkjafAAA"}',
            '{"message": "Password without key exchange", "returncode": "500"}',
        ),
        (
            '{"name": "password", "value": "kjadfkjaf"}',
            '{"message": "Couldn\'t decode base64 data", "returncode": "500"}',
        ),
        ('{"name": "fail"}', '{"message": "\'activation_key\'", "returncode": "500"}'),
        ('{"name": "keyinit", "value": "7"}', '{"message": "5", "returncode": "D0"}'),
        # what the original did not answer at all
        ("[]", MALFORMED),
        ('"abc"', MALFORMED),
        ("null", MALFORMED),
        ("5", MALFORMED),
        ("", MALFORMED),
        ('{"name": "hé", "value": ""}', NOT_FOUND % "h\\u00e9"),
        # what it answered by chance, or not
        ('{"name": "version", "name": "other"}', NOT_FOUND % "other"),
        ('{"name": null}', NOT_FOUND % "None"),
        ('{"name": true}', NOT_FOUND % "True"),
        ('{"name": 1.5}', NOT_FOUND % "1.5"),
        ('{"name": ["version"]}', NOT_FOUND.replace("'%s'", "'['version']'")),
        ('{"name": ""}', NOT_FOUND % ""),
        ('{"name": "version", "value": NaN}', VERSION),
        ('{"name": "version", "value": "\\ud800"}', VERSION),
        ('{"name": "\\ud800"}', NOT_FOUND % "\\ud800"),
        ('\ufeff{"name": "version"}', MALFORMED),
        ('{"name": "version"} {"name": "version"}', MALFORMED),
        ("{'name': 'version'}", MALFORMED),
    ],
)
def test_requests_are_answered_to_the_byte(parser: JsonParser, request_text: str, answer: str) -> None:
    assert parser.parse_request({"data": request_text.encode()}) == {"data": answer.encode("ascii")}
    assert parser.parse_request({"data": request_text}) == {"data": answer.encode("ascii")}


@pytest.mark.parametrize("value", ['""', '"x"'])
def test_a_number_that_is_none_is_an_error(parser: JsonParser, value: str) -> None:
    answer = json.loads(parser.parse_request({"data": f'{{"name": "keyinit", "value": {value}}}'})["data"])
    assert answer["returncode"] == "500"
    assert "invalid literal" in answer["message"]


def test_an_exchange_without_data_gets_the_recorded_error(parser: JsonParser) -> None:
    answer = b'{"message": "Internal error with request", "returncode": "500"}'
    assert parser.parse_request({"path": "data/host/1"}) == {"data": answer}
    assert parser.parse_request({"data": 5}) == {"data": answer}
    assert parser.parse_request({"data": None}) == {"data": answer}
