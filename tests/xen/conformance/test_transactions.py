"""What transactions see, and what is a conflict: there the two daemons differ most."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.xen.conformance.asking import Op
from tests.xen.conformance.conftest import Bed

OK = b"OK\0"
Question = tuple[int, bytes]


def write(name: bytes, value: bytes = b"1") -> Question:
    return Op.WRITE, b"/t/" + name + b"\0" + value


def read(name: bytes) -> Question:
    return Op.READ, b"/t/" + name + b"\0"


def remove(name: bytes) -> Question:
    return Op.RM, b"/t/" + name + b"\0"


LIST: Question = (Op.DIRECTORY, b"/t\0")


def test_it_is_seen_by_nobody_until_it_is_committed(bed: Bed) -> None:
    bed.host.ask(*write(b"a", b"0"))
    transaction = bed.host.begin()
    assert bed.host.ask(*write(b"a", b"1"), transaction) == OK
    assert bed.host.ask(*write(b"new/below"), transaction) == OK
    assert bed.host.ask(*read(b"a"), transaction) == b"1"
    assert bed.host.ask(*read(b"a")) == b"0"
    assert bed.other.ask(*read(b"new/below")) == "ENOENT"
    assert bed.host.commit(transaction) == OK
    assert bed.other.ask(*read(b"a")) == b"1"
    assert bed.other.ask(*read(b"new/below")) == b"1"


def test_it_can_be_given_up(bed: Bed) -> None:
    bed.host.ask(*write(b"a", b"0"))
    transaction = bed.host.begin()
    bed.host.ask(*remove(b"a"), transaction)
    assert bed.host.ask(Op.TRANSACTION_END, b"F\0", transaction) == OK
    assert bed.host.ask(*read(b"a")) == b"0"


def test_what_is_open_is_known_by_its_own_connection(bed: Bed) -> None:
    unknown = "EIO" if bed.is_oxenstored else "ENOENT"
    transaction = bed.host.begin()
    assert bed.host.ask(Op.TRANSACTION_START, b"\0", transaction) == "EBUSY"
    assert bed.other.ask(Op.READ, b"/\0", transaction + 100) == unknown
    assert bed.host.ask(Op.TRANSACTION_END, b"X\0", transaction) == "EINVAL"
    assert bed.host.ask(Op.TRANSACTION_END, b"F\0", transaction) == OK
    assert bed.host.ask(Op.TRANSACTION_END, b"F\0", transaction) == unknown
    assert bed.host.ask(Op.READ, b"/\0", transaction) == unknown
    assert bed.host.ask(Op.TRANSACTION_END, b"T\0") == "ENOENT"


def both(bed: Bed, mine: Sequence[Question], others: Sequence[Question], *, others_first: bool) -> bytes | str:
    for name in (b"a", b"b"):
        bed.host.ask(*write(name, b"0"))
    transaction = bed.host.begin()
    if others_first:
        for question in others:
            assert bed.other.ask(*question) == OK
    for question in mine:
        bed.host.ask(*question, transaction)
    if not others_first:
        for question in others:
            assert bed.other.ask(*question) == OK
    return bed.host.commit(transaction)


@pytest.mark.parametrize(
    ("mine", "others", "xenstored", "oxenstored"),
    [
        ([read(b"a"), write(b"b")], [write(b"a")], "EAGAIN", "EAGAIN"),
        ([read(b"a"), write(b"b")], [write(b"a", b"0")], "EAGAIN", OK),  # what it reads is the same
        ([read(b"a"), write(b"b")], [write(b"a"), write(b"a", b"0")], "EAGAIN", OK),
        ([read(b"a")], [write(b"a")], "EAGAIN", OK),  # it changes nothing
        ([read(b"none"), write(b"a")], [write(b"none")], "EAGAIN", OK),  # refusals do not count
        ([write(b"a")], [write(b"a")], "EAGAIN", OK),
        ([write(b"a")], [write(b"b")], OK, OK),
        ([write(b"a")], [(Op.SET_PERMS, b"/t\0n0\0r7\0")], OK, OK),
        ([write(b"new")], [write(b"other")], "EAGAIN", OK),  # a change of the list of the folder
        ([write(b"a/new")], [write(b"a")], "EAGAIN", OK),
        ([write(b"x/y/z")], [write(b"other")], "EAGAIN", OK),
        ([LIST, write(b"a")], [write(b"new")], "EAGAIN", "EAGAIN"),
        ([LIST, write(b"a")], [write(b"b")], OK, OK),
        ([remove(b"a")], [write(b"a")], "EAGAIN", OK),
        ([remove(b"a")], [remove(b"a")], "EAGAIN", OK),
        ([remove(b"a")], [remove(b"b")], "EAGAIN", OK),
        ([remove(b"a")], [write(b"b")], OK, OK),
        ([remove(b"none"), write(b"a")], [write(b"new")], "EAGAIN", OK),
        ([(Op.MKDIR, b"/t/a\0")], [write(b"a")], "EAGAIN", OK),
        ([(Op.GET_PERMS, b"/t/a\0"), write(b"b")], [write(b"a")], "EAGAIN", OK),
        ([(Op.GET_PERMS, b"/t/a\0"), write(b"b")], [(Op.SET_PERMS, b"/t/a\0r0\0")], "EAGAIN", "EAGAIN"),
        ([write(b"b")], [(Op.RM, b"/t\0")], "EAGAIN", OK),
        ([], [write(b"a")], OK, OK),
    ],
)
def test_what_is_a_conflict(
    bed: Bed, mine: list[Question], others: list[Question], xenstored: bytes | str, oxenstored: bytes | str
) -> None:
    expected = oxenstored if bed.is_oxenstored else xenstored
    assert both(bed, mine, others, others_first=False) == expected


def test_what_happens_before_the_first_look_is_none(bed: Bed) -> None:
    assert both(bed, [write(b"a")], [write(b"a", b"2")], others_first=True) == OK
    assert bed.host.ask(*read(b"a")) == b"1"


def test_the_way_of_an_answer_meets_new_requests(bed: Bed) -> None:
    """A request that appears beside it is a conflict for one daemon, none for the other."""
    bed.host.ask(Op.WRITE, b"/local/domain/7/data/host/one\0request")
    transaction = bed.guest.begin()
    assert bed.guest.ask(Op.RM, b"data/host/one\0", transaction) == OK
    assert bed.guest.ask(Op.WRITE, b"data/guest/one\0answer", transaction) == OK
    bed.host.ask(Op.WRITE, b"/local/domain/7/data/host/two\0request")
    committed = bed.guest.commit(transaction)
    assert committed == (OK if bed.is_oxenstored else "EAGAIN")
    answer = bed.host.ask(Op.READ, b"/local/domain/7/data/guest/one\0")
    assert answer == (b"answer" if bed.is_oxenstored else "ENOENT")


def test_xenstored_fails_what_found_no_room(bed: Bed) -> None:
    transaction = bed.guest.begin()
    assert bed.guest.ask(Op.WRITE, b"data/a\0x", transaction) == OK
    refused = bed.guest.ask(Op.WRITE, b"data/b\0" + b"x" * 2049, transaction)
    assert refused == ("E2BIG" if bed.is_oxenstored else "ENOSPC")
    assert bed.guest.commit(transaction) == (OK if bed.is_oxenstored else "ENOMEM")
    assert bed.guest.ask(Op.READ, b"data/a\0") == (b"x" if bed.is_oxenstored else "ENOENT")


def test_another_refusal_fails_nothing(bed: Bed) -> None:
    transaction = bed.guest.begin()
    assert bed.guest.ask(Op.WRITE, b"data/a\0x", transaction) == OK
    assert bed.guest.ask(Op.WRITE, b"name\0x", transaction) == "EACCES"
    assert bed.guest.ask(Op.READ, b"data/none\0", transaction) == "ENOENT"
    assert bed.guest.commit(transaction) == OK


def test_what_is_told_at_the_end(bed: Bed) -> None:
    """One daemon tells of each node that is another now, the other of each operation."""
    bed.host.ask(*write(b"a", b"0"))
    bed.other.ask(Op.WATCH, b"/t\0t\0")
    bed.other.events()
    transaction = bed.host.begin()
    for question in (write(b"a"), write(b"a"), write(b"tmp"), remove(b"tmp"), write(b"x/y")):
        assert bed.host.ask(*question, transaction) == OK
    assert bed.host.commit(transaction) == OK
    told = sorted(path for path, _ in bed.other.events())
    bed.other.ask(Op.UNWATCH, b"/t\0t\0")
    twice = [b"/t/a", b"/t/a", b"/t/tmp", b"/t/tmp", b"/t/x/y"]
    assert told == (twice if bed.is_oxenstored else [b"/t/a", b"/t/x/y"])
