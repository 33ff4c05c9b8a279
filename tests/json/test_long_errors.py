"""An error keeps its code however long its text is: a host's store has some 2 kB for an answer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestagent_core import CommandBase, CommandError, CommandRegistry, CommandResult, CommandTimeoutError, command
from guestagent_json import JsonParser

ROOM = 1900  # bytes


class Failing(CommandBase):
    @command("fail")
    def fail(self, value: str) -> CommandResult:
        raise CommandError(value)

    @command("late")
    def late(self, value: str) -> CommandResult:
        raise CommandTimeoutError(value)

    @command("failed")
    def failed(self, value: str) -> tuple[int, str]:
        return 500, value


PARSER = JsonParser(CommandRegistry([Failing]))


def answer(name: str, value: str = "") -> tuple[str, str, int]:
    data = PARSER.parse_request({"data": json.dumps({"name": name, "value": value})})["data"]
    told = json.loads(data)
    return told["returncode"], told["message"], len(data)


@pytest.mark.parametrize(("name", "code"), [("fail", "500"), ("late", "504"), ("failed", "500")])
@pytest.mark.parametrize("character", ["x", "é", "\0", "𝄞", '"', "\ud800"])
def test_a_text_that_does_not_fit_is_cut(name: str, code: str, character: str) -> None:
    returned, message, size = answer(name, character * 5000)
    assert (returned, size <= ROOM) == (code, True)
    assert message.endswith("...")
    assert set(message[:-3]) == {character}


def test_an_unknown_command_with_a_long_name_is_unknown() -> None:
    returned, message, size = answer("n" * 3500)
    assert (returned, size <= ROOM) == ("404", True)
    assert message.startswith("No such agent command 'nnn")


@given(st.text(max_size=2500))
def test_what_fits_is_whole_and_what_does_not_is_its_beginning(text: str) -> None:
    _, message, size = answer("fail", text)
    whole = len(json.dumps({"message": text, "returncode": "500"}))
    assert size <= ROOM
    assert message == text if whole <= ROOM - 70 else text.startswith(message.removesuffix("..."))


@pytest.mark.parametrize("code", [0, "0", "D0", 200])
def test_a_success_is_never_cut(code: int | str) -> None:
    class Long(CommandBase):
        @command("long")
        def long(self, value: object) -> tuple[int | str, str]:
            return code, "x" * 9000

    data = JsonParser(CommandRegistry([Long])).parse_request({"data": '{"name": "long"}'})["data"]
    assert json.loads(data)["message"] == "x" * 9000
