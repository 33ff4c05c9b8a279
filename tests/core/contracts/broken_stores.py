"""Stores that each break one clause of the contract: `breaks` says which one. Not collected; see test_broken.py."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from guestagent_core.testing import StoreContract


class Sound:
    """Keeps every clause."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    def read(self, path: str) -> bytes | None:
        return self.values.get(path)

    def list(self, path: str) -> list[str]:
        below = [known[len(path) + 1 :] for known in self.values if known.startswith(f"{path}/")]
        return sorted({name.partition("/")[0] for name in below})

    def write(self, path: str, value: bytes) -> None:
        self.values[path] = value

    def remove(self, path: str) -> None:
        for known in list(self.values):
            if f"{known}/".startswith(f"{path}/"):
                del self.values[known]


class Held(StoreContract):
    patience = 2.0
    make: ClassVar[Callable[[], Any]] = Sound
    breaks: ClassVar[str]

    @pytest.fixture
    def store(self) -> Any:
        return type(self).make()

    @pytest.fixture
    def publish(self, store: Any) -> Any:
        return store.values.__setitem__


class TestSound(Held):
    breaks = ""


class TestCannotRemove(Held):
    breaks = "test_it_is_a_store"

    class make(Sound):  # noqa: N801 - it stands for the function that makes one
        remove: Any = None


class TestStrips(Held):
    breaks = "test_values_arrive_as_they_are"

    class make(Sound):  # noqa: N801
        def read(self, path: str) -> bytes | None:
            value = super().read(path)
            return value and value.strip()


class TestSaysEmptyForMissing(Held):
    breaks = "test_what_does_not_exist_has_no_value_and_no_names"

    class make(Sound):  # noqa: N801
        def read(self, path: str) -> bytes:
            return super().read(path) or b""


class TestRaisesForMissing(Held):
    breaks = "test_what_does_not_exist_has_no_value_and_no_names"

    class make(Sound):  # noqa: N801
        def list(self, path: str) -> list[str]:
            return super().list(path) or [self.values[path].decode()]


class TestListsPaths(Held):
    breaks = "test_names_directly_below_a_path_are_listed"

    class make(Sound):  # noqa: N801
        def list(self, path: str) -> list[str]:
            return sorted(known[len(path) + 1 :] for known in self.values if known.startswith(f"{path}/"))


class TestKeepsCopies(Held):
    breaks = "test_what_is_published_later_is_seen"

    class make(Sound):  # noqa: N801
        def __init__(self) -> None:
            super().__init__()
            self.copies: dict[str, bytes | None] = {}

        def read(self, path: str) -> bytes | None:
            return self.copies.setdefault(path, super().read(path))


class TestHasOneBuffer(Held):
    breaks = "test_several_threads_may_read_at_once"

    class make(Sound):  # noqa: N801
        def read(self, path: str) -> bytes | None:
            self.buffer = super().read(path)
            time.sleep(0.005)
            return self.buffer


class TestWritesOnce(Held):
    breaks = "test_what_is_written_can_be_read"

    class make(Sound):  # noqa: N801
        def write(self, path: str, value: bytes) -> None:
            self.values.setdefault(path, value)


class TestRemovesItsNeighbours(Held):
    breaks = "test_what_is_removed_is_gone_with_everything_below"

    class make(Sound):  # noqa: N801
        def remove(self, path: str) -> None:
            for known in [known for known in self.values if known.startswith(path)]:
                del self.values[known]


class TestLeavesWhatIsBelow(Held):
    breaks = "test_what_is_removed_is_gone_with_everything_below"

    class make(Sound):  # noqa: N801
        def remove(self, path: str) -> None:
            self.values.pop(path, None)


class TestIsNotInstalled(Held):
    breaks = "test_it_is_found_by_its_entry_point"
    entry_point = "attic"


class TestIsAnotherOne(Held):
    breaks = "test_it_is_found_by_its_entry_point"
    entry_point = "files"
