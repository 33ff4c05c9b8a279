"""An exchange of the privileged domain, one of a guest, and the host's own connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from guestagent_xen.connecting import connect
from guestagent_xen.devstore import DevelopmentStore
from guestagent_xen.exchange import XenStoreExchange
from guestagent_xen.session import Session


@pytest.fixture
def host(small_store: DevelopmentStore) -> Iterator[Session]:
    """The host's own connection."""
    with closing(connect(small_store.path, 10.0)) as session:
        yield session


@pytest.fixture
def exchange(small_store: DevelopmentStore) -> Iterator[XenStoreExchange]:
    with closing(XenStoreExchange(XenStoreExchange.Options(path=small_store.path))) as opened:
        yield opened


@pytest.fixture
def guest_exchange(small_store: DevelopmentStore) -> Iterator[XenStoreExchange]:
    """That of domain 7, whose folder of answers has room for 54 names of 36 letters."""
    with closing(XenStoreExchange(XenStoreExchange.Options(path=small_store.add_guest(7)))) as opened:
        assert not opened.wait(0.1)
        yield opened
