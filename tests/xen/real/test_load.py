"""Many requests at once, from a host that has the distribution's programs and nothing of ours."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from tests.xen.harness import Agent, Daemon, Guest
from tests.xen.real.questions import Questions

pytestmark = pytest.mark.real


def names(count: int) -> list[str]:
    """Names as long as those of hosts, which are UUIDs."""
    return [f"request-{number:028}" for number in range(count)]


def test_a_thousand_requests_in_one_go_are_answered(place: Any, folder: Path) -> None:
    questions = Questions(place.daemon.host, place.home)
    with questions.watch() as watch, Agent(folder, place.way):
        questions.ask(["first"])
        questions.collect(watch)
        questions.ask(names(1000))
        questions.collect(watch)
        questions.assert_nothing_is_left()


def test_more_requests_than_a_guest_may_have_nodes_are_answered(daemon: Daemon, guest: Guest, folder: Path) -> None:
    questions = Questions(daemon.host, guest.home)
    with questions.watch() as watch, Agent(folder, guest.device):
        questions.ask(["first"])
        questions.collect(watch)
        questions.ask(names(1200))
        questions.collect(watch, patience=5.0)
        questions.assert_nothing_is_left()


def test_300_that_wait_already_are_answered_in_a_guest(daemon: Daemon, guest: Guest, folder: Path) -> None:
    questions = Questions(daemon.host, guest.home)
    questions.ask(names(300))
    with questions.watch() as watch, Agent(folder, guest.device) as agent:
        if daemon.name == "oxenstored":  # which cannot list as many: they wait until hosts have given up on some
            agent.await_log("more requests than its daemon can list")
            questions.ask(["while-it-runs"])
            questions.collect(watch, most_open=300)
            questions.withdraw(names(240))
        questions.collect(watch, patience=5.0)
        assert agent.log.count("more requests than its daemon can list") == (daemon.name == "oxenstored")
    questions.assert_nothing_is_left()


def test_answers_that_nobody_collects_make_room_for_new_ones(daemon: Daemon, guest: Guest, folder: Path) -> None:
    room = {"xenstored": 40, "oxenstored": 900}[daemon.name]
    asked = names(1200)
    questions = Questions(daemon.host, guest.home)
    with questions.watch() as watch, Agent(folder, guest.device):
        questions.ask(["first"])
        questions.collect(watch)
        for start in range(0, 1200, 100):
            questions.ask(asked[start : start + 100])
            questions.await_taken()
        questions.read(asked[-room:])


@pytest.mark.parametrize("daemon", ["xenstored"], indirect=True)
def test_a_host_that_looks_now_and_then_sees_every_answer(daemon: Daemon, guest: Guest, folder: Path) -> None:
    asked = names(200)  # a few times as many as there is room for; oxenstored has room for a thousand
    questions = Questions(daemon.host, guest.home)
    with Agent(folder, guest.device):
        looked = time.monotonic()
        questions.ask(asked)
        while questions.open:
            time.sleep(0.5)  # as the plugin of XenServer does, which does not remove answers either
            all_taken, looks = questions.all_taken(), time.monotonic()
            questions.open.difference_update(questions.answered())
            if time.monotonic() - looked > 0.9:  # the machine is busy: what was removed meanwhile nobody could see
                questions.ask_again()
            else:
                assert not (all_taken and questions.open), "answers were removed before they were seen"
            looked = looks


@pytest.mark.parametrize("daemon", ["xenstored"], indirect=True)
def test_a_daemon_that_stops_while_the_agent_has_nothing_to_do_makes_no_answer_old(
    daemon: Daemon, guest: Guest, folder: Path
) -> None:
    questions = Questions(daemon.host, guest.home)
    first, second = names(100)[:50], names(100)[50:]
    with Agent(folder, guest.device), questions.watch() as watch:
        questions.ask(first)
        questions.await_taken()
        daemon.stop()
        time.sleep(1.2)  # longer than answers stay untouched
        daemon.resume()
        questions.ask(second)  # there is no room for them all
        while not set(second) & set(questions.answered()):
            watch.changed(5.0)
        questions.read(first)


@pytest.mark.parametrize("daemon", ["xenstored"], indirect=True)
def test_an_agent_leaves_the_answers_alone_that_a_killed_one_has_just_put(
    daemon: Daemon, guest: Guest, folder: Path
) -> None:
    questions = Questions(daemon.host, guest.home)
    first, second = names(100)[:50], names(100)[50:]
    with Agent(folder, guest.device) as agent:
        questions.ask(first)
        questions.await_taken()
        agent.kill()
        agent.start()
        with questions.watch() as watch:
            questions.ask(second)  # there is no room for them all
            while not set(second) & set(questions.answered()):
                watch.changed(5.0)
            questions.read(first)
