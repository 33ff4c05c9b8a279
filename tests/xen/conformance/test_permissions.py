"""Who may read, write and give away what."""

from __future__ import annotations

import pytest
from tests.xen.conformance.asking import Op
from tests.xen.conformance.conftest import Bed

OK = b"OK\0"


def test_a_guest_reads_what_it_may_not_change(bed: Bed) -> None:
    assert bed.guest.ask(Op.READ, b"name\0") == b"guest7"
    assert bed.guest.ask(Op.GET_PERMS, b"name\0") == b"n0\0r7\0"
    for op, content in ((Op.WRITE, b"name\0evil"), (Op.RM, b"name\0"), (Op.WRITE, b"new\0x"), (Op.MKDIR, b"new\0")):
        assert bed.guest.ask(op, content) == "EACCES"
    assert bed.host.ask(Op.READ, b"/local/domain/7/name\0") == b"guest7"


def test_a_guest_does_not_see_what_is_not_for_it(bed: Bed) -> None:
    bed.host.ask(Op.WRITE, b"/t/secret\0x")
    for op in (Op.READ, Op.DIRECTORY, Op.GET_PERMS):
        for path in (b"/t/secret\0", b"/\0", b"/local\0"):
            assert bed.guest.ask(op, path) == "EACCES"
    assert bed.guest.ask(Op.WRITE, b"/t/mine\0x") == "EACCES"


def test_only_xenstored_hides_that_there_is_nothing(bed: Bed) -> None:
    bed.host.ask(Op.MKDIR, b"/t\0")
    assert bed.guest.ask(Op.READ, b"/t/none\0") == ("ENOENT" if bed.is_oxenstored else "EACCES")
    assert bed.guest.ask(Op.RM, b"none\0") == (OK if bed.is_oxenstored else "EACCES")
    assert bed.guest.ask(Op.RM, b"data/none\0") == OK


def test_what_the_host_makes_in_the_guests_folder_is_the_guests(bed: Bed) -> None:
    bed.host.ask(Op.WRITE, b"/local/domain/7/data/host/one\0request")
    assert bed.host.ask(Op.GET_PERMS, b"/local/domain/7/data/host/one\0") == b"n7\0"
    assert bed.guest.ask(Op.READ, b"data/host/one\0") == b"request"
    assert bed.guest.ask(Op.RM, b"data/host/one\0") == OK


@pytest.mark.parametrize(
    ("permissions", "reads", "writes"),
    [
        (b"n0\0", False, False),
        (b"n0\0r7\0", True, False),
        (b"n0\0w7\0", False, True),
        (b"n0\0b7\0", True, True),
        (b"b0\0", True, True),
        (b"r0\0n7\0", False, False),
        (b"n0\0r1\0b2\0", False, False),
        (b"n7\0", True, True),
    ],
)
def test_the_entry_of_a_domain_goes_before_that_of_all(bed: Bed, permissions: bytes, reads: bool, writes: bool) -> None:
    bed.host.ask(Op.WRITE, b"/t/node\0value")
    assert bed.host.ask(Op.SET_PERMS, b"/t/node\0" + permissions) == OK
    assert bed.host.ask(Op.GET_PERMS, b"/t/node\0") == permissions
    assert bed.guest.ask(Op.READ, b"/t/node\0") == (b"value" if reads else "EACCES")
    assert bed.guest.ask(Op.WRITE, b"/t/node\0value") == (OK if writes else "EACCES")
    assert bed.guest.ask(Op.MKDIR, b"/t/node/below\0") == (OK if writes else "EACCES")
    assert bed.guest.ask(Op.RM, b"/t/node\0") == (OK if writes else "EACCES")


def test_whose_a_node_is_that_a_guest_makes(bed: Bed) -> None:
    bed.host.ask(Op.MKDIR, b"/t/shared\0")
    bed.host.ask(Op.SET_PERMS, b"/t/shared\0n0\0b7\0")
    assert bed.guest.ask(Op.WRITE, b"/t/shared/new\0x") == OK
    owner = b"n0\0b7\0" if bed.is_oxenstored else b"n7\0b7\0"
    assert bed.host.ask(Op.GET_PERMS, b"/t/shared/new\0") == owner


def test_a_guest_keeps_what_is_its_own(bed: Bed) -> None:
    assert bed.guest.ask(Op.SET_PERMS, b"data\0n7\0r0\0") == OK
    assert bed.guest.ask(Op.SET_PERMS, b"data\0n0\0") == ("EACCES" if bed.is_oxenstored else "EPERM")
    assert bed.guest.ask(Op.SET_PERMS, b"name\0n7\0") == "EACCES"


def test_xenstored_bounds_the_entries_of_a_guest(bed: Bed) -> None:
    assert bed.guest.ask(Op.SET_PERMS, b"data\0n7\0r1\0r2\0r3\0r4\0") == OK
    answer = bed.guest.ask(Op.SET_PERMS, b"data\0n7\0r1\0r2\0r3\0r4\0r5\0")
    assert answer == (OK if bed.is_oxenstored else "ENOSPC")
    assert bed.host.ask(Op.SET_PERMS, b"/local/domain/7/data\0n7\0r1\0r2\0r3\0r4\0r5\0r6\0") == OK
