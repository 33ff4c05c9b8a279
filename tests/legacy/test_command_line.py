"""The old command line: texts, exit codes, the fork, the pid file, the log, signals, test_mode."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from guestagent_core import __version__
from guestagent_legacy import arguments

WRONG = [
    (["-p"], "Missing argument to option 'p'"),
    (["config.py", "--logfile"], "Missing argument to option 'logfile'"),
    (["-z"], "Unknown option: 'z'"),
    (["--zap", "config.py"], "Unknown option: 'zap'"),
    (["config.py", "-z"], "Unknown option: 'z'"),
    ([], "No python configuration file specified"),
    (["-n", "-q"], "No python configuration file specified"),
    (["-l", "loud", "config.py"], "Unknown level: 'loud'"),
]


@pytest.mark.parametrize(("words", "text"), WRONG)
def test_wrong_use_is_told_with_a_short_usage(words: list[str], text: str) -> None:
    with pytest.raises(arguments.UsageError, match=re.escape(text)):
        arguments.parse_arguments(words)


def test_wrong_use_ends_with_status_1(old_agent: Any) -> None:
    done = old_agent.run("-z")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: Unknown option: 'z'\n{arguments.USAGE}\n"


def test_help_goes_to_standard_output(old_agent: Any) -> None:
    done = old_agent.run("--help")
    assert (done.returncode, done.stdout, done.stderr) == (0, arguments.HELP + "\n", "")
    for option in ("-n", "-p", "-o", "-l", "-t", "-q", "-S"):
        assert f"  {option}, --" in done.stdout


def test_options_may_follow_the_file_and_end_at_two_dashes() -> None:
    parsed = arguments.parse_arguments(["config.py", "-S", "-n", "system-init", "--level", "Debug"])
    assert (parsed.file, parsed.rest, parsed.fork, parsed.level) == ("config.py", ("system-init",), False, 10)
    parsed = arguments.parse_arguments(["-o", "-", "--", "config.py", "-n"])
    assert (parsed.file, parsed.rest, parsed.fork, parsed.log_file) == ("config.py", ("-n",), True, None)


@pytest.mark.parametrize(
    ("text", "options", "status", "said"),
    [
        ("test_mode = True", [], 0, "Agent starting.\nAgent stopping due to test mode.\n"),
        ("test_mode = 1\nraise SystemExit(3)", [], 0, "Agent starting.\nAgent stopping due to test mode.\n"),
        ("test_mode = True", ["-q"], 0, ""),
        ("test_mode = 'yes'", [], 1, "Agent starting.\n"),
        ("test_mode = False", [], 1, "Agent starting.\n"),  # nothing is registered
        ("import sys\ntest_mode = sys.argv == [__file__, 'a', 'b']", ["--", "a", "b"], 0, None),
        ("1 / 0", [], 1, "Agent starting.\n"),
        ("import agentlib\nagentlib.register(1)", [], 1, "Agent starting.\n"),
    ],
)
def test_what_a_file_says_decides(old_agent: Any, text: str, options: list[str], status: int, said: str | None) -> None:
    file = old_agent.folder / "config.py"
    file.write_text(text)
    before, after = ([], options[1:]) if options[:1] == ["--"] else (options, [])
    done = old_agent.run("-n", *before, file, *after)
    assert done.returncode == status
    assert said is None or done.stdout == said


def test_a_failing_file_is_in_the_log_line_by_line(old_agent: Any) -> None:
    file = old_agent.folder / "config.py"
    file.write_text("def f():\n    raise KeyError('x')\nf()\n")
    done = old_agent.run("-q", file)
    assert done.returncode == 1
    assert done.stderr == f"Error: failed to parse config file '{file}'\n"
    lines = old_agent.logged().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \[ERROR\] ", line) for line in lines)
    texts = [line.partition("] ")[2] for line in lines]
    assert texts[0] == "[EXC] Traceback (most recent call last):"
    assert texts[-2:] == ["[EXC] KeyError: 'x'", f"failed to parse config file '{file}'"]


def test_a_missing_file_is_a_failing_one(old_agent: Any) -> None:
    assert old_agent.run(old_agent.folder / "no.py").returncode == 1
    assert f"failed to parse config file '{old_agent.folder}/no.py'" in old_agent.logged()


def test_the_parent_ends_when_the_daemon_is_ready(old_agent: Any, wait: Any) -> None:
    old_agent.log.touch(mode=0o644)
    pid_file = old_agent.folder / "agent.pid"
    done = old_agent.run("-p", pid_file, old_agent.config)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    number = int(pid_file.read_text())
    try:
        assert pid_file.read_text() == f"{number}\n"
        assert pid_file.stat().st_mode & 0o777 == 0o600
        assert old_agent.log.stat().st_mode & 0o777 == 0o600
        assert f"[INFO] Agent {__version__} started\n" in old_agent.logged()
        assert os.getsid(number) == number
        assert [os.readlink(f"/proc/{number}/fd/{descriptor}") for descriptor in range(3)] == ["/dev/null"] * 3
        assert old_agent.ask("version") == ("0", __version__)
    finally:
        os.kill(number, signal.SIGTERM)
    wait(lambda: not pid_file.exists(), "the end")
    wait(lambda: not Path(f"/proc/{number}/fd").exists() or not os.listdir(f"/proc/{number}/fd"), "the end")
    assert "[INFO] Agent stopping\n" in old_agent.logged()


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_a_start_script_may_close_the_standard_streams(old_agent: Any, wait: Any, closed: str) -> None:
    pid_file = old_agent.folder / "agent.pid"
    line = f"exec {shlex.join(old_agent.command('-p', pid_file, old_agent.config))} {closed}"
    assert subprocess.run(["sh", "-c", line], env=old_agent.environment, check=False, timeout=60).returncode == 0
    os.kill(int(pid_file.read_text()), signal.SIGTERM)
    wait(lambda: not pid_file.exists(), "the end")
    assert "[INFO] Agent 3" in old_agent.logged()
    assert "[INFO] Agent stopping\n" in old_agent.logged()


@pytest.mark.parametrize(("end", "logged"), [("", "INFO Agent 3"), ("1 / 0", "ERROR [EXC] ZeroDivisionError")])
def test_a_file_that_sets_up_its_own_log_has_the_agent_s_lines_there(old_agent: Any, end: str, logged: str) -> None:
    text = f"""
import logging.config
logging.config.dictConfig({{
    "version": 1,
    "handlers": {{"own": {{"class": "logging.FileHandler", "filename": {str(old_agent.log)!r}, "formatter": "own"}}}},
    "formatters": {{"own": {{"format": "own %(levelname)s %(message)s"}}}},
    "root": {{"level": "INFO", "handlers": ["own"]}},
}})
"""
    old_agent.config.write_text(f"{text}{old_agent.config.read_text()}{end}\n")
    old_agent.start(old_agent.config)
    assert f"own {logged}" in old_agent.logged()


def test_a_pid_file_that_cannot_be_written_is_only_a_warning(old_agent: Any) -> None:
    process = old_agent.start("-p", old_agent.folder / "no" / "such.pid", old_agent.config)
    assert "[WARNING]" in old_agent.logged()
    assert "the pid file cannot be written" in old_agent.logged()
    assert old_agent.stop(process)[0] == 0


@pytest.mark.parametrize(("end", "status"), [("sys.exit(7)", 7), ("os.kill(os.getpid(), 9)", 1), ("fork.ready()", 0)])
def test_the_parent_tells_how_the_start_went(end: str, status: int) -> None:
    program = f"import os, sys; from guestagent_legacy.daemon import Fork; fork = Fork(); {end}"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


def test_a_pid_file_of_a_newer_agent_stays(old_agent: Any) -> None:
    pid_file = old_agent.folder / "agent.pid"
    process = old_agent.start("-p", pid_file, old_agent.config)
    assert int(pid_file.read_text()) == process.pid
    pid_file.write_text("4194303\n")
    old_agent.stop(process)
    assert pid_file.read_text() == "4194303\n"


def test_other_signals_are_swallowed_and_sighup_reopens_the_log(old_agent: Any, wait: Any) -> None:
    process = old_agent.start("-l", "debug", old_agent.config)
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT, signal.SIGALRM, signal.SIGTSTP, signal.SIGRTMIN):
        process.send_signal(number)
        wait(lambda number=number: f"Signal {int(number)} is ignored" in old_agent.logged(), "the signal's line")
    old_agent.log.rename(old_agent.folder / "agent.log.1")
    process.send_signal(signal.SIGHUP)
    wait(old_agent.log.exists, "the new log")
    assert old_agent.ask("version") == ("0", __version__)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0


def test_a_running_command_is_finished_before_the_end(old_agent: Any, wait: Any) -> None:
    file = old_agent.folder / "nova" / "slow.py"
    file.write_text(
        "import agentlib, commands, plugins, subprocess\n"
        "class Slow(commands.CommandBase):\n"
        "    @commands.command_add('slow')\n"
        "    def slow_cmd(self, data):\n"
        "        child = subprocess.run(['sh', '-c', 'grep SigIgn /proc/self/status; touch begun; "
        "until [ -e end ]; do sleep 0.02; done'], cwd=data, stdout=subprocess.PIPE)\n"
        "        return (0, child.stdout.decode())\n"
        "agentlib.register(plugins.XSComm(), plugins.JsonParser(commands.init()))\n"
    )
    process = old_agent.start(file)
    old_agent.store.write(
        "/local/domain/0/data/host/1", b'{"name": "slow", "value": "%s"}' % os.fsencode(old_agent.folder)
    )
    wait((old_agent.folder / "begun").exists, "the command")
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert process.poll() is None
    (old_agent.folder / "end").touch()
    assert process.wait(timeout=60) == 0
    answer = old_agent.store.read("/local/domain/0/data/guest/1").decode()
    assert '"returncode": "0"' in answer
    ignored = int(re.findall(r"SigIgn:\\t([0-9a-f]+)", answer)[0], 16)
    assert not ignored & 1 << (signal.SIGTERM - 1)
    assert not ignored & 1 << (signal.SIGUSR1 - 1)


def test_testmode_is_a_plain_interpreter(old_agent: Any) -> None:
    file = old_agent.folder / "config.py"
    file.write_text("import sys, agentlib\nprint(agentlib.get_version(), sys.argv[1:])\nsys.exit(5)\n")
    done = old_agent.run("-t", file, "a")
    assert (done.returncode, done.stdout) == (5, f"{__version__} ['a']\n")
    done = old_agent.run("-t", input="import commands\nprint(commands.init().command_names())\n")
    assert done.returncode == 0
    assert "'version'" in done.stdout
