"""Tables turned into dataclasses: every type, and every mistake named by its key."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Optional, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestagent_core import ConfigError
from guestagent_core.options import read_options

WHERE = "agent.toml: commands.net"


@dataclass(frozen=True)
class Inner:
    size: int
    file: Path = Path("{state_dir}/inner")


@dataclass(frozen=True)
class Every:
    """A field of each kind."""

    text: str = "x"
    number: int = 1
    ratio: float = 1.5
    switch: bool = False
    file: Path = Path("relative")
    level: Literal["low", "high", 3] = "low"
    names: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    matrix: tuple[tuple[int, ...], ...] = ()
    inner: Inner = Inner(1)
    inners: tuple[Inner, ...] = ()
    by_name: Mapping[str, int] = field(default_factory=dict)
    inner_by_name: Mapping[str, Inner] = field(default_factory=dict)
    either: int | str = 0
    old_either: Union[bool, tuple[str, ...]] = False  # noqa: UP007 - packs for older Pythons write it so
    maybe: int | None = None
    old_maybe: Optional[Path] = None  # noqa: UP045
    maybe_inner: Inner | None = None
    maybe_names: tuple[str, ...] | None = None
    anything: Any = None


def test_what_is_left_out_has_its_default() -> None:
    assert read_options(Every, {}, WHERE) == Every()


GOOD: list[tuple[str, Any, Any]] = [
    ("text", "", ""),
    ("number", -5, -5),
    ("ratio", 2.5, 2.5),
    ("ratio", 2, 2.0),
    ("switch", True, True),
    ("file", "/a/b", Path("/a/b")),
    ("level", "high", "high"),
    ("level", 3, 3),
    ("names", ["a", "b"], ("a", "b")),
    ("names", [], ()),
    ("files", ["a"], (Path("a"),)),
    ("matrix", [[1, 2], []], ((1, 2), ())),
    ("inner", {"size": 2}, Inner(2)),
    ("inners", [{"size": 2, "file": "f"}], (Inner(2, Path("f")),)),
    ("by_name", {"a": 1}, {"a": 1}),
    ("inner_by_name", {"a": {"size": 3}}, {"a": Inner(3)}),
    ("either", 5, 5),
    ("either", "five", "five"),
    ("old_either", True, True),
    ("old_either", ["x"], ("x",)),
    ("maybe", 5, 5),
    ("maybe", None, None),
    ("old_maybe", "p", Path("p")),
    ("maybe_inner", {"size": 4}, Inner(4)),
    ("anything", {"x": [1]}, {"x": [1]}),
]


@pytest.mark.parametrize(("key", "value", "expected"), GOOD)
def test_a_value_becomes_what_the_field_is(key: str, value: Any, expected: Any) -> None:
    found = getattr(read_options(Every, {key: value}, WHERE), key)
    assert found == expected
    assert type(found) is type(expected)


# What is wrong, where the error says it is, and what it says.
BAD: list[tuple[str, Any, str, str]] = [
    ("text", 5, "text", "expected a string, found an integer"),
    ("text", ["a"], "text", "expected a string, found an array"),
    ("number", "5", "number", "expected an integer, found a string"),
    ("number", True, "number", "expected an integer, found a boolean"),
    ("number", 5.5, "number", "expected an integer, found a number"),
    ("ratio", "5", "ratio", "expected a number, found a string"),
    ("ratio", False, "ratio", "expected a number, found a boolean"),
    ("ratio", 10**400, "ratio", "expected a number, found an integer"),
    ("switch", 1, "switch", "expected true or false, found an integer"),
    ("switch", "true", "switch", "expected true or false, found a string"),
    ("file", 5, "file", "expected a path, found an integer"),
    ("file", "", "file", "expected a path, found a string"),
    ("level", "LOW", "level", "expected one of 'low', 'high', 3, found a string"),
    ("level", 3.0, "level", "expected one of 'low', 'high', 3, found a number"),
    ("names", "abc", "names", "expected an array, each item a string, found a string"),
    ("names", ["a", 5], "names[1]", "expected a string, found an integer"),
    ("names", {"a": 1}, "names", "expected an array, each item a string, found a table"),
    ("matrix", [[1], [2, "x"]], "matrix[1][1]", "expected an integer, found a string"),
    ("inner", [1], "inner", "expected a table, found an array"),
    ("inner", {"size": "x"}, "inner: size", "expected an integer, found a string"),
    ("inner", {"size": 1, "colour": "x"}, "inner", "unknown key 'colour' (known: size, file)"),
    ("inner", {}, "inner", "the key 'size' is missing"),
    ("inners", [{"size": 1}, {"size": "x"}], "inners[1]: size", "expected an integer, found a string"),
    ("by_name", {"a": "x"}, "by_name.a", "expected an integer, found a string"),
    ("by_name", 5, "by_name", "expected a table, found an integer"),
    ("inner_by_name", {"a": {}}, "inner_by_name.a", "the key 'size' is missing"),
    ("either", 5.5, "either", "expected an integer or a string, found a number"),
    ("either", None, "either", "expected an integer or a string, found another type"),
    ("old_either", [1], "old_either", "expected true or false or an array, each item a string, found an array"),
    ("maybe", "x", "maybe", "expected an integer, found a string"),
    ("old_maybe", 5, "old_maybe", "expected a path, found an integer"),
    ("maybe_inner", {"size": "x"}, "maybe_inner: size", "expected an integer, found a string"),
    ("maybe_names", ["a", 5], "maybe_names[1]", "expected a string, found an integer"),
    ("text", object(), "text", "expected a string, found another type"),
]


@pytest.mark.parametrize(("key", "value", "where", "text"), BAD)
def test_a_wrong_value_is_an_error_that_says_where_and_what_was_expected(
    key: str, value: Any, where: str, text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_options(Every, {key: value}, WHERE)
    assert str(caught.value) == f"{WHERE}: {where}: {text}"


def test_an_unknown_key_is_an_error_that_lists_the_known_ones() -> None:
    @dataclass(frozen=True)
    class Empty:
        derived: int = field(init=False, default=1)

    for key in ("colour", "derived"):
        with pytest.raises(ConfigError) as caught:
            read_options(Empty, {key: "a secret"}, WHERE)
        assert str(caught.value) == f"{WHERE}: unknown key {key!r} (known: there are none)"
    with pytest.raises(ConfigError, match=r"unknown key 'txet' \(known: text, number, ratio, switch, "):
        read_options(Every, {"txet": "x"}, WHERE)


def test_a_missing_key_is_an_error() -> None:
    with pytest.raises(ConfigError) as caught:
        read_options(Inner, {}, WHERE)
    assert str(caught.value) == f"{WHERE}: the key 'size' is missing"


def test_what_the_dataclass_itself_objects_to_is_an_error_with_its_place() -> None:
    @dataclass(frozen=True)
    class Choosy:
        size: int = 0

        def __post_init__(self) -> None:
            if self.size < 0:
                raise ValueError("size must not be negative")

    assert read_options(Choosy, {"size": 1}, WHERE) == Choosy(1)
    with pytest.raises(ConfigError) as caught:
        read_options(Choosy, {"size": -1}, WHERE)
    assert str(caught.value) == f"{WHERE}: size must not be negative"


PLACES = {"state_dir": Path("/var/lib/agent"), "root": Path("/")}


def paths_of(options: Every) -> set[Path | None]:
    return {options.file, options.old_maybe, *options.files, options.inner.file}


@pytest.mark.parametrize(
    ("given_path", "expected"),
    [
        ("{state_dir}/keys/a", "/var/lib/agent/keys/a"),
        ("{state_dir}", "/var/lib/agent"),
        ("{root}/etc", "/etc"),
        ("a/{state_dir}", "a/{state_dir}"),
        ("/{state_dir}/a", "/{state_dir}/a"),
        ("[state_dir}/a", "[state_dir}/a"),
    ],
)
def test_a_path_may_begin_with_the_name_of_a_place(given_path: str, expected: str) -> None:
    tables: list[dict[str, Any]] = [
        {"file": given_path},
        {"old_maybe": given_path},
        {"files": [given_path]},
        {"inner": {"size": 1, "file": given_path}},
    ]
    for table in tables:
        assert Path(expected) in paths_of(read_options(Every, table, WHERE, PLACES))
        assert Path(given_path) in paths_of(read_options(Every, table, WHERE))


@pytest.mark.parametrize("path", ["{elsewhere}/a", "{state_dir}.d/a", "{state_dir]/a", "{", "{}"])
def test_a_path_that_begins_with_an_unknown_place_is_an_error(path: str) -> None:
    @dataclass(frozen=True)
    class Misplaced:
        file: Path = Path(path)

    for cls, table, key in (
        (Every, {"file": path}, "file"),
        (Every, {"files": ["a", path]}, "files[1]"),
        (Every, {"inner": {"size": 1, "file": path}}, "inner: file"),
        (Misplaced, {}, "file"),
    ):
        with pytest.raises(ConfigError) as caught:
            read_options(cls, table, WHERE, PLACES)
        text = f"{WHERE}: {key}: the path begins with an unknown place (known: {{state_dir}}, {{root}})"
        assert str(caught.value) == text


def test_the_defaults_may_name_places_too() -> None:
    @dataclass(frozen=True)
    class Placed:
        one: Path = Path("{state_dir}/one")
        several: tuple[Path, ...] = (Path("{root}/a"), Path("b"))
        here: Path = Path()

    expected = Placed(Path("/var/lib/agent/one"), (Path("/a"), Path("b")))
    assert read_options(Placed, {}, WHERE, PLACES) == expected
    assert read_options(Placed, {}, WHERE) == Placed()
    assert read_options(Every, {"inner": {"size": 1}}, WHERE, PLACES).inner.file == Path("/var/lib/agent/inner")


SECRET = "hunter2"
scalars = st.one_of(st.booleans(), st.integers(), st.floats(), st.just(SECRET), st.none(), st.dates())
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from("ab"), inner))


@given(st.sampled_from([each.name for each in dataclasses.fields(Every)]), values)
def test_whatever_the_value_it_fits_or_its_key_is_named_and_it_is_not_shown(key: str, value: Any) -> None:
    try:
        options = read_options(Every, {key: value}, WHERE)
    except ConfigError as error:
        assert str(error).startswith(f"{WHERE}: {key}")  # noqa: PT017 - it may well fit
        assert SECRET not in str(error)  # noqa: PT017
    else:
        assert isinstance(options, Every)
