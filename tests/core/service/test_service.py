"""The agent as a service: signals, the log and the pid file."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path
from typing import NoReturn

import pytest
from tests.core.running import PATIENCE

from guestagent_core import ConfigError
from guestagent_core.service import pid_file

from .managed import PACK, Service, Start


def test_the_manager_is_told_of_the_start_and_the_end(service: Service) -> None:
    assert service.told() == "READY=1"
    assert b'"0"' in service.ask("version")
    service.process.terminate()
    assert service.told() == "STOPPING=1"
    assert service.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_finishes_what_runs(service: Service, number: signal.Signals) -> None:
    service.told()
    thread, answers = service.ask_in_background("program")
    service.process.send_signal(number)
    assert service.told() == "STOPPING=1"
    assert service.process.poll() is None
    (service.folder / "end").touch()
    thread.join(PATIENCE)
    assert answers == [b'{"message": "ended", "returncode": "0"}']
    assert service.wait() == 0


def test_the_second_signal_kills_what_runs(service: Service) -> None:
    service.told()
    thread, answers = service.ask_in_background("program")
    service.process.terminate()
    service.told()
    assert service.end() == 1, "and its program is gone too, which would have held its standard error open"
    thread.join(PATIENCE)
    assert "SIGTERM again: the agent is ended at once" in service.log
    assert b"hung up" in answers[0]


def test_the_second_signal_ends_a_plugin_that_does_not_shut_down(start: Start, folder: Path) -> None:
    hangs = f"from guestagent_core.hooks import Hooks\n\ndef hang(*_):\n    Path({str(folder)!r}, 'begun').touch()\n"
    hangs += "    time.sleep(600)\n\nHooks.shutdown = hang\n"
    service = start(pack=PACK.replace("discovery.load_packs =", f"{hangs}discovery.load_packs ="))
    service.told()
    service.process.terminate()
    assert service.told() == "STOPPING=1"
    while not (folder / "begun").exists():
        assert service.process.poll() is None
    assert service.end() == 1
    assert "SIGTERM again: the agent is ended at once" in service.log


def test_a_signal_that_a_plugin_handles_ends_nothing(start: Start, folder: Path) -> None:
    handles = f"import signal\nsignal.signal(signal.SIGUSR1, lambda *_: Path({str(folder)!r}, 'handled').touch())\n"
    service = start(pack=PACK.replace("discovery.load_packs =", f"{handles}discovery.load_packs ="))
    service.told()
    service.process.send_signal(signal.SIGUSR1)
    while not (folder / "handled").exists():
        assert service.process.poll() is None
    assert b'"0"' in service.ask("version")
    service.process.terminate()
    assert service.told() == "STOPPING=1"
    assert service.wait() == 0
    assert "SIGUSR1" not in service.log


def test_signals_that_were_blocked_when_the_agent_began_end_it_and_its_programs(start: Start) -> None:
    service = start(pack=f"import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n{PACK}")
    service.told()
    assert service.ask("fails") == b'{"message": "sh failed with signal 15", "returncode": "500"}'
    service.process.terminate()
    assert service.told() == "STOPPING=1"
    assert service.wait() == 0


def test_a_program_fails_even_if_who_starts_the_agent_ignores_the_end_of_children(start: Start) -> None:
    service = start(pack=f"import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n{PACK}")
    service.told()
    assert service.ask("fails") == b'{"message": "sh failed with signal 15", "returncode": "500"}'


def test_sighup_reopens_the_log(start: Start, folder: Path) -> None:
    log = folder / "agent.log"
    service = start("--log-file", str(log))
    assert service.told() == "READY=1"
    service.ask("version")
    assert log.stat().st_mode & 0o777 == 0o600
    log.rename(folder / "agent.log.1")
    service.process.send_signal(signal.SIGHUP)
    reloading, stamp = service.told().split("\n")
    assert reloading == "RELOADING=1"
    assert stamp.startswith("MONOTONIC_USEC=")
    assert service.told() == "READY=1"
    service.ask("features")
    service.end()
    assert service.log == ""
    assert "features #2: 0 in" in log.read_text()
    assert "version #1: 0 in" in (folder / "agent.log.1").read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_log_that_others_could_read_is_closed_to_them(start: Start, folder: Path) -> None:
    log = folder / "agent.log"
    log.touch(mode=0o644)
    service = start("--log-file", str(log))
    service.told()
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_json_log_has_the_fields_of_a_call(start: Start) -> None:
    service = start("--log-format", "json")
    service.told()
    service.ask("version")
    service.ask("no\nsuch")
    service.end()
    lines = [json.loads(line) for line in service.log.splitlines()]
    (version,) = [line for line in lines if line.get("command") == "version"]
    assert (version["channel"], version["id"], version["code"], version["level"]) == ("local", "#1", "0", "info")
    assert version["ms"] > 0
    assert any("'no\\nsuch'" in line["message"] for line in lines)


def test_the_pid_file_holds_our_pid_until_the_end(start: Start, folder: Path) -> None:
    pid = folder / "agent.pid"
    service = start("--pid-file", str(pid))
    service.told()
    assert pid.read_text() == f"{service.process.pid}\n"
    assert pid.stat().st_mode & 0o777 == 0o600
    service.end()
    assert not pid.exists()


def test_who_finds_the_pid_file_may_send_signals(start: Start, folder: Path) -> None:
    pid = folder / "agent.pid"
    service = start("--pid-file", str(pid))
    while not pid.exists():
        assert service.process.poll() is None
    service.process.send_signal(signal.SIGHUP)
    assert service.told() == "READY=1"
    assert service.told().startswith("RELOADING=1\n")
    assert service.told() == "READY=1"
    service.process.terminate()
    assert service.wait() == 0
    assert not pid.exists()


def test_a_start_that_fails_leaves_no_pid_file(start: Start, folder: Path) -> None:
    pid = folder / "agent.pid"
    service = start("--pid-file", str(pid), "--socket", "/dev/null/agent.sock")
    while service.process.poll() is None:
        assert not pid.exists()
    assert service.wait() == 1


def test_a_pid_file_of_another_process_stays(start: Start, folder: Path) -> None:
    pid = folder / "agent.pid"
    service = start("--pid-file", str(pid))
    service.told()
    pid.write_text("1\n")
    service.end()
    assert pid.read_text() == "1\n"


def test_a_pid_file_for_which_the_disk_has_no_room_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ConfigError, match="No space left on device"), pid_file(tmp_path / "agent.pid"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--pid-file", "--log-file"])
def test_a_file_that_cannot_be_written_is_named(start: Start, folder: Path, option: str) -> None:
    service = start(option, str(folder / "missing" / "file"))
    assert service.wait() == 1
    assert service.log.startswith(f"guestagent: {folder}/missing/file: the ")
    assert len(service.log.splitlines()) == 1


def test_a_pid_file_that_cannot_take_its_place_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pid_file(tmp_path / "agent.pid") as write:
        monkeypatch.setattr(Path, "rename", fail)
        write()
    assert list(tmp_path.iterdir()) == []
