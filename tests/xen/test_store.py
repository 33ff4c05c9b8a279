"""The xenstore store: what it reads, writes and lists, and the contract of all stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from guestagent_core.testing import StoreContract
from guestagent_xen.connecting import connect
from guestagent_xen.devstore import DevelopmentStore
from guestagent_xen.session import Operation
from guestagent_xen.store import XenStoreStore

WRITE = 11


class TestContract(StoreContract):
    entry_point = "xenstore"

    @pytest.fixture
    def store(self, small_store: Any) -> XenStoreStore:
        return XenStoreStore(XenStoreStore.Options(path=small_store.path))

    @pytest.fixture
    def publish(self, small_store: Any) -> Iterator[Callable[[str, bytes], object]]:
        with closing(connect(small_store.path, 10.0)) as host:
            yield lambda path, value: host.call_all(Operation(WRITE, path.encode() + b"\0" + value))


def test_the_store_reads_and_writes(small_store: DevelopmentStore) -> None:
    with closing(XenStoreStore(XenStoreStore.Options(path=small_store.path))) as store:
        assert store.read("vm-data/hostname") is None
        assert store.list("vm-data") == []
        store.write("vm-data/hostname", b"\xff\0")
        store.write("vm-data/networking/A", b"")
        assert store.read("vm-data/hostname") == b"\xff\0"
        assert store.list("vm-data") == ["hostname", "networking"]
        store.remove("vm-data")
        store.remove("vm-data")
        assert store.list("vm-data") == []
        store.close()
        assert store.read("name") == b"Domain-0"
