"""Old configuration files, command modules, exchanges and parsers, run as they are by `guestagent-legacy`."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from guestagent_core import __version__


def test_the_file_of_the_old_readme_answers_as_the_old_agent_did(old_agent: Any) -> None:
    process = old_agent.start(old_agent.config)
    assert old_agent.ask("version", "agent") == ("0", __version__)
    code, features = old_agent.ask("features")
    assert code == "0"
    assert {"features", "version"} <= set(features.split(","))
    assert old_agent.ask("foo") == ("404", "No such agent command 'foo'")
    assert old_agent.ask_raw(b"no JSON") == ("500", "Request is malformed")
    assert old_agent.ask_raw(b"[]") == ("500", "Request is malformed")
    assert old_agent.ask_raw(b"{}") == ("500", "Request is missing 'name' key")
    assert old_agent.stop(process) == (0, "Agent starting.\nAgent stopping.\n", "")


def test_a_vendor_s_modules_and_exchange_run_unchanged(old_agent: Any) -> None:
    old_agent.start(old_agent.config.with_name("acme-agent.py"))
    assert old_agent.ask("version") == ("0", f"{__version__}.77")  # the vendor's, in the place of ours
    code, free = old_agent.ask("acme.diskfree", "/")
    assert code == "0"
    assert int(free) > 0
    assert old_agent.ask("acme.calls") == ("0", "1")  # of the object made last, which the subclass made
    assert old_agent.ask("acme.fail", "sda") == ("500", "disk on fire: sda")
    assert old_agent.ask("acme.code", {"code": "D0", "message": "µ"}) == ("D0", "µ")
    assert old_agent.ask("acme.code", {"code": 7, "message": ""}) == ("7", "")
    assert old_agent.ask("acme.nothing")[0] == "500"
    assert old_agent.ask("acme.unknown") == ("404", "No such agent command 'acme.no-such' (acme.no-such)")
    code, report = old_agent.ask("acme.report")
    version, features, motd = report.split("|")
    assert (code, version, motd) == ("0", f"{__version__}.77", "/etc/motd")
    assert {"acme.report", "features", "acme.calls"} <= set(features.split(","))
    code, features = old_agent.ask("features")
    assert {"acme.report", "acme.diskfree", "acme.fail"} <= set(features.split(","))


def test_an_old_exchange_is_asked_again_only_when_it_was_answered(old_agent: Any, wait: Any) -> None:
    old_agent.start(old_agent.config.with_name("acme-agent.py"))
    for number in range(5):
        (old_agent.spool / "in" / f".r{number}").write_text("acme.diskfree /")
        (old_agent.spool / "in" / f".r{number}").rename(old_agent.spool / "in" / f"r{number}")
    answers = wait(lambda: (found := sorted((old_agent.spool / "out").glob("r*")))[4:] and found, "five answers")
    assert all(answer.read_text().startswith("0 ") for answer in answers)
    assert old_agent.ask("acme.calls") == ("0", "5")
    (old_agent.spool / "in" / "r9").write_text("acme.no-such")
    answer = old_agent.spool / "out" / "r9"
    wait(answer.exists, "an answer")
    assert answer.read_text() == "404 No such agent command 'acme.no-such'\n"


def test_values_of_old_commands_are_not_logged(old_agent: Any) -> None:
    old_agent.start("-l", "DEBUG", old_agent.config.with_name("acme-agent.py"))
    assert old_agent.ask("acme.code", {"code": 0, "message": "hunter2"}) == ("0", "hunter2")
    assert old_agent.ask("acme.fail", "hunter2") == ("500", "disk on fire: hunter2")
    assert "hunter2" not in old_agent.logged()


@pytest.mark.parametrize("name", ["agentlib", "commands", "plugins"])
def test_no_other_program_has_the_old_modules(name: str) -> None:
    program = f"import guestagent_legacy.cli, guestagent_legacy.modern, {name}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert f"No module named '{name}'" in done.stderr


BOOT = """
from guestagent_core import CommandBase, CommandError, command
from guestagent_core import discovery
from guestagent_legacy.cli import main
import sys

class Net(CommandBase):
    @command("resetnetwork", timeout=55)
    def reset(self, value):
        name = self.context.store.read("vm-data/hostname")
        if name is None:
            raise CommandError("no host name")
        self.context.path("/etc/hostname").write_bytes(name)
        return 0, ""

class Password(CommandBase):
    @command("password")
    def password(self, value):
        self.context.path("/etc/shadow").write_text(value)
        return 0, ""

discovery.load_packs = lambda plugin, original=discovery.load_packs: (
    [*original(plugin), Net, Password] if plugin.name == "builtin" else original(plugin)
)
sys.exit(main())
"""


def test_resetnetwork_at_boot_is_done_before_the_agent_answers(old_agent: Any) -> None:
    program = old_agent.folder / "boot.py"
    program.write_text(BOOT)
    command = old_agent.command
    old_agent.command = lambda *words: [sys.executable, str(program), *command(*words)[5:]]
    old_agent.store.write("/local/domain/0/vm-data/hostname", b"web1")
    process = old_agent.start(old_agent.config, "resetnetwork")
    assert (old_agent.root / "etc/hostname").read_bytes() == b"web1"
    assert "boot: resetnetwork" in old_agent.logged()
    assert "resetnetwork" in old_agent.ask("features")[1].split(",")
    assert old_agent.stop(process)[0] == 0


def test_a_failure_of_resetnetwork_at_boot_is_logged_and_the_start_goes_on(old_agent: Any) -> None:
    program = old_agent.folder / "boot.py"
    program.write_text(BOOT)
    command = old_agent.command
    old_agent.command = lambda *words: [sys.executable, str(program), *command(*words)[5:]]
    process = old_agent.start(old_agent.config, "resetnetwork")
    assert "[WARNING] resetnetwork failed: no host name\n" in old_agent.logged()
    assert old_agent.ask("resetnetwork") == ("500", "no host name")
    assert old_agent.stop(process)[0] == 0


def test_a_fault_in_resetnetwork_at_boot_ends_the_start(old_agent: Any) -> None:
    program = old_agent.folder / "boot.py"
    program.write_text(BOOT.replace('CommandError("no host name")', 'ZeroDivisionError("a fault")'))
    command = old_agent.command
    old_agent.command = lambda *words: [sys.executable, str(program), *command(*words)[5:]]
    done = old_agent.run("-n", old_agent.config, "resetnetwork")
    assert done.returncode == 1
    assert "[EXC] ZeroDivisionError: a fault" in old_agent.logged()
    assert f"failed to parse config file '{old_agent.config}'" in old_agent.logged()


@pytest.mark.parametrize(("keywords", "code"), [("testmode=True", "500"), ("testmode=False", "0")])
def test_in_testmode_no_password_is_changed(old_agent: Any, keywords: str, code: str) -> None:
    program = old_agent.folder / "boot.py"
    program.write_text(BOOT)
    command = old_agent.command
    old_agent.command = lambda *words: [sys.executable, str(program), *command(*words)[5:]]
    old_agent.config.write_text(old_agent.config.read_text().replace("init()", f"init({keywords})"))
    old_agent.start(old_agent.config)
    assert old_agent.ask("password", "secret")[0] == code
    assert (old_agent.root / "etc/shadow").exists() == (code == "0")


def test_a_link_to_the_file_of_the_version_in_use_finds_what_lies_beside_that_file(old_agent: Any) -> None:
    folder = old_agent.config.parent
    (folder / "commands" / "._acme_report.py").write_bytes(b"\0\5\26\7")  # as a Mac's tar leaves them
    link = old_agent.folder / "nova-agent.py"
    link.symlink_to(folder / "acme-agent.py")
    old_agent.start(link)
    assert {"acme.report", "acme.diskfree"} <= set(old_agent.ask("features")[1].split(","))
