"""One suite for the development store and for the daemons that it plays: what holds for one holds for the other."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.xen.conformance.asking import Asker, Op
from tests.xen.harness import DAEMONS, Daemon, Guest, ProgramsMissingError, find_programs

from guestagent_xen.devstore import DevelopmentStore

__all__ = ("REAL", "Bed")


@dataclass(frozen=True)
class Bed:
    """A store of one kind with one guest, domain 7, and clients of both."""

    daemon: str
    """Which of the two it is, or plays."""
    is_real: bool
    socket: Path
    device: Path
    host: Asker
    other: Asker
    """Domain 0 too, by a connection of its own."""
    guest: Asker

    @property
    def is_oxenstored(self) -> bool:
        return self.daemon == "oxenstored"

    def clean(self) -> None:
        """Takes away what tests make."""
        self.host.ask(Op.RM, b"/t\0")
        self.host.ask(Op.RM, b"/local/domain/7/data\0")
        self.host.ask(Op.MKDIR, b"/local/domain/7/data\0")
        self.host.ask(Op.SET_PERMS, b"/local/domain/7/data\0n7\0")


PLAYED = [pytest.param((name, False), id=f"played-{name}") for name in DAEMONS]
REAL = [pytest.param((name, True), id=name, marks=pytest.mark.real) for name in DAEMONS]


@pytest.fixture(scope="session")
def conformance_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ga-") as name:
        yield Path(name)


@pytest.fixture(scope="module", params=[*PLAYED, *REAL])
def bed(request: pytest.FixtureRequest, conformance_folder: Path) -> Iterator[Bed]:
    """Each kind of store in turn; the tests of a file share it."""
    daemon, is_real = request.param
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=conformance_folder)))
        if is_real:
            try:
                running = stack.enter_context(Daemon(daemon, folder, find_programs()))
            except ProgramsMissingError as error:
                pytest.skip(str(error))
            socket, device = running.socket, stack.enter_context(Guest(running, 7)).device
        else:
            store = stack.enter_context(DevelopmentStore(folder / "socket", daemon=daemon))
            socket, device = store.path, store.add_guest(7)
        host, other, guest = (stack.enter_context(closing(Asker(path))) for path in (socket, socket, device))
        yield Bed(daemon, is_real, socket, device, host, other, guest)


@pytest.fixture(autouse=True)
def _clean(bed: Bed) -> None:
    bed.clean()
