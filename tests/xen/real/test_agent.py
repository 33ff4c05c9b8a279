"""The agent beside a daemon that does what daemons do."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from tests.xen.harness import Agent, Daemon, Guest
from tests.xen.real.questions import Questions

pytestmark = pytest.mark.real
_IDLE = 3.0  # seconds


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_it_ends_beside_a_daemon_that_stands_still(place: Any, folder: Path, busy: bool) -> None:
    questions = Questions(place.daemon.host, place.home)
    with Agent(folder, place.way, timeout=1.0) as agent:
        with questions.watch() as watch:
            questions.ask(["first"])
            questions.collect(watch)
        if busy:
            questions.ask(f"request-{number}" for number in range(90))
        place.daemon.stop()
        agent.end()
        place.daemon.resume()
        agent.start()
        with questions.watch() as watch:
            questions.ask_again()
            questions.ask(["last"])
            questions.collect(watch)


def test_a_folder_that_somebody_removes_is_there_again(place: Any, folder: Path) -> None:
    questions = Questions(place.daemon.host, place.home)
    with Agent(folder, place.way), questions.watch() as watch:
        questions.ask(["first"])
        questions.collect(watch)
        with place.daemon.host.watch(f"{place.home}/data/host") as there:
            place.daemon.host.remove(f"{place.home}/data/host")
            while place.daemon.host.read(f"{place.home}/data/host") is None:
                assert there.changed(10.0)
        questions.ask(["second"])
        questions.collect(watch)


def test_a_guest_with_an_old_kernel_is_served(daemon: Daemon, folder: Path) -> None:
    with Guest(daemon, 7, old_kernel=True) as guest, Agent(folder, guest.device):
        questions = Questions(daemon.host, guest.home)
        with questions.watch() as watch:
            for start in range(0, 100, 20):
                questions.ask(f"request-{number}" for number in range(start, start + 20))
                questions.collect(watch)


def test_nothing_to_do_costs_nothing(place: Any, folder: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (Debian: strace)")
    questions = Questions(place.daemon.host, place.home)
    with Agent(folder, place.way) as agent:
        with questions.watch() as watch:
            questions.ask(["first"])
            questions.collect(watch)
        trace = folder / "trace"
        with subprocess.Popen(
            ["strace", "-f", "-p", str(agent.pid), "-o", trace], stderr=subprocess.PIPE, text=True
        ) as tracer:
            assert tracer.stderr is not None
            if "attached" not in tracer.stderr.readline():
                pytest.skip("strace may not trace processes here")
            time.sleep(_IDLE)
            tracer.send_signal(signal.SIGINT)
        calls = [line for line in trace.read_text().splitlines() if "resumed" in line or " = " in line]
        assert not calls
