"""Any order of what a host does to a guest: what has to stand and be set after each, and after all at once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from tests.xen.harness import DAEMONS, Daemon, Guest, ProgramsMissingError, find_programs

from guestagent_core import (
    CommandBase,
    CommandResult,
    InvalidArgumentError,
    command,
)
from guestagent_xen.host.xapi import ScriptOutcome, XapiHost

from .conftest import MACS, script_channel, until, vif_channel
from .development import DevelopmentDaemon, DevelopmentGuest

SEED = 20261125
NUMBERS, FAMILIES = st.sampled_from((0, 1)), st.sampled_from((4, 6))
STEPS = (
    st.tuples(st.just("plug"), NUMBERS, st.just(4), st.just("")),
    st.tuples(st.just("static"), NUMBERS, FAMILIES, st.sampled_from(("10", "11"))),
    st.tuples(st.sampled_from(("dhcp", "none")), NUMBERS, FAMILIES, st.just("")),
    st.tuples(st.sampled_from(("resume", "set-data")), NUMBERS, st.just(4), st.sampled_from(("a", "b"))),
)
SETTLING = (  # what only has one outcome when nothing else is under way
    st.tuples(st.just("static"), NUMBERS, FAMILIES, st.just("junk")),
    st.tuples(st.just("script"), NUMBERS, st.just(4), st.sampled_from(("a", "b"))),
)
ORDERS = st.one_of(
    st.tuples(st.just(False), st.lists(st.one_of(*STEPS, *SETTLING), min_size=1, max_size=12)),
    st.tuples(st.just(True), st.lists(st.one_of(*STEPS), min_size=1, max_size=12)),
)
"""Whether the host is hasty, and what it does."""
Step = tuple[str, int, int, str]
State = dict[tuple[str, str], tuple[str, str | None]]


class Nics(CommandBase):
    """Network devices that have what they were told last; those of the address 'junk' are refused."""

    state: State

    @command("xapi.vif", idempotent=True)
    def configure(self, value: dict[str, Any]) -> CommandResult:
        """Applies an order."""
        if value["enabled"] == "1" and "junk" in value["address"]:
            raise InvalidArgumentError("The address is junk")
        key = value["mac"], value["family"]
        if value["enabled"] == "0":
            Nics.state.pop(key, None)
        else:
            Nics.state[key] = value["enabled"], value["address"]
        return CommandResult()


class Acme(CommandBase):
    """What a script can call."""

    @command("acme.echo")
    def echo(self, value: str) -> CommandResult:
        """Answers its value."""
        return CommandResult(0, value)


def address_of(family: int, last: str) -> str:
    return f"192.0.2.{last}/24" if family == 4 else f"2001:db8::{last}/64"


def act(host: XapiHost, step: Step, plugged: set[int], state: State) -> None:
    """Does a step as the host, and to the model of what has to be set after it."""
    verb, number, family, text = step
    if verb == "plug":
        host.plug(number, MACS[number])
        plugged.add(number)
        for name in ("ipv4", "ipv6"):
            state.pop((MACS[number], name), None)
    elif verb == "resume":
        host.resume({each: MACS[each] for each in plugged})
        for each in plugged:
            for name in ("ipv4", "ipv6"):
                state.pop((MACS[each], name), None)
    elif verb == "set-data":
        host.set_data({text: "1"})
    elif verb == "script":
        until(lambda: "feature-xs-batcmd" in host.view().other)
        assert host.script(f'acme.echo "{text}"', 10) == ScriptOutcome("SUCCESS", 0, text, "")
    elif number in plugged:
        key = MACS[number], f"ipv{family}"
        if verb == "static":
            host.static(number, address_of(family, text), family=family)
            if text != "junk":
                state[key] = "1", address_of(family, text)
        elif verb == "dhcp":
            host.dhcp(number, family=family)
            state[key] = "2", None
        else:
            host.none(number, family=family)
            state.pop(key, None)


def note_error(step: Step, plugged: set[int], wrong: dict[int, int]) -> None:
    """Keeps the model of which devices show an error, and of which family: the other one's success leaves it."""
    verb, number, family, text = step
    if verb == "resume":
        wrong.clear()
    elif verb == "plug":
        wrong.pop(number, None)
    elif verb not in ("set-data", "script") and number in plugged:
        if text == "junk":
            wrong[number] = family
        elif wrong.get(number) == family:
            del wrong[number]


def settled(host: XapiHost, plugged: set[int]) -> bool:
    return not any({"enabled", "enabled6"} & set(host.setting(number)) for number in plugged)


def converse(host: XapiHost, way: Path, root: Path, steps: list[Step], *, hasty: bool) -> None:
    """Lets an agent obey ``steps``.

    :param hasty: whether the host does not wait for the end of one before the next.
    """
    Nics.state = {}
    host.make()
    expected: State = {}
    plugged: set[int] = set()
    wrong: dict[int, int] = {}
    with (
        mock.patch("guestagent_commands_net.families.owner", return_value="ifupdown"),
        mock.patch("guestagent_xapi.vif_exchange._is_there", return_value=True),
        closing(script_channel(Acme, way)),
    ):
        until(lambda: "feature-xs-batcmd" in host.view().other)  # the device is for one after the other to open
        with closing(vif_channel(Nics, way, root)):
            for step in steps:
                act(host, step, plugged, expected)
                if hasty:
                    continue
                until(lambda: settled(host, plugged))
                assert Nics.state == expected, step
                note_error(step, plugged, wrong)
                assert {each for each in plugged if host.setting(each)["error-code"] != "0"} == set(wrong), step
            until(lambda: settled(host, plugged))
            assert Nics.state == expected
            until(lambda: host.view().other.get("feature-static-ip-setting") == "1")
    assert "feature-static-ip-setting" not in host.view().other


@seed(SEED)
@settings(max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(ORDERS)
def test_any_order_ends_as_the_host_said_last(orders: tuple[bool, list[Step]]) -> None:
    hasty, steps = orders
    with tempfile.TemporaryDirectory(prefix="ga-") as name:
        daemon = DevelopmentDaemon(Path(name))
        with daemon.store:
            guest = DevelopmentGuest(daemon, 7)
            with XapiHost(7, socket=str(daemon.socket)) as host:
                converse(host, guest.device, Path(name), steps, hasty=hasty)


@pytest.mark.real
@pytest.mark.parametrize("kind", DAEMONS)
def test_any_order_ends_so_on_real_daemons(kind: str, folder: Path) -> None:
    try:
        programs = find_programs()
    except ProgramsMissingError as error:
        pytest.skip(str(error))
    (folder / "store").mkdir()
    with (
        Daemon(kind, folder / "store", programs) as daemon,
        Guest(daemon, 7) as guest,
        XapiHost(7, socket=str(daemon.socket)) as host,
    ):

        @seed(SEED)
        @settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(ORDERS)
        def obeyed(orders: tuple[bool, list[Step]]) -> None:
            hasty, steps = orders
            if daemon.host.list(f"{guest.home}/xenserver"):
                daemon.host.remove(f"{guest.home}/xenserver")
            converse(host, guest.device, folder, steps, hasty=hasty)

        run: Callable[[], None] = obeyed
        run()
