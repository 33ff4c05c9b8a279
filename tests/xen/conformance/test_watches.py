"""Which events there are, when, and for whom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.xen.conformance.asking import Asker, Op
from tests.xen.conformance.conftest import Bed

OK = b"OK\0"


@pytest.fixture
def watcher(bed: Bed) -> Iterator[Asker]:
    """Domain 0, with a connection of its own."""
    with closing(Asker(bed.socket)) as asker:
        yield asker


@pytest.fixture
def guest_watching(bed: Bed) -> Iterator[Asker]:
    """The guest; its watches end with the test."""
    bed.guest.ask(Op.RESET_WATCHES, b"\0")
    bed.guest.events()
    yield bed.guest
    for path in (b"data/host", b"data", b"/local/domain/7/data", b"/t", b"/"):
        for token in (b"t", b"other"):
            bed.guest.ask(Op.UNWATCH, path + b"\0" + token + b"\0")
    bed.guest.events()


def watch(asker: Asker, path: bytes, token: bytes = b"t") -> None:
    assert asker.ask(Op.WATCH, path + b"\0" + token + b"\0") == OK
    assert asker.events() == [(path, token)]


def test_a_daemon_tells_of_a_new_watch_after_the_answer_and_a_kernel_before(
    watcher: Asker, guest_watching: Asker
) -> None:
    for asker, order in ((watcher, ["answer", "event"]), (guest_watching, ["event", "answer"])):
        asker.order.clear()
        watch(asker, b"data/host")
        assert asker.order == order


def test_what_is_at_or_below_is_told(bed: Bed, watcher: Asker) -> None:
    watch(watcher, b"/t")
    for op, content, told in (
        (Op.WRITE, b"/t\0x", [b"/t"]),
        (Op.WRITE, b"/t\0x", [b"/t"]),  # also when it is the same
        (Op.WRITE, b"/t/a/b/c\0x", [b"/t/a/b/c"]),  # once, whatever parents were made
        (Op.MKDIR, b"/t/a\0", []),
        (Op.MKDIR, b"/t/d/e\0", [b"/t/d/e"]),
        (Op.SET_PERMS, b"/t/d\0n0\0r7\0", [b"/t/d"]),
        (Op.READ, b"/t/d\0", []),
        (Op.RM, b"/t/none\0", []),
        (Op.RM, b"/t/a\0", [b"/t/a"]),  # not what was below it
        (Op.WRITE, b"/tt\0x", []),
        (Op.RM, b"/tt\0", []),
    ):
        bed.host.ask(op, content)
        assert watcher.events() == [(path, b"t") for path in told]


def test_what_goes_with_its_parent_is_told_to_those_who_watch_itself(bed: Bed, watcher: Asker) -> None:
    bed.host.ask(Op.WRITE, b"/t/a/b\0x")
    for path in (b"/t/a", b"/t/a/b", b"/t/a/b/none"):
        watch(watcher, path, path)
    watch(watcher, b"/t/none/none")
    bed.host.ask(Op.RM, b"/t\0")
    told = [(b"/t/a", b"/t/a"), (b"/t/a/b", b"/t/a/b")]
    if bed.is_oxenstored:
        told.append((b"/t/a/b/none", b"/t/a/b/none"))  # is not there, but the node above it was
    assert sorted(watcher.events()) == told


def test_paths_are_told_as_they_were_asked_for(bed: Bed, watcher: Asker, guest_watching: Asker) -> None:
    watch(guest_watching, b"data/host")
    watch(guest_watching, b"/local/domain/7/data")
    watch(watcher, b"/")
    bed.host.ask(Op.WRITE, b"/local/domain/7/data/host/one\0x")
    whole = b"/local/domain/7/data/host/one"
    assert sorted(guest_watching.events()) == [(whole, b"t"), (b"data/host/one", b"t")]
    assert watcher.events() == [(whole, b"t")]


def test_a_guest_is_told_of_what_it_may_read(bed: Bed, guest_watching: Asker) -> None:
    watch(guest_watching, b"/t")
    watch(guest_watching, b"/", b"other")  # C xenstored tells the same only once, while it is not taken
    bed.host.ask(Op.WRITE, b"/t/secret\0x")
    assert guest_watching.events() == []
    bed.host.ask(Op.WRITE, b"/t/open\0x")
    for permissions in (b"r0\0", b"n0\0", b"r0\0"):  # what is opened, and what is closed
        bed.host.ask(Op.SET_PERMS, b"/t/open\0" + permissions)
        assert sorted(guest_watching.events()) == [(b"/t/open", b"other"), (b"/t/open", b"t")]
    bed.host.ask(Op.WRITE, b"/t/open\0x")
    assert sorted(guest_watching.events()) == [(b"/t/open", b"other"), (b"/t/open", b"t")]
    bed.host.ask(Op.RM, b"/t/open\0")
    assert sorted(guest_watching.events()) == [(b"/t/open", b"other"), (b"/t/open", b"t")]


def test_one_pair_of_path_and_token_is_watched_once_unless_by_a_kernel(watcher: Asker, guest_watching: Asker) -> None:
    watch(watcher, b"/t")
    watch(watcher, b"/t", b"other")
    assert watcher.ask(Op.WATCH, b"/t\0t\0") == "EEXIST"
    watch(guest_watching, b"/t")
    watch(guest_watching, b"/t")
    watch(watcher, b"data")
    assert watcher.ask(Op.WATCH, b"/local/domain/0/data\0t\0") == "EEXIST"  # it is the same node
    watch(guest_watching, b"data")
    watch(guest_watching, b"/local/domain/7/data")
    assert watcher.ask(Op.UNWATCH, b"/t\0t\0") == OK
    assert watcher.ask(Op.UNWATCH, b"/t\0t\0") == "ENOENT"
    assert watcher.ask(Op.UNWATCH, b"/other\0t\0") == "ENOENT"


def test_what_is_not_watched_any_more_is_not_told(bed: Bed, watcher: Asker) -> None:
    watch(watcher, b"/t")
    watcher.ask(Op.UNWATCH, b"/t\0t\0")
    bed.host.ask(Op.WRITE, b"/t/a\0x")
    assert watcher.events() == []


def test_xenstored_tells_the_one_who_changes_something_first(bed: Bed, watcher: Asker) -> None:
    watch(watcher, b"/t")
    watcher.order.clear()
    watcher.ask(Op.WRITE, b"/t/a\0x")
    watcher.events()
    assert watcher.order == (["answer", "event"] if bed.is_oxenstored else ["event", "answer"])


def test_a_transaction_is_told_of_before_the_answer_to_its_end(bed: Bed, watcher: Asker) -> None:
    watch(watcher, b"/t")
    transaction = watcher.begin()
    watcher.ask(Op.WRITE, b"/t/a\0x", transaction)
    assert watcher.events() == []
    watcher.order.clear()
    assert watcher.commit(transaction) == OK
    assert watcher.events() == [(b"/t/a", b"t")]
    assert watcher.order == ["event", "answer"]


def test_only_the_host_is_told_of_domains(bed: Bed, watcher: Asker) -> None:
    for name in (b"@introduceDomain", b"@releaseDomain"):
        watch(watcher, name)
        assert watcher.ask(Op.UNWATCH, name + b"\0t\0") == OK
