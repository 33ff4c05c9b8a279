"""Names below a node of which there are more than a message is meant to hold."""

from __future__ import annotations

import pytest
from pyxs._internal import Op
from tests.xen.harness import Daemon

from guestagent_xen.connecting import connect
from guestagent_xen.listing import list_children

pytestmark = pytest.mark.real


@pytest.mark.parametrize("number", [10, 300, 3000])
def test_domain_0_is_given_all_of_them(daemon: Daemon, number: int) -> None:
    names = [f"{index:036}" for index in range(number)]
    daemon.host.write({f"/tool/many/{name}": b"" for name in names})
    session = connect(daemon.socket, 10.0)
    try:
        assert sorted(name.decode() for name in list_children(session, b"/tool/many")) == names
        assert session.call(Op.READ, b"/tool/many/" + names[0].encode()) == b""  # it goes on
    finally:
        session.close()
