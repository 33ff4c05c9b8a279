"""Values, paths and listings."""

from __future__ import annotations

import pytest
from tests.xen.conformance.asking import Op
from tests.xen.conformance.conftest import Bed

OK = b"OK\0"


@pytest.mark.parametrize("value", [b"", b"x", b"caf\xc3\xa9", b"\0\xff\n\0", b"v" * 2015])
def test_a_value_comes_back_as_it_was_written(bed: Bed, value: bytes) -> None:
    for client, path in ((bed.host, b"/t/value"), (bed.guest, b"data/guest/value")):
        assert client.ask(Op.WRITE, path + b"\0" + value) == OK
        assert client.ask(Op.READ, path + b"\0") == value


def test_a_relative_path_is_the_domains_own(bed: Bed) -> None:
    assert bed.guest.ask(Op.WRITE, b"data/x\0by the guest") == OK
    assert bed.host.ask(Op.READ, b"/local/domain/7/data/x\0") == b"by the guest"
    assert bed.guest.ask(Op.READ, b"/local/domain/7/data/x\0") == b"by the guest"
    assert bed.host.ask(Op.READ, b"data/x\0") == "ENOENT"
    assert bed.guest.ask(Op.GET_DOMAIN_PATH, b"7\0") == b"/local/domain/7\0"


def test_parents_are_made_and_stay(bed: Bed) -> None:
    assert bed.host.ask(Op.WRITE, b"/t/a/b/c\0deep") == OK
    assert bed.host.ask(Op.READ, b"/t/a/b\0") == b""
    assert bed.host.ask(Op.RM, b"/t/a/b/c\0") == OK
    assert bed.host.ask(Op.DIRECTORY, b"/t/a/b\0") == b""


def test_mkdir_leaves_what_is_there(bed: Bed) -> None:
    assert bed.host.ask(Op.MKDIR, b"/t/a\0") == OK
    assert bed.host.ask(Op.READ, b"/t/a\0") == b""
    bed.host.ask(Op.WRITE, b"/t/a\0value")
    assert bed.host.ask(Op.MKDIR, b"/t/a\0") == OK
    assert bed.host.ask(Op.READ, b"/t/a\0") == b"value"


def test_removing_takes_everything_below(bed: Bed) -> None:
    bed.host.ask(Op.WRITE, b"/t/a/b/c\0x")
    assert bed.host.ask(Op.RM, b"/t/a\0") == OK
    assert bed.host.ask(Op.READ, b"/t/a/b/c\0") == "ENOENT"
    assert bed.host.ask(Op.RM, b"/t/a\0") == OK  # gone already, but its parent is there
    assert bed.host.ask(Op.RM, b"/t/a/b\0") == "ENOENT"


@pytest.mark.parametrize("op", [Op.READ, Op.DIRECTORY, Op.GET_PERMS])
def test_what_is_not_there_is_told(bed: Bed, op: Op) -> None:
    for client, path in ((bed.host, b"/t/none\0"), (bed.guest, b"data/none\0"), (bed.guest, b"none/deeper\0")):
        assert client.ask(op, path) == "ENOENT"


@pytest.mark.parametrize(
    "path", [b"", b"//t", b"/t/", b"/t//a", b"/a:b", b"/a.b", b"/a b", b"/\xc3\xa9", b"..", b"t/./a"]
)
def test_what_is_no_path_is_refused(bed: Bed, path: bytes) -> None:
    for op in (Op.READ, Op.WRITE, Op.MKDIR, Op.RM, Op.DIRECTORY, Op.GET_PERMS):
        assert bed.host.ask(op, path + b"\0") == "EINVAL"
    assert bed.host.ask(Op.WATCH, path + b"\0token\0") == "EINVAL"


def test_paths_have_letters_digits_and_four_signs(bed: Bed) -> None:
    assert bed.host.ask(Op.WRITE, b"/t/aZ09-_@/@\0x") == OK
    assert bed.host.ask(Op.READ, b"/t/aZ09-_@/@\0") == b"x"


@pytest.mark.parametrize(
    ("prefix", "longest"), [(b"/", 2048), (b"", 2048), (b"/local/domain/7/", 2048 + 16), (b"/local/domain/", 2048)]
)
def test_paths_are_bounded(bed: Bed, prefix: bytes, longest: int) -> None:
    assert bed.host.ask(Op.READ, prefix.ljust(longest, b"x") + b"\0") == "ENOENT"
    assert bed.host.ask(Op.READ, prefix.ljust(longest + 1, b"x") + b"\0") == "EINVAL"


def test_names_are_listed_in_the_daemons_order(bed: Bed) -> None:
    for name in (b"z", b"y", b"x", b"a"):
        bed.host.ask(Op.WRITE, b"/t/" + name + b"\0")
    bed.host.ask(Op.RM, b"/t/y\0")
    bed.host.ask(Op.WRITE, b"/t/y\0")
    bed.host.ask(Op.WRITE, b"/t/z\0changed")
    names = b"a\0x\0y\0z\0" if bed.is_oxenstored else b"z\0x\0a\0y\0"
    assert bed.host.ask(Op.DIRECTORY, b"/t\0") == names


def test_a_list_that_fills_a_message_is_given(bed: Bed) -> None:
    for number in range(64):
        bed.host.ask(Op.WRITE, b"/local/domain/7/data/list/%063d\0" % number)
    for client in (bed.host, bed.guest):
        names = client.ask(Op.DIRECTORY, b"/local/domain/7/data/list\0")
        assert isinstance(names, bytes)
        assert len(names) == 4096
    bed.host.ask(Op.WRITE, b"/local/domain/7/data/list/x\0")
    assert bed.guest.ask(Op.DIRECTORY, b"data/list\0") == "E2BIG"
    names = bed.host.ask(Op.DIRECTORY, b"/local/domain/7/data/list\0")
    assert len(names) == 4098 if bed.is_oxenstored else names == "E2BIG"  # larger than any message should be


def test_a_large_list_comes_in_parts_from_xenstored(bed: Bed) -> None:
    names = [b"%030d" % number for number in range(300)]
    for name in names:
        bed.host.ask(Op.WRITE, b"/t/" + name + b"\0")
    if bed.is_oxenstored:
        assert bed.host.ask(Op.DIRECTORY_PART, b"/t\0000\0") == "ENOSYS"
        return
    found: list[bytes] = []
    generations = set()
    offset = 0
    while True:
        part = bed.host.ask(Op.DIRECTORY_PART, b"/t\0%d\0" % offset)
        assert isinstance(part, bytes)
        assert 4096 - 31 - 8 < len(part) <= 4096 or part.endswith(b"\0\0")
        generation, _, listed = part.partition(b"\0")
        generations.add(generation)
        found += listed.rstrip(b"\0").split(b"\0")
        if listed.endswith(b"\0\0"):
            break
        offset += len(listed)
    assert found == names
    assert len(generations) == 1
    bed.host.ask(Op.WRITE, b"/t/another\0")
    part = bed.host.ask(Op.DIRECTORY_PART, b"/t\0009990\0")
    assert isinstance(part, bytes)
    assert part.split(b"\0")[0] not in generations
    assert part.endswith(b"\0\0")
    assert bed.host.ask(Op.DIRECTORY_PART, b"/t\0") == "EINVAL"


@pytest.mark.parametrize(
    ("op", "content"),
    [
        (Op.WRITE, b"/t/no-end"),
        (Op.WATCH, b"/t\0"),
        (Op.WATCH, b"/t\0token"),
        (Op.WATCH, b"/t\0token\0more\0"),
        (Op.UNWATCH, b"/t\0"),
        (Op.SET_PERMS, b"/t\0"),
        (Op.SET_PERMS, b"/t\0x0\0"),
        (Op.INTRODUCE, b"9\0"),
    ],
)
def test_what_is_malformed_is_refused(bed: Bed, op: Op, content: bytes) -> None:
    bed.host.ask(Op.MKDIR, b"/t\0")
    assert bed.host.ask(op, content) == "EINVAL"


@pytest.mark.parametrize("op", [77, Op.WATCH_EVENT, Op.ERROR])
def test_what_is_no_operation_is_refused(bed: Bed, op: int) -> None:
    assert bed.host.ask(op, b"/t\0") == "ENOSYS"


def test_domains_are_the_hosts_matter(bed: Bed) -> None:
    assert bed.host.ask(Op.IS_DOMAIN_INTRODUCED, b"7\0") == b"T\0"
    assert bed.host.ask(Op.IS_DOMAIN_INTRODUCED, b"0\0") == b"T\0"
    assert bed.host.ask(Op.IS_DOMAIN_INTRODUCED, b"99\0") == b"F\0"
    assert bed.host.ask(Op.RELEASE, b"99\0") == ("EINVAL" if bed.is_oxenstored else "ENOENT")
    for op in (Op.IS_DOMAIN_INTRODUCED, Op.RELEASE, Op.RESUME):
        assert bed.guest.ask(op, b"7\0") == "EACCES"
    assert bed.guest.ask(Op.INTRODUCE, b"9\0001\0001\0") == "EACCES"
