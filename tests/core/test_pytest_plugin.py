"""The pytest plugin: what it costs, and the fixtures that it gives to anybody's tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PACK = """
import pytest
from guestagent_core import CommandBase, CommandError, command
from guestagent_core.testing import Programs


class Pack(CommandBase):
    @command("pack.date")
    def date(self, value):
        return 0, self.context.run(["date", "+%Y"]).stdout.decode().strip()

    @command("pack.later")
    def later(self, value):
        self.context.after_answer(["reboot"])
        return 0, ""


@pytest.fixture
def packs():
    return (Pack,)
"""


def run_pytest(folder: Path, source: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs a file of tests outside of this project."""
    (folder / "test_it.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *options]
    return subprocess.run(
        [*command, "test_it.py"], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


def passes(folder: Path, source: str) -> None:
    done = run_pytest(folder, source)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_imports_nothing_of_ours_until_a_test_needs_it() -> None:
    program = (
        "import sys, pytest\nbefore = set(sys.modules)\nimport guestagent_pytest\nprint(*(set(sys.modules) - before))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["guestagent_pytest"]


def test_it_is_there_without_being_asked_for(tmp_path: Path) -> None:
    assert "guestagent_pytest.py" in run_pytest(tmp_path, "", "--trace-config").stdout


def test_programs_are_recorded(tmp_path: Path) -> None:
    passes(
        tmp_path,
        PACK
        + """
def test_it(registry, programs):
    programs.reply("date", stdout=b"1999\\n")
    assert registry.run_command("pack.date") == (0, "1999")
    registry.run_command("pack.later")
    assert programs.argvs == [("date", "+%Y"), ("reboot",)]
    assert [run.detached for run in programs.runs] == [False, True]
    programs.reply("date", "+%Y", returncode=1, stderr=b"no clock")
    with pytest.raises(CommandError, match="date failed with exit status 1: no clock"):
        registry.run_command("pack.date")
    programs.hang("date")
    with pytest.raises(TimeoutError):
        registry.run_command("pack.date")
    programs.lack("date")
    with pytest.raises(FileNotFoundError):
        registry.run_command("pack.date")
""",
    )


def test_programs_are_really_run_if_a_test_says_so(tmp_path: Path) -> None:
    passes(
        tmp_path,
        PACK
        + """
@pytest.fixture
def programs():
    return Programs()


def test_it(registry):
    assert int(registry.run_command("pack.date").message) > 2000
""",
    )


def test_the_context_has_a_scratch_root(tmp_path: Path) -> None:
    passes(
        tmp_path,
        """
def test_it(context, tmp_path):
    assert context.root.is_dir() and context.root.is_relative_to(tmp_path)
    assert context.state_dir.is_dir() and context.state_dir.is_relative_to(tmp_path)
    assert not context.state_dir.is_relative_to(context.root)
""",
    )


def test_an_agent_is_run_with_what_is_installed(tmp_path: Path) -> None:
    passes(
        tmp_path,
        """
import sys
import pytest
from guestagent_core.config import ChannelConfig, Config

BEFORE = sys.getswitchinterval()


@pytest.fixture
def agent_config():
    return Config(channel=(ChannelConfig("local", deny=("version",)),))


def test_it(agent):
    assert agent.call("features").message.split(",")[0]
    assert agent.call("version").code == "403"


def test_it_has_ended():
    import threading
    assert threading.active_count() == 1
    assert sys.getswitchinterval() == BEFORE
""",
    )


def test_an_agent_that_does_not_work_fails_the_test_with_what_its_log_says(tmp_path: Path) -> None:
    done = run_pytest(
        tmp_path,
        """
import pytest
from guestagent_core.config import ChannelConfig, Config


@pytest.fixture
def agent_config():
    return Config(channel=(ChannelConfig("local"), ChannelConfig("pigeon")))


def test_it(agent):
    pass
""",
    )
    assert done.returncode == 1
    assert "guestagent.exchanges 'pigeon': not installed; installed is" in done.stdout


def test_requests_come_from_memory(tmp_path: Path) -> None:
    passes(
        tmp_path,
        """
from guestagent_core import Dispatcher
from guestagent_json import JsonParser

def test_it(memory_exchange, registry):
    question = memory_exchange.ask(b'{"name": "features"}')
    assert Dispatcher(memory_exchange, JsonParser(registry)).run_once()
    assert b'"features,version"' in question.answer(1)
""",
    )
