"""The xenstore store, held to the contract of all stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from guestagent_core.testing import StoreContract
from guestagent_xen.connecting import connect
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
