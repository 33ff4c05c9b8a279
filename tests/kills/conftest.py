"""What the tests with kills share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.kills.harness import Account, CountingAgent, XenHost
from tests.xen.harness import DAEMONS, Daemon, Guest, ProgramsMissingError, find_programs


class Place(NamedTuple):
    """A guest of a XenStore daemon, and the host's side."""

    agent: CountingAgent
    host: XenHost
    account: Account


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="ga-") as folder:
        yield Path(folder)


@pytest.fixture(params=DAEMONS)
def place(request: pytest.FixtureRequest, folder: Path) -> Iterator[Place]:
    """An agent that is not started, in a guest of each daemon."""
    try:
        programs = find_programs()
    except ProgramsMissingError as error:
        pytest.skip(str(error))
    (folder / "store").mkdir()
    with Daemon(request.param, folder / "store", programs) as daemon, Guest(daemon, 7) as guest:
        account, agent = Account(), CountingAgent(folder, guest.device)
        yield Place(agent, XenHost(daemon.socket, guest.home, account), account)
        agent.kill()
