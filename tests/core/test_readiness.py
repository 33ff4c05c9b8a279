"""The selector that changes its ways with the number of descriptors."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator

import pytest

from guestagent_core.readiness import READ, WRITE, AdaptiveSelector


@pytest.fixture
def selector() -> Iterator[AdaptiveSelector[int]]:
    selector: AdaptiveSelector[int] = AdaptiveSelector()
    yield selector
    selector.close()


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    pairs = [socket.socketpair() for _ in range(300)]
    yield pairs
    for pair in pairs:
        for end in pair:
            end.close()


def test_it_listens_alike_to_few_and_to_many(
    selector: AdaptiveSelector[int], pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    used_epoll = []
    for number, (reader, writer) in enumerate(pairs):
        selector.listen(reader.fileno(), READ, number)
        writer.send(b"x")
        used_epoll.append(selector._epoll is not None)
        if number % 50 == 0:
            assert len(selector) == number + 1
            assert sorted(selector.select(0)) == [(each, READ) for each in range(number + 1)]
    assert used_epoll == [number >= 256 for number in range(300)]

    for number, (reader, _) in enumerate(pairs[:-1]):
        if number % 2:
            selector.listen(reader.fileno(), WRITE, number)
            assert (number, WRITE) in selector.select(0)
        selector.listen(reader.fileno(), 0, number)
        selector.listen(reader.fileno(), 0, number)
    assert selector._epoll is None
    assert selector.select(0) == [(299, READ)]


@pytest.mark.parametrize("awaited", [READ, WRITE])
@pytest.mark.parametrize("many", [False, True])
def test_a_hang_up_is_ready_for_whatever_is_awaited(
    selector: AdaptiveSelector[int], pairs: list[tuple[socket.socket, socket.socket]], awaited: int, many: bool
) -> None:
    for number, (reader, _) in enumerate(pairs if many else pairs[:2]):
        selector.listen(reader.fileno(), awaited if number == 0 else READ, number)
    pairs[0][1].close()
    assert selector.select(None) == [(0, awaited)]


def test_without_a_descriptor_for_epoll_it_goes_on_polling(
    selector: AdaptiveSelector[int],
    pairs: list[tuple[socket.socket, socket.socket]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_more() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(select, "epoll", no_more)
    for number, (reader, writer) in enumerate(pairs):
        selector.listen(reader.fileno(), READ, number)
        writer.send(b"x")
    assert len(selector.select(0)) == 300
    monkeypatch.undo()
    selector.listen(pairs[0][0].fileno(), READ | WRITE, 0)
    assert (0, READ | WRITE) in selector.select(0)
    assert len(selector.select(0)) == 300


def test_a_timeout_lasts_as_long_as_it_says(selector: AdaptiveSelector[int]) -> None:
    started = time.monotonic()
    assert selector.select(0.0101) == []
    assert time.monotonic() - started >= 0.0101
