"""Whatever three clients ask for, in whatever order: the real daemons and what plays them come to the same."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.xen.conformance.asking import Asker, Op
from tests.xen.conformance.conftest import REAL, Bed

from guestagent_xen.devstore import DevelopmentStore

OK = b"OK\0"
TIMES = int(os.environ.get("GUESTAGENT_EXAMPLES", "150"))
SETTINGS = settings(
    max_examples=TIMES,
    deadline=None,
    derandomize="GUESTAGENT_EXAMPLES" not in os.environ,  # the same in each run, unless somebody asks for more
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

WHO = ("host", "other", "guest")
PATHS = st.sampled_from(
    [
        *(b"/t", b"/t/a", b"/t/b", b"/t/a/x", b"/t/a/x/y", b"/t/none/x"),
        *(b"/local/domain/7/data", b"/local/domain/7/data/a", b"/local/domain/7/data/a/b", b"/local/domain/7/name"),
        *(b"data/a", b"data/b/c", b"/local/domain/0/data/a", b"/t/", b"a b"),
    ]
)
VALUES = st.sampled_from([b"", b"1", b"two", b"\0\xff", b"x" * 2015, b"x" * 2016, b"x" * 2048, b"x" * 2049])
PERMISSIONS = st.sampled_from([b"n0\0", b"r0\0", b"n0\0r7\0", b"n0\0b7\0", b"n7\0", b"b7\0r0\0", b"w0\0n7\0", b"q0\0"])


class Step(NamedTuple):
    """Something that one client asks."""

    who: str
    op: Op
    content: bytes
    inside: bool
    """Whether it is asked within the client's transaction, if there is one."""


def _step(op: Op, content: st.SearchStrategy[bytes]) -> st.SearchStrategy[Step]:
    return st.builds(Step, st.sampled_from(WHO), st.just(op), content, st.booleans())


def _joined(*parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.tuples(*parts).map(b"\0".join)


END = st.just(b"")
READING = [_step(op, _joined(PATHS, END)) for op in (Op.READ, Op.DIRECTORY, Op.GET_PERMS)]
CHANGING = [
    *(_step(Op.WRITE, _joined(PATHS, VALUES)) for _ in range(3)),
    *(_step(op, _joined(PATHS, END)) for op in (Op.MKDIR, Op.RM, Op.RM)),
    _step(Op.SET_PERMS, _joined(PATHS, PERMISSIONS)),
]
STEPS = [
    *READING,
    *CHANGING,
    _step(Op.TRANSACTION_START, st.just(b"\0")),
    _step(Op.TRANSACTION_START, st.just(b"\0")),
    _step(Op.TRANSACTION_END, st.sampled_from([b"T\0", b"T\0", b"F\0"])),
    *(
        # Not within a transaction, which oxenstored answers as if it were none.
        st.builds(
            Step, st.sampled_from(WHO), st.just(op), _joined(PATHS, st.sampled_from([b"t", b"u"]), END), st.just(False)
        )
        for op in (Op.WATCH, Op.WATCH, Op.UNWATCH)
    ),
]


class Clients:
    """The three clients of one store, and their open transactions."""

    def __init__(self, socket: Path, device: Path) -> None:
        self._stack = ExitStack()
        self.askers = {
            who: self._stack.enter_context(closing(Asker(device if who == "guest" else socket))) for who in WHO
        }
        self.open: dict[str, int] = {}
        self.watches: set[tuple[str, bytes]] = set()

    def close(self) -> None:
        self._stack.close()

    def clean(self) -> None:
        """Brings the store back to the same state."""
        for who in list(self.open):
            self.askers[who].ask(Op.TRANSACTION_END, b"F\0", self.open.pop(who))
        for who, content in self.watches:
            self.askers[who].ask(Op.UNWATCH, content)
        self.watches.clear()
        host = self.askers["host"]
        for path, permissions in ((b"/t", b"n0\0"), (b"/local/domain/7/data", b"n7\0")):
            host.ask(Op.RM, path + b"\0")
            host.ask(Op.MKDIR, path + b"\0")
            host.ask(Op.SET_PERMS, path + b"\0" + permissions)
        host.ask(Op.RM, b"/local/domain/0/data\0")
        host.ask(Op.WRITE, b"/local/domain/7/name\0guest7")
        host.ask(Op.SET_PERMS, b"/local/domain/7/name\0n0\0r7\0")
        for asker in self.askers.values():
            asker.events()

    def take(self, step: Step) -> Any:
        """Returns what a step comes to: the answer, and whom it tells of what."""
        asker = self.askers[step.who]
        transaction = self.open.get(step.who, 0) if step.inside or step.op == Op.TRANSACTION_END else 0
        answer: Any = asker.ask(step.op, step.content, transaction)
        if step.op == Op.TRANSACTION_START and isinstance(answer, bytes):
            if step.who in self.open:  # one at a time
                asker.ask(Op.TRANSACTION_END, b"F\0", self.open[step.who])
            self.open[step.who] = int(answer.rstrip(b"\0"))
            answer = "started"  # the numbers are the daemon's matter
        elif step.op == Op.TRANSACTION_END and transaction:
            del self.open[step.who]
        elif step.op == Op.WATCH:
            self.watches.add((step.who, step.content))
        # C xenstored leaves out what is told already and not taken yet, which depends on time: hence sets.
        return answer, {who: sorted(set(each.events())) for who, each in self.askers.items()}


@pytest.fixture(scope="module")
def clients(bed: Bed) -> Iterator[Clients]:
    with closing(Clients(bed.socket, bed.device)) as opened:
        yield opened


@pytest.fixture(scope="module")
def played(bed: Bed) -> Iterator[Clients]:
    """The same daemon, played."""
    with tempfile.TemporaryDirectory(prefix="ga-") as folder:
        with DevelopmentStore(Path(folder, "socket"), daemon=bed.daemon) as store:  # type: ignore[arg-type]
            with closing(Clients(store.path, store.add_guest(7))) as opened:
                yield opened


@pytest.mark.parametrize("bed", REAL, indirect=True, scope="module")
@SETTINGS
@given(steps=st.lists(st.one_of(STEPS), min_size=1, max_size=25))
def test_it_is_as_the_development_store_plays_it(clients: Clients, played: Clients, steps: list[Step]) -> None:
    clients.clean()
    played.clean()
    for number, step in enumerate(steps):
        assert clients.take(step) == played.take(step), f"step {number + 1} of {steps}"


@SETTINGS
@given(steps=st.lists(st.one_of(*READING, *CHANGING), max_size=15), gives_up=st.booleans())
def test_a_transaction_comes_to_what_its_steps_come_to_alone(
    bed: Bed, clients: Clients, played: Clients, steps: list[Step], gives_up: bool
) -> None:
    clients.clean()
    played.clean()
    transaction = clients.askers["guest"].begin()
    full = False
    for step in steps:
        if bed.is_oxenstored and step.op == Op.WRITE and len(step.content) > 2048:
            continue  # too large, but its parents are made, and lost with a transaction that does nothing else
        inside = clients.askers["guest"].ask(step.op, step.content, transaction)
        alone = played.askers["guest"].ask(step.op, step.content)
        assert inside == alone
        full = full or alone == "ENOSPC"
    end = clients.askers["guest"].ask(Op.TRANSACTION_END, b"F\0" if gives_up else b"T\0", transaction)
    assert end == ("ENOMEM" if full and not gives_up else OK)
    if gives_up or full:
        played.clean()
    for path in (b"/t", b"/t/a", b"/local/domain/7/data", b"/local/domain/7/data/a", b"/local/domain/7/data/b/c"):
        for op in (Op.READ, Op.DIRECTORY, Op.GET_PERMS):
            assert clients.askers["host"].ask(op, path + b"\0") == played.askers["host"].ask(op, path + b"\0")
