"""Each test here runs on both daemons; those that take ``place`` run as domain 0 and as a guest."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.xen.harness import DAEMONS, Daemon, Guest, Programs, ProgramsMissingError, find_programs


@dataclass(frozen=True)
class Place:
    """Where an agent is."""

    daemon: Daemon
    way: Path
    """The socket of the daemon, or the device of a guest."""
    home: str
    """The path that relative ones are below."""
    guest: Guest | None
    """None: domain 0."""


@pytest.fixture(scope="session")
def programs() -> Programs:
    """What the harness runs."""
    try:
        return find_programs()
    except ProgramsMissingError as error:
        pytest.skip(str(error))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets, which that of tmp_path need not be."""
    with tempfile.TemporaryDirectory(prefix="ga-") as name:
        yield Path(name)


@pytest.fixture(params=DAEMONS)
def daemon(request: pytest.FixtureRequest, programs: Programs, folder: Path) -> Iterator[Daemon]:
    """A daemon that has just been started."""
    (folder / "store").mkdir()
    with Daemon(request.param, folder / "store", programs) as running:
        yield running


@pytest.fixture
def guest(daemon: Daemon) -> Iterator[Guest]:
    """Domain 7."""
    with Guest(daemon, 7) as running:
        yield running


@pytest.fixture(params=("domain0", "guest"))
def place(request: pytest.FixtureRequest, daemon: Daemon) -> Iterator[Place]:
    """Domain 0, by the daemon's socket, and then domain 7, by its device."""
    with ExitStack() as stack:
        if request.param == "domain0":
            yield Place(daemon, daemon.socket, "/local/domain/0", None)
        else:
            guest = stack.enter_context(Guest(daemon, 7))
            yield Place(daemon, guest.device, guest.home, guest)
