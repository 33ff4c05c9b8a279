"""Framing: which messages a stream holds, wherever it is split, and what becomes of messages that are too large."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from guestagent_core.errors import ExchangeError
from guestagent_core.framing import FRAMERS, Framer, JsonFramer, LineFramer

PLENTY = 1024 * 1024
TOO_LARGE = None  # stands for the error in the lists of frames below

untimed = settings(deadline=None)
thorough = settings(deadline=None, max_examples=300)
framings = st.sampled_from(sorted(FRAMERS))
# What either framing gives a meaning to, and something that has none.
streams = st.lists(st.sampled_from([*b'{}[]"\\\n\r \ta\xff']), max_size=60).map(bytes)
scalars = st.none() | st.booleans() | st.integers() | st.text(alphabet='{}[]"\\\n\r\0 aß€') | st.text(max_size=5)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(scalars.map(str), inner), max_leaves=5)
objects = st.builds(
    lambda value, indent, escape: json.dumps(value, indent=indent, ensure_ascii=escape).encode(errors="replace"),
    st.dictionaries(scalars.map(str), values, max_size=2),
    st.sampled_from([None, 2]),
    st.booleans(),
)


def cut(framer: Framer, pieces: Iterable[bytes]) -> list[bytes | None]:
    """Returns the messages of a stream that comes in ``pieces`` and then ends."""
    frames = [frame for piece in pieces for frame in framer.feed(piece)] + framer.finish()
    return [TOO_LARGE if isinstance(frame, ExchangeError) else frame for frame in frames]


def split(stream: bytes, positions: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(positions), len(stream)]
    return [stream[begin:end] for begin, end in itertools.pairwise(edges)]


def bytewise(stream: bytes) -> list[bytes]:
    return [stream[position : position + 1] for position in range(len(stream))]


@pytest.mark.parametrize(
    ("stream", "messages"),
    [
        pytest.param(b"", [], id="an empty stream"),
        pytest.param(b'{"a": 1}', [b'{"a": 1}'], id="an object needs no newline"),
        pytest.param(b'{"a": 1}\n', [b'{"a": 1}'], id="a newline behind an object is no message"),
        pytest.param(b'{"a": 1}{"b": 2} {"c": 3}', [b'{"a": 1}', b'{"b": 2}', b'{"c": 3}'], id="several in one packet"),
        pytest.param(b'{"a":\n {"b": 2\r\n}}', [b'{"a":\n {"b": 2\r\n}}'], id="newlines inside an object"),
        pytest.param(b'{"a": "}{"}', [b'{"a": "}{"}'], id="braces inside a string"),
        pytest.param(rb'{"a": "\"}"}', [rb'{"a": "\"}"}'], id="an escaped quote"),
        pytest.param(rb'{"a": "\\"}{}', [rb'{"a": "\\"}', b"{}"], id="an escaped backslash"),
        pytest.param(b"\n \r\n\t\n{}\n\n{}\n \n", [b"{}", b"{}"], id="blank lines"),
        pytest.param(b"hello?\r\n{}", [b"hello?", b"{}"], id="what is no object is a line"),
        pytest.param(b'"{" {}\n', [b'"{" {}'], id="a line may begin with a string"),
        pytest.param(b"}\n{}", [b"}", b"{}"], id="a brace that closes nothing"),
        pytest.param(b'[{"a": 1}]\n', [b'[{"a": 1}]'], id="an object in an array is one message"),
        pytest.param(b'[ [ {"a": 1} ] ]\n{}', [b'[ [ {"a": 1} ] ]', b"{}"], id="an object in arrays is one message"),
        pytest.param(b"[]{}]\n]{}]\n", [b"[]{}", b"]", b"]{}", b"]"], id="brackets that are not around the object"),
        pytest.param(b"[{}, {}]{}", [b"[{}, {}]", b"{}"], id="an array of objects is one message"),
        pytest.param(b"[1, 2]\n{}", [b"[1, 2]", b"{}"], id="an array without an object is a line"),
        pytest.param(b"[{}\n]\n", [b"[{}", b"]"], id="a bracket on the next line is a message of its own"),
        pytest.param(b'{"a": "x\n{}', [b'{"a": "x', b"{}"], id="a newline inside a string ends a malformed message"),
        pytest.param(b'{"a": "x\ny"}', [b'{"a": "x', b'y"}'], id="even where the string goes on behind it"),
        pytest.param(b'{"a": "x\\\n{}', [b'{"a": "x\\', b"{}"], id="an escaped newline does too"),
        pytest.param(b'{}{"a": ', [b"{}", b'{"a":'], id="the end of the stream ends a message"),
        pytest.param(b'"a\\', [b'"a\\'], id="the end may follow a backslash"),
    ],
)
def test_json_messages(stream: bytes, messages: list[bytes]) -> None:
    assert cut(JsonFramer(PLENTY), [stream]) == messages
    assert cut(JsonFramer(PLENTY), bytewise(stream)) == messages


@pytest.mark.parametrize(
    ("stream", "messages"),
    [
        pytest.param(b"", [], id="an empty stream"),
        pytest.param(b"a\nb\r\nc", [b"a", b"b", b"c"], id="either end of line, and the end of the stream"),
        pytest.param(b'{"a":\n1}\n', [b'{"a":', b"1}"], id="an object over two lines is two messages"),
        pytest.param(b"{}{}\n", [b"{}{}"], id="two objects in a line are one message"),
        pytest.param(b"\n\r\na\n", [b"", b"", b"a"], id="blank lines are messages"),
        pytest.param(b"a\rb\r\r\n", [b"a\rb\r"], id="other carriage returns belong to the line"),
    ],
)
def test_line_messages(stream: bytes, messages: list[bytes]) -> None:
    assert cut(LineFramer(PLENTY), [stream]) == messages
    assert cut(LineFramer(PLENTY), bytewise(stream)) == messages


@pytest.mark.parametrize("framing", FRAMERS)
def test_a_message_is_handed_out_as_soon_as_it_is_complete(framing: str) -> None:
    framer = FRAMERS[framing](PLENTY)
    assert framer.feed(b'{"a": ') == []
    assert framer.feed(b"1}\n{") == [b'{"a": 1}']
    assert framer.feed(b"}\n") == [b"{}"]


def test_an_object_is_handed_out_at_its_closing_brace() -> None:
    framer = JsonFramer(PLENTY)
    assert framer.feed(b'{"a": {}') == []
    assert framer.feed(b"}") == [b'{"a": {}}']


@thorough
@given(framings, streams, st.integers(1, 6) | st.just(PLENTY), st.data())
def test_a_split_changes_nothing(framing: str, stream: bytes, limit: int, data: st.DataObject) -> None:
    pieces = split(stream, data.draw(st.lists(st.integers(0, len(stream)))))
    assert cut(FRAMERS[framing](limit), pieces) == cut(FRAMERS[framing](limit), [stream])


@thorough
@given(framings, streams, st.integers(1, 6) | st.just(PLENTY))
def test_bytes_that_come_one_by_one_make_the_same_messages(framing: str, stream: bytes, limit: int) -> None:
    assert cut(FRAMERS[framing](limit), bytewise(stream)) == cut(FRAMERS[framing](limit), [stream])


@thorough
@given(framings, streams, st.integers(1, 6), st.data())
def test_no_message_is_larger_than_the_limit(framing: str, stream: bytes, limit: int, data: st.DataObject) -> None:
    pieces = split(stream, data.draw(st.lists(st.integers(0, len(stream)))))
    assert all(message is TOO_LARGE or len(message) <= limit for message in cut(FRAMERS[framing](limit), pieces))


@untimed
@given(
    st.lists(st.tuples(objects, st.sampled_from([b"", b"\n", b" ", b"\r\n\n"])), max_size=4),
    st.integers(1, 60),
    st.data(),
)
def test_json_objects_come_out_one_by_one(parts: list[tuple[bytes, bytes]], limit: int, data: st.DataObject) -> None:
    stream = b"".join(text + separator for text, separator in parts)
    pieces = split(stream, data.draw(st.lists(st.integers(0, len(stream)))))
    expected = [text if len(text) <= limit else TOO_LARGE for text, _ in parts]
    assert cut(JsonFramer(limit), pieces) == expected
    assert cut(JsonFramer(PLENTY), pieces) == [text for text, _ in parts]


@thorough
@given(streams)
@example(b'[{"a"}]]\n')
def test_json_framing_loses_and_invents_nothing_but_what_stands_between_messages(stream: bytes) -> None:
    between = b" \t\r\n]"
    messages = cut(JsonFramer(PLENTY), [stream])
    assert b"".join(message or b"" for message in messages).translate(None, between) == stream.translate(None, between)
    assert all(message and message == message.strip(b" \t\r\n") for message in messages)


@thorough
@given(streams, st.integers(1, 6) | st.just(PLENTY))
def test_line_framing_is_a_split_at_newlines(stream: bytes, limit: int) -> None:
    *lines, rest = stream.split(b"\n")
    if rest:
        lines.append(rest)
    messages = [line.removesuffix(b"\r") for line in lines]
    assert cut(LineFramer(limit), [stream]) == [line if len(line) <= limit else TOO_LARGE for line in messages]


@pytest.mark.parametrize("framing", FRAMERS)
def test_a_message_of_just_the_limit_is_handed_out_and_one_byte_more_is_not(framing: str) -> None:
    assert cut(FRAMERS[framing](8), [b'{"a": 1}\n{"a": 10}\n{"b": 2}\n']) == [b'{"a": 1}', TOO_LARGE, b'{"b": 2}']


def test_the_error_tells_the_limit() -> None:
    (error,) = JsonFramer(8).feed(b'{"a": 10}')
    assert isinstance(error, ExchangeError)
    assert str(error) == "The request is larger than 8 bytes"


@pytest.mark.parametrize("framing", FRAMERS)
def test_a_message_that_is_too_large_is_reported_once_and_before_it_ends(framing: str) -> None:
    framer = FRAMERS[framing](8)
    (error,) = framer.feed(b'{"a": "xxxxxxxx')
    assert isinstance(error, ExchangeError)
    assert framer.feed(b"xxxxxxxxxxxxxxxx") == []
    assert framer.feed(b'"}\n{}\n') == [b"{}"]


@pytest.mark.parametrize("framing", FRAMERS)
@pytest.mark.parametrize("filler", [b"x", b"{", b'"', b"\\", b'"\\'], ids=repr)
def test_a_message_that_never_ends_takes_no_memory(framing: str, filler: bytes) -> None:
    framer = FRAMERS[framing](1024)
    piece = filler * (1024 // len(filler))
    framer.feed(b"{")
    tracemalloc.start()
    try:
        frames = [frame for _ in range(64) for frame in framer.feed(piece)]
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(frames) == 1
    assert kept < 16 * 1024


@pytest.mark.parametrize("framing", FRAMERS)
def test_the_end_of_the_stream_adds_nothing_to_a_message_that_was_too_large(framing: str) -> None:
    assert cut(FRAMERS[framing](8), [b"x" * 10, b"yyy"]) == [TOO_LARGE]


@pytest.mark.parametrize("framing", FRAMERS)
def test_the_newline_that_ends_a_message_that_was_too_large_may_come_later(framing: str) -> None:
    assert cut(FRAMERS[framing](8), [b"x" * 10, b"\n{}\n"]) == [TOO_LARGE, b"{}"]


def test_the_limit_of_a_line_does_not_count_its_end() -> None:
    assert cut(LineFramer(8), [b"12345678\r", b"\n"]) == [b"12345678"]
