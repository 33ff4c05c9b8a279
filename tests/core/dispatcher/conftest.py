"""A dispatcher that runs, with an exchange in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from guestagent_core import ChannelRunner, CommandRegistry
from guestagent_core.testing import MemoryExchange
from guestagent_json import JsonParser

from .gates import Gates, Running


@pytest.fixture
def exchange() -> MemoryExchange:
    return MemoryExchange()


@pytest.fixture
def registry() -> CommandRegistry:
    return CommandRegistry([Gates])


@pytest.fixture
def gates(registry: CommandRegistry) -> Gates:
    pack = registry._entries["slow"].pack
    assert isinstance(pack, Gates)
    return pack


@pytest.fixture
def running(exchange: MemoryExchange, registry: CommandRegistry, gates: Gates) -> Iterator[Running]:
    running = Running(exchange, JsonParser(ChannelRunner(registry)))
    yield running
    gates.opened.set()
    running.end()
