"""Any network in the formats of ifcfg, wicked, netifrc and rc.conf: all of it, or an error that says what cannot be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from tests.net.models import CARDS, QUICK, changes

from guestagent_commands_net.backends import NetworkBackend, Snapshot
from guestagent_commands_net.freebsd import Freebsd
from guestagent_commands_net.gateway_routes import share_on_link
from guestagent_commands_net.ifcfg import Ifcfg
from guestagent_commands_net.model import Change, Route
from guestagent_commands_net.netifrc import Netifrc
from guestagent_commands_net.settling import settle
from guestagent_commands_net.testing import apply_changes
from guestagent_commands_net.wicked import Wicked
from guestagent_core.errors import InvalidArgumentError

BACKENDS = (Ifcfg(), Wicked(), Netifrc(), Freebsd())


def _routes(change: Change) -> list[Route]:
    return [route for each in change.interfaces for route in each.routes]


def _is_of_one(route: Route, change: Change) -> bool:
    """Whether a default gateway is in the networks of one interface alone, for rc.conf does not say whose it is."""
    if not route.is_default or route.gateway is None or route.on_link:
        return True
    return sum(any(route.gateway in at.network for at in each.addresses) for each in change.interfaces) == 1


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: type(backend).__name__)
@QUICK
@given(change=changes())
def test_what_is_written_is_read_back_or_refused(backend: NetworkBackend, change: Change) -> None:
    routes = {each.name: each.routes for each in change.interfaces}
    change = replace(change, interfaces=settle(change.interfaces, routes))
    if isinstance(backend, Freebsd) and not all(_is_of_one(each, change) for each in _routes(change)):
        return
    try:
        files = apply_changes({}, backend.render(change, Snapshot(nics=CARDS)))
    except InvalidArgumentError:
        return
    found = {each.name: each for each in backend.read(files, CARDS)}
    for interface in change.interfaces:
        # Where a route to a gateway says that it is on the link, it says so for all that lead through it.
        assert share_on_link(found[interface.name]) == share_on_link(interface)
    assert backend.render(change, Snapshot(files, nics=CARDS)) == (), "doing it again changes something"
