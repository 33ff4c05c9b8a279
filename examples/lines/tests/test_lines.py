"""The parser, held to its contract; and what is its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from example_lines import LinesParser

from guestagent_core import CommandRunner
from guestagent_core.config import ChannelConfig, Config
from guestagent_core.testing import ParserContract, RunningAgent


class TestLines(ParserContract):
    entry_point = "lines"
    values = (*ParserContract.values, "two\nlines", "5", "null")

    @pytest.fixture
    def make_parser(self) -> Callable[[CommandRunner], LinesParser]:
        return LinesParser

    @pytest.fixture
    def encode(self) -> Callable[[str, str], bytes]:
        return lambda name, value: f"{name} {json.dumps(value)}\n".encode()

    @pytest.fixture
    def decode(self) -> Callable[[bytes], tuple[str, Any]]:
        def decode(data: bytes) -> tuple[str, Any]:
            assert b"\n" not in data
            kind, _, rest = data.decode().partition(" ")
            if kind == "ok":
                return "0", json.loads(rest)
            code, _, text = rest.partition(" ")
            return code, json.loads(text)

        return decode

    @pytest.mark.parametrize(
        ("line", "answer"),
        [
            (b"echo Hello there", b'ok "Hello there"'),
            (b"echo", b'ok ""'),
            (b"echo [1, 2]\r\n", b"ok [1, 2]"),
            (b"refuse", b'error 7 "not today"'),
            (b"coffee", b"error 404 \"No such agent command 'coffee'\""),
            (b"", b'error 400 "The line does not begin with the name of a command"'),
        ],
    )
    def test_a_person_can_type_it(self, parser: LinesParser, line: bytes, answer: bytes) -> None:
        assert parser.parse_request({"data": line}) == {"data": answer}


@pytest.fixture
def agent_config() -> Config:
    return Config(channel=(ChannelConfig("local", parser="lines", options={"framing": "line"}),))


def test_a_person_is_served(agent: RunningAgent) -> None:
    assert agent.request(b"version").startswith(b'ok "3.')
