"""The watchdog of the service manager is fed while nothing is stuck, and what is stuck is reported."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from tests.core.running import PATIENCE

from .managed import PACK, Service, Start


def test_the_watchdog_is_fed(start: Start) -> None:
    service = start(WATCHDOG_USEC="100000")
    assert service.told() == "READY=1"
    assert [service.told(), service.told()] == ["WATCHDOG=1", "WATCHDOG=1"]


def test_the_watchdog_is_fed_while_signals_come(start: Start, folder: Path) -> None:
    service = start("--log-file", str(folder / "agent.log"), WATCHDOG_USEC="400000")
    assert service.told() == "READY=1"
    told: list[str] = []
    while told.count("WATCHDOG=1") < 3:
        service.process.send_signal(signal.SIGHUP)
        told += iter(service.told, "READY=1")


def test_the_watchdog_of_another_process_is_not_ours(start: Start) -> None:
    service = start(WATCHDOG_USEC="100000", WATCHDOG_PID="1")
    assert service.told() == "READY=1"
    service.manager.settimeout(0.5)
    with pytest.raises(TimeoutError):
        service.told()


def test_the_watchdog_starves_while_a_call_is_stuck(start: Start, folder: Path) -> None:
    impatient = PACK.replace("sys.exit(", "from guestagent_core import service\nservice._STUCK = 0.2\nsys.exit(")
    assert impatient != PACK
    service = start(pack=impatient, WATCHDOG_USEC="100000")
    service.told()
    thread, answers = service.ask_in_background("stuck")
    service.manager.settimeout(1.5)
    with pytest.raises(TimeoutError):
        set(iter(service.told, "anything else"))
    assert b'"0"' in service.ask("version")
    (folder / "end").touch()
    thread.join(PATIENCE)
    service.manager.settimeout(PATIENCE)
    assert service.told() == "WATCHDOG=1"
    assert b"ended" in answers[0]
    service.end()
    log = service.log
    assert "local: stuck (#1) is past its deadline of 0 s and goes on" in log
    assert log.count("local: stuck (#1) does not end; the service manager is to restart us") == 1


def test_a_command_that_does_not_end_is_reported_without_a_service_manager(service: Service) -> None:
    service.told()
    thread, answers = service.ask_in_background("stuck")
    service.wait_for_line("local: stuck (#1) is past its deadline")
    assert b'"0"' in service.ask("version")
    (service.folder / "end").touch()
    thread.join(PATIENCE)
    assert b"ended" in answers[0]
    service.end()
    assert service.log.count("local: stuck (#1) is past its deadline") == 1


def test_a_command_may_have_all_the_time_there_is(service: Service) -> None:
    service.told()
    thread, answers = service.ask_in_background("unlimited")
    (service.folder / "end").touch()
    thread.join(PATIENCE)
    assert b"ended" in answers[0]
    assert service.end() == 0
    assert "Traceback" not in service.log
