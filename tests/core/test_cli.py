"""The command line, run as a user runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestagent_core.client import LocalClient
from guestagent_core.version import VERSION

from .running import PATIENCE, RunningAgent


def guestagent(*arguments: str, input: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "guestagent_core", *arguments]
    environment = {**os.environ, **variables}
    return subprocess.run(
        command, input=input, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def call(agent: RunningAgent, *arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:
    return guestagent("call", "--socket", str(agent.socket), *arguments, input=input)


@pytest.fixture
def agent(folder: Path) -> Iterator[RunningAgent]:
    agent = RunningAgent(folder)
    agent.wait_until_ready()
    yield agent
    agent.close()


def test_alone_it_helps() -> None:
    done = guestagent()
    assert done.returncode == 0
    assert "run the agent in the foreground" in done.stdout


def test_it_knows_its_version() -> None:
    assert guestagent("--version").stdout == f"{VERSION}\n"


def test_wrong_use_is_two() -> None:
    assert guestagent("nosuch").returncode == 2
    assert guestagent("call").returncode == 2


def test_a_command_is_called(agent: RunningAgent) -> None:
    done = call(agent, "version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{VERSION}\n", "")
    features = call(agent, "features", '{"any": ["value"]}').stdout.strip().split(",")
    assert {"features", "version"} <= set(features), "and what else is installed"
    assert call(agent, "version", "-", input="from standard input\n").returncode == 0


def test_a_failure_is_one_sentence_and_a_status(agent: RunningAgent) -> None:
    done = call(agent, "make-coffee")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "guestagent: make-coffee: 404: No such agent command 'make-coffee'\n"


def test_without_an_agent_a_call_says_so(folder: Path) -> None:
    done = guestagent("call", "--socket", str(folder / "none.sock"), "version")
    assert done.returncode == 1
    assert done.stderr == f"guestagent: {folder}/none.sock: no agent listens there; is it running?\n"


@pytest.mark.parametrize("timeout", ["0", "-1", "nan"])
def test_a_time_out_that_is_none_is_a_clear_error(folder: Path, timeout: str) -> None:
    done = guestagent("call", "--socket", str(folder / "none.sock"), f"--timeout={timeout}", "version")
    assert done.returncode == 1
    assert done.stderr.startswith("guestagent: --timeout must be more than 0 seconds, not ")


def test_the_root_leads_to_the_socket(folder: Path) -> None:
    environment = {"STATE_DIRECTORY": "", "RUNTIME_DIRECTORY": ""}
    command = [sys.executable, "-m", "guestagent_core", "run", "--root", str(folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}) as process:
        assert process.stderr is not None
        while "commands may be run" not in process.stderr.readline():
            pass
        assert guestagent("call", "--root", str(folder), "version", **environment).stdout == f"{VERSION}\n"
        assert (folder / "run/guestagent").stat().st_mode & 0o777 == 0o700
        assert (folder / "run/guestagent/agent.sock").stat().st_mode & 0o777 == 0o600
        process.terminate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(agent: RunningAgent, number: signal.Signals) -> None:
    assert call(agent, "version").returncode == 0
    assert agent.end(number) == 0
    assert not agent.socket.exists()
    log = agent.log
    assert f"{number.name}: the agent stops" in log
    assert re.search(r"local: version #1: 0 in \d+\.\d ms", log)
    assert "Loaded guestagent.parsers 'json' of guestagent_json 3.0.0" in log
    assert "Traceback" not in log


def test_a_second_agent_on_one_socket_is_refused(agent: RunningAgent, folder: Path) -> None:
    done = guestagent("run", "--root", str(agent.root), "--socket", str(agent.socket))
    assert done.returncode == 1
    assert "another agent listens there" in done.stderr
    assert call(agent, "version").returncode == 0


def test_a_killed_agent_leaves_a_socket_that_the_next_one_takes_over(agent: RunningAgent, folder: Path) -> None:
    agent.end(signal.SIGKILL)
    assert agent.socket.exists()
    second = RunningAgent(folder)
    second.wait_until_ready()
    assert call(second, "version").returncode == 0
    assert second.end() == 0


def test_a_socket_path_that_is_too_long_is_a_clear_error(folder: Path) -> None:
    path = folder / ("x" * 108)
    done = guestagent("run", "--root", str(folder), "--socket", str(path))
    assert done.returncode == 1
    assert "a socket's path may have 107 bytes" in done.stderr


def test_a_wrong_configuration_is_named_by_file_and_key(folder: Path) -> None:
    config = folder / "config.toml"
    config.write_text('[agent]\nlog_level = "loud"\n')
    for command in ("check", "plugins", "run"):
        done = guestagent(command, "--config", str(config))
        assert done.returncode == 1
        expected = f"guestagent: {config}: agent: log_level: expected one of 'debug', 'info', 'warning', 'error'"
        assert done.stderr.startswith(expected)


def test_check_and_plugins_open_nothing(agent: RunningAgent, folder: Path) -> None:
    config = folder / "config.toml"
    only_ours = "[agent]\ncommands = []\nhooks = []\n"  # whatever else is installed
    config.write_text(f'{only_ours}[[channel]]\nexchange = "local"\n[channel.options]\npath = "{agent.socket}"\n')
    done = guestagent("check", "--config", str(config))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{config}: valid; 4 plugins with 2 commands are on\n"
    rows = json.loads(guestagent("plugins", "--json", "--config", str(config)).stdout)
    exchanges = {row["name"]: row["on"] for row in rows if row["group"] == "guestagent.exchanges"}
    assert exchanges.pop("local") == "yes"
    assert set(exchanges.values()) == {"no"}
    assert {row["on"] for row in rows if row["group"] == "guestagent.demos"} == {"yes"}
    assert call(agent, "version").returncode == 0


def test_the_demo_asks_a_real_agent_and_leaves_nothing_behind(folder: Path) -> None:
    done = guestagent("demo", TMPDIR=str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert '-> {"name": "version", "value": "agent"}' in done.stdout
    assert f'<- {{"message": "{VERSION}", "returncode": "0"}}' in done.stdout
    assert re.search(r"1000 x version: median \d+\.\d+ ms", done.stdout)
    assert "== json, of guestagent_json" in done.stdout
    assert '-> []\n  <- {"message": "Request is malformed", "returncode": "500"}' in done.stdout
    assert list(folder.iterdir()) == []


def test_the_demo_can_be_kept_and_paused(folder: Path) -> None:
    done = guestagent("demo", "--keep", "--pause", TMPDIR=str(folder), input="\n" * 10)
    assert done.returncode == 0
    demos = re.findall(r"== [\w-]+, of ", done.stdout)
    assert done.stdout.count("Press Enter") == len(demos) - 1 > 0
    kept = re.findall(r"^Kept: (.*)$", done.stdout, re.MULTILINE)
    assert sorted(kept) == sorted(str(path) for path in folder.iterdir())


def test_ctrl_c_in_the_demo_leaves_nothing_behind(folder: Path) -> None:
    command = [sys.executable, "-u", "-m", "guestagent_core", "demo"]
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        while "->" not in process.stdout.readline():
            pass
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert list(folder.iterdir()) == []


def test_ctrl_c_in_the_demo_waits_for_an_agent_that_takes_its_time(folder: Path) -> None:
    command = [sys.executable, "-u", "-m", "guestagent_core", "demo"]
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        while "->" not in demo.stdout.readline():
            pass
        agent = int(Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text())
        os.kill(agent, signal.SIGSTOP)
        going_on = threading.Timer(1.0, os.kill, (agent, signal.SIGCONT))
        going_on.start()
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=PATIENCE)
        is_there = Path(f"/proc/{agent}").exists()
        going_on.join()
    assert not is_there
    assert demo.returncode == 130
    assert list(folder.iterdir()) == []


def test_a_client_of_the_library_reaches_the_agent(agent: RunningAgent) -> None:
    with LocalClient(agent.socket) as client:
        for _ in range(3):
            assert b'"0"' in client.request(b'{"name": "version"}')
