"""What a guest may have, and domain 0."""

from __future__ import annotations

from contextlib import closing

from tests.xen.conformance.asking import Asker, Op
from tests.xen.conformance.conftest import Bed

OK = b"OK\0"


def fill(asker: Asker, folder: bytes, most: int) -> tuple[int, bytes | str]:
    """Makes nodes with names of 36 characters; returns how many there could be, and the last answer."""
    for number in range(most):
        answer = asker.ask(Op.WRITE, folder + b"/%036d\0x" % number)
        if answer != OK:
            return number, answer
    return most, OK


def test_a_guests_value_is_bounded(bed: Bed) -> None:
    largest, error = (2048, "E2BIG") if bed.is_oxenstored else (2015, "ENOSPC")
    assert bed.guest.ask(Op.WRITE, b"data/v\0" + b"x" * largest) == OK
    assert bed.guest.ask(Op.WRITE, b"data/v\0" + b"x" * (largest + 1)) == error
    assert bed.guest.ask(Op.READ, b"data/v\0") == b"x" * largest


def test_only_oxenstored_bounds_the_hosts_value(bed: Bed) -> None:
    assert bed.host.ask(Op.WRITE, b"/t/v\0" + b"x" * 2048) == OK
    for size in (2049, 3900, 4096 - len(b"/t/v\0")):
        assert bed.host.ask(Op.WRITE, b"/t/v\0" + b"x" * size) == ("E2BIG" if bed.is_oxenstored else OK)


def test_xenstored_counts_the_names_of_children(bed: Bed) -> None:
    if bed.is_oxenstored:
        return
    assert fill(bed.guest, b"data/guest", 60) == (54, "ENOSPC")
    first = b"data/guest/%036d\0" % 0
    assert bed.guest.ask(Op.WRITE, first + b"another") == OK
    by_the_host = b"data/guest/" + b"by-the-host".ljust(36, b"-") + b"\0"
    assert bed.host.ask(Op.WRITE, b"/local/domain/7/" + by_the_host) == OK
    assert bed.guest.ask(Op.WRITE, b"data/guest\0x") == "ENOSPC"
    assert bed.guest.ask(Op.RM, by_the_host) == OK
    assert bed.guest.ask(Op.RM, first) == OK
    assert bed.guest.ask(Op.WRITE, first) == OK
    transaction = bed.guest.begin()
    assert bed.guest.ask(Op.RM, first, transaction) == OK
    assert bed.guest.ask(Op.WRITE, b"data/guest/%036d\0" % 99, transaction) == OK
    assert bed.guest.commit(transaction) == OK


def test_a_folder_that_the_host_overfills_can_be_emptied(bed: Bed) -> None:
    assert fill(bed.host, b"/local/domain/7/data/host", 300) == (300, OK)
    assert bed.guest.ask(Op.DIRECTORY, b"data/host\0") == "E2BIG"
    if not bed.is_oxenstored:
        assert bed.guest.ask(Op.WRITE, b"data/host/new\0x") == "ENOSPC"
    assert bed.guest.ask(Op.WRITE, b"data/host/%036d\0y" % 1) == OK
    for number in range(300):
        assert bed.guest.ask(Op.RM, b"data/host/%036d\0" % number) == OK
    assert bed.guest.ask(Op.DIRECTORY, b"data/host\0") == b""


def test_a_guests_nodes_are_counted(bed: Bed) -> None:
    no_room = "EQUOTA" if bed.is_oxenstored else "ENOSPC"
    made = 0
    answer: bytes | str = OK
    while answer == OK:
        answer = bed.guest.ask(Op.WRITE, b"data/n/%d/%d\0" % (made // 40, made % 40))
        made += answer == OK
    assert answer == no_room
    folders = 1 + (made - 1) // 40 + 1
    assert made + folders == 1000 - 2  # data and attr are the guest's too
    assert bed.guest.ask(Op.MKDIR, b"data/another\0") == no_room
    assert bed.guest.ask(Op.WRITE, b"data/n/0/0\0another") == OK
    for name in (b"one", b"two"):
        assert bed.host.ask(Op.WRITE, b"/local/domain/7/data/n/" + name + b"\0") == OK
    assert bed.guest.ask(Op.RM, b"data/n/0/0\0") == OK
    assert bed.guest.ask(Op.WRITE, b"data/n/0/0\0") == no_room  # for there are two too many
    assert bed.guest.ask(Op.RM, b"data/n\0") == OK
    assert bed.guest.ask(Op.WRITE, b"data/n/0/0\0") == OK


def test_a_guests_watches_are_counted(bed: Bed) -> None:
    most, error = (101, "EQUOTA") if bed.is_oxenstored else (129, "E2BIG")
    for number in range(most):
        assert bed.guest.ask(Op.WATCH, b"data/%d\0t\0" % number) == OK
    assert bed.guest.ask(Op.WATCH, b"data/more\0t\0") == error
    for number in range(most):
        assert bed.guest.ask(Op.UNWATCH, b"data/%d\0t\0" % number) == OK
    bed.guest.events()


def test_a_guests_transactions_are_counted(bed: Bed) -> None:
    transactions = [bed.guest.begin() for _ in range(11)]
    assert bed.guest.ask(Op.TRANSACTION_START, b"\0") == ("EQUOTA" if bed.is_oxenstored else "ENOSPC")
    for transaction in transactions:
        assert bed.guest.ask(Op.TRANSACTION_END, b"F\0", transaction) == OK


def test_the_host_is_not_counted(bed: Bed) -> None:
    with closing(Asker(bed.socket)) as asker:
        for number in range(200):
            assert asker.ask(Op.WATCH, b"/t/%d\0t\0" % number) == OK
        assert len({asker.begin() for _ in range(50)}) == 50
    assert fill(bed.host, b"/t", 1100) == (1100, OK)
