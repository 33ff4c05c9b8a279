"""What every store has to keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar

import pytest

from guestagent_core.protocols import Store, WritableStore

from .contract import Contract

__all__ = ("StoreContract",)

Publish = Callable[[str, bytes], object]


class StoreContract(Contract):
    """The clauses of :class:`~guestagent_core.protocols.Store`; a vendor's test gives the fixtures.

    - ``store``: a new one in which nothing is below ``vm-data``; if it has a ``close``, the contract calls it.
    - ``publish``: a function of a path and bytes that sets a value as the host does.
    """

    group = "guestagent.stores"
    values: ClassVar[tuple[bytes, ...]] = (b"alpha", b"two lines\n", b"\x00\xff binary", "Grüße".encode(), b"x" * 2000)
    """Values that the store has to carry as they are."""

    @pytest.fixture(autouse=True)
    def _closed_in_the_end(self, store: Store) -> Iterator[None]:
        yield
        close = getattr(store, "close", None)
        if close is not None:
            close()

    def test_it_is_a_store(self, store: Store) -> None:
        """A store has the methods ``read(path)`` and ``list(path)``.

        One that can be written to has ``write(path, value)`` and ``remove(path)`` too, both of them.
        """
        assert isinstance(store, Store), "read() or list() is missing"
        if hasattr(store, "write") or hasattr(store, "remove"):
            assert isinstance(store, WritableStore), "write() and remove() come together"

    def test_values_arrive_as_they_are(self, store: Store, publish: Publish) -> None:
        """A value is read as it was published, byte by byte.

        Return bytes, without stripping or decoding them. If the host cannot publish the ``values`` of this contract,
        give those that it can.
        """
        for value in self.values:
            publish("vm-data/name", value)
            assert store.read("vm-data/name") == value

    def test_what_does_not_exist_has_no_value_and_no_names(self, store: Store, publish: Publish) -> None:
        """``read`` returns None, and ``list`` returns an empty list, for a path that does not exist.

        Catch what your source raises for that, and nothing else: a failure to reach it is an error.
        """
        assert store.read("vm-data/none") is None, "read() has to return None"
        assert store.list("vm-data/none/at/all") == [], "list() has to return an empty list"
        publish("vm-data/name", b"alpha")
        assert store.read("vm-data/name/below") is None, "read() has to return None below a value"
        assert store.list("vm-data/name") == [], "list() has to return an empty list for a value"

    def test_names_directly_below_a_path_are_listed(self, store: Store, publish: Publish) -> None:
        """``list(path)`` returns the names directly below ``path``, each once.

        Names, not paths; and nothing from further below.
        """
        for path in ("vm-data/name", "vm-data/networking/one/mac", "vm-data/networking/two/mac", "other/name"):
            publish(path, b"alpha")
        assert sorted(store.list("vm-data")) == ["name", "networking"]
        assert sorted(store.list("vm-data/networking")) == ["one", "two"]

    def test_what_is_published_later_is_seen(self, store: Store, publish: Publish) -> None:
        """A value is the one of this moment.

        Keep no copies: the host publishes while the agent runs.
        """
        assert store.read("vm-data/name") is None
        for value in (b"first", b"second"):
            publish("vm-data/name", value)
            assert store.read("vm-data/name") == value, "an old value was read"
            assert store.list("vm-data") == ["name"], "a new name is not listed"

    def test_several_threads_may_read_at_once(self, store: Store, publish: Publish) -> None:
        """A store is entered by several threads at once, and mixes nothing up.

        Hold a lock while a connection is in use.
        """
        paths = {f"vm-data/{number}": f"{number}".encode() * 20 for number in range(8)}
        for path, value in paths.items():
            publish(path, value)
        for _ in range(10):
            found = self.at_once([partial(store.read, path) for path in paths], "read() hangs")
            assert found == list(paths.values()), "a value belongs to another path"

    def test_what_is_written_can_be_read(self, store: Store) -> None:
        """What ``write`` has set, ``read`` returns and ``list`` names, also where nothing was above it.

        Make the parents, and replace what was there.
        """
        writable = self._writable(store)
        for value in self.values:
            writable.write("vm-data/deep/down", value)
            assert store.read("vm-data/deep/down") == value
        assert store.list("vm-data") == ["deep"]

    def test_what_is_removed_is_gone_with_everything_below(self, store: Store) -> None:
        """``remove(path)`` takes away the path and everything below it, and does nothing if it does not exist.

        Nothing beside it may go: ``vm-data/a`` is not above ``vm-data/ab``.
        """
        writable = self._writable(store)
        writable.remove("vm-data/a")
        for path in ("vm-data/a/one", "vm-data/a/two/deep", "vm-data/ab"):
            writable.write(path, b"alpha")
        writable.remove("vm-data/a")
        assert store.read("vm-data/a/two/deep") is None, "what is below was left"
        assert store.list("vm-data") == ["ab"], "remove() has to take away the path, and nothing beside it"

    def test_it_is_found_by_its_entry_point(self, store: Store) -> None:
        """The installed package offers the store by its entry point.

        Name the class in ``[project.entry-points."guestagent.stores"]`` and install the package anew.
        """
        from guestagent_core.discovery import load

        plugin = self.offered()
        found = load(plugin)
        assert callable(found), f"{plugin.entry_point.value} is nothing that a store could be built by"
        if isinstance(found, type):
            assert isinstance(store, found), f"{plugin.entry_point.value} is not what this test tests"

    def _writable(self, store: Store) -> WritableStore:
        if not isinstance(store, WritableStore):
            pytest.skip("this store has no write() and remove(): it is read only")
        return store
