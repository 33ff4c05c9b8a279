"""The selector that changes its ways with the number of descriptors."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator

import pytest

from guestagent_core.readiness import AdaptiveSelector


@pytest.fixture
def selector() -> Iterator[AdaptiveSelector]:
    selector = AdaptiveSelector()
    yield selector
    selector.close()


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    pairs = [socket.socketpair() for _ in range(300)]
    yield pairs
    for pair in pairs:
        for end in pair:
            end.close()


def ready(selector: AdaptiveSelector) -> set[tuple[object, int]]:
    return {(key.data, events) for key, events in selector.select(0)}


def test_it_listens_alike_to_few_and_to_many(
    selector: AdaptiveSelector, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    kinds = []
    for number, (reader, writer) in enumerate(pairs):
        selector.register(reader, selectors.EVENT_READ, number)
        writer.send(b"x")
        kinds.append(type(selector._selector))
        if number % 50 == 0:
            assert ready(selector) == {(each, selectors.EVENT_READ) for each in range(number + 1)}
    assert kinds[0] is selectors.PollSelector
    assert kinds[-1] is selectors.DefaultSelector
    assert len(set(kinds)) == 2
    assert len(selector.registered()) == 300

    for number, (reader, _) in enumerate(pairs[:-1]):
        if number % 2:
            selector.modify(reader, selectors.EVENT_WRITE, number)
            assert (number, selectors.EVENT_WRITE) in ready(selector)
        selector.unregister(reader)
    assert type(selector._selector) is selectors.PollSelector
    assert ready(selector) == {(299, selectors.EVENT_READ)}


def test_a_timeout_without_anything_ready_is_nothing(selector: AdaptiveSelector) -> None:
    assert selector.select(0.01) == []
