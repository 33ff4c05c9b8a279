"""Any network in the forms of ifcfg, wicked, netifrc and rc.conf: all of what a form can express is written and read
back, by us and by a shell.

What a form cannot express is not generated; that it is refused, test_refusals shows.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from tests.net.forms import ARRAYS, FORMS, RC_CONF, WICKED, Form, read_by_us, said_by
from tests.net.models import QUICK, changes

from guestagent_commands_net.model import Change, Interface, merge
from guestagent_commands_net.tools.freebsd_links import share_primary
from guestagent_commands_net.tools.gateway_routes import share_on_link


def as_read(form: Form, interface: Interface) -> Interface:
    """Returns ``interface`` as ``form`` gives it back."""
    if form in (WICKED, RC_CONF):
        # Where a route to a gateway says that it is on the link, it says so for all that lead through it.
        interface = share_on_link(interface)
    return share_primary(interface) if form is RC_CONF else interface


@pytest.mark.parametrize("form", FORMS, ids=str)
@QUICK
@given(change=changes())
def test_what_is_written_is_read_back(form: Form, change: Change) -> None:
    change = form.fitting(change)
    files = form.render(change, {})
    found = form.read(files)
    for interface in change.interfaces:
        assert found[interface.name] == as_read(form, interface)
    assert form.backend.render(change, form.snapshot(files)) == (), "doing it again changes something"


@pytest.mark.parametrize("form", FORMS, ids=str)
@settings(QUICK, max_examples=30)
@given(first=changes(), second=changes())
def test_one_network_after_another_leaves_nothing_of_the_first(form: Form, first: Change, second: Change) -> None:
    first, second = form.fitting(first), form.fitting(second)
    before = form.render(first, {})
    gone = tuple(sorted({each.name for each in first.interfaces} - {each.name for each in second.interfaces}))
    change = Change(second.interfaces, removed=gone)
    after = form.render(change, before)
    found = form.read(after)
    assert found.keys() == {each.name for each in second.interfaces}
    old = {each.name: each for each in first.interfaces}
    for interface in second.interfaces:
        assert found[interface.name] == as_read(form, merge(old.get(interface.name), interface))
    assert form.backend.render(change, form.snapshot(after)) == (), "doing it again changes something"


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_shell_reads_what_we_read(form: Form, tmp_path: Path) -> None:
    if shutil.which(form.shell) is None:
        pytest.skip(f"there is no {form.shell}")
    texts: list[str] = []

    @QUICK
    @given(change=changes())
    def write(change: Change) -> None:
        texts.extend(form.sourced(form.render(form.fitting(change), {})))

    write()
    assert len(texts) >= 60
    for text, said in zip(texts, said_by(form.shell, texts, tmp_path), strict=True):
        assert said == read_by_us(text), text
    assert any("=(" in text for text in texts) is (form is ARRAYS)
