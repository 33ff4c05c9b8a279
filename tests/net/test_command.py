"""``resetnetwork`` as a host asks for it: of an agent, with what is in the channel's store."""

from __future__ import annotations

import fcntl
import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.net import lab
from tests.net.scenarios import IFUPDOWN, STATE, TOOLS, Guest, Tool, shown, wanted

from guestagent_commands_net.applying import apply_change
from guestagent_commands_net.commands import NetworkCommands, Options
from guestagent_commands_net.nics import local_nics
from guestagent_commands_net.readers.sources import read_value
from guestagent_commands_net.transaction import launching, worker
from guestagent_commands_net.transaction.record import Folder, Record
from guestagent_commands_net.transaction.staging import entry_for
from guestagent_core import CommandError, CommandRegistry, CommandResult, Context
from guestagent_core.agent import Agent
from guestagent_core.config import AgentConfig, Config
from guestagent_core.testing import CommandPackContract

HEAD = "auto lo\niface lo inet loopback\n"
SOCKET = "/run/guestagent/agent.sock"
KMS = {"activation_key": "k", "profile": "p", "domains": ["d"]}
MOST = 3 * 1024  # KiB; how much more memory an agent may have after resetnetwork


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A root with two cards and an ifupdown that has nothing to do yet."""
    root, state = tmp_path / "root", tmp_path / "state"
    state.mkdir()
    for number in range(2):
        for name, text in (("address", lab.mac_of(number)), ("type", "1")):
            file = root / f"sys/class/net/eth{number}/{name}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{text}\n")
    for path, text in (
        ("etc/network/interfaces", HEAD),
        ("usr/sbin/ifup", "#!/bin/false\n"),
        ("etc/hostname", "old\n"),
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
        (root / path).chmod(0o755)
    return Context(root, Options(), state)


class Resuming(NetworkCommands):
    """What the journal calls when an interrupted request comes again."""

    def resetnetwork(self, value: Any) -> Any:
        return self.resume_resetnetwork(value)


class TestNetworkCommands(CommandPackContract):
    pack = NetworkCommands
    samples: ClassVar[Mapping[str, Any]] = {"resetnetwork": [wanted(10)]}

    @pytest.fixture
    def context(self, context: Context) -> Context:
        return context


def reset(context: Context, *records: dict[str, Any]) -> CommandResult:
    return CommandRegistry([NetworkCommands], context).run_command("resetnetwork", list(records))


def test_below_another_root_the_files_change_and_nothing_is_run(context: Context) -> None:
    assert reset(context, wanted(10)) == (0, "")
    text = (context.root / "etc/network/interfaces").read_text()
    assert text.startswith(HEAD)
    assert "address 10.9.0.10/24" in text
    last = Folder(context.state_dir).last()
    assert last is not None
    assert (last.result, last.names) == ("committed", ("eth0",))
    assert reset(context, wanted(10)) == (0, "")
    assert Folder(context.state_dir).last() == last, "nothing was done the second time"


def test_a_card_that_is_not_there_is_an_error_in_known_words(context: Context) -> None:
    with pytest.raises(CommandError, match="Unknown interface MAC 02:00:00:00:01:07"):
        reset(context, wanted(10, card=7))
    assert (context.root / "etc/network/interfaces").read_text() == HEAD


def test_no_record_is_no_order_to_remove_everything(context: Context) -> None:
    reset(context, wanted(10))
    before = (context.root / "etc/network/interfaces").read_text()
    with pytest.raises(CommandError, match="left as it is"):
        reset(context)
    assert (context.root / "etc/network/interfaces").read_text() == before


def test_two_do_not_change_the_network_at_once(context: Context) -> None:
    folder = Folder(context.state_dir)
    folder.path.mkdir()
    with (folder.path / "planning").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CommandError, match="Another change of the network is under way"):
            reset(context, wanted(10))
    assert reset(context, wanted(10)) == (0, "")


def test_a_call_that_a_crash_interrupted_is_taken_up_again(context: Context) -> None:
    reset(context, wanted(10))
    # The agent died when the files were new and nothing was verified: the way back comes first, and then all of it.
    folder = Folder(context.state_dir)
    place = context.root / "etc/network/interfaces"
    entry = entry_for("/etc/network/interfaces", place, b"half done\n", 0o644)
    folder.begin(Record("interrupted", str(context.root), "another start", 0.0, (entry,)))
    place.write_bytes(b"half done\n")
    method = NetworkCommands.command_methods["resetnetwork"]
    assert method.resume_function is not None
    made = CommandRegistry([Resuming], context)
    assert made.specs["resetnetwork"].timeout == 55
    assert made.run_command("resetnetwork", [wanted(20)]) == (0, "")
    assert not folder.open_transaction()
    assert "address 10.9.0.20/24" in place.read_text()


PROBING = """
import json, sys
from pathlib import Path
from guestagent_commands_net.commands import NetworkCommands, Options
from guestagent_core import CommandRegistry, Context
root, state, record = sys.argv[1:]
context = Context(Path(root), Options(), Path(state))
print(CommandRegistry([NetworkCommands], context).run_command("resetnetwork", [json.loads(record)])[0])
print(*sys.modules)
"""


def test_of_tools_that_a_machine_does_not_have_an_agent_remembers_little(context: Context) -> None:
    argv = (sys.executable, "-I", "-c", PROBING, context.root, context.state_dir, json.dumps(wanted(10)))
    code, loaded = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    tools = "guestagent_commands_net.tools."
    loaded_tools = {name.removeprefix(tools) for name in loaded.split() if name.startswith(tools)}
    assert code == "0"
    assert {"ifupdown_form", "netctl", "freebsd", "networkmanager"} <= loaded_tools, "all were asked"
    assert {name for name in loaded_tools if name.endswith("_form")} == {
        "ifupdown_form",
        "netplan_form",
        "networkd_form",
    }
    assert not loaded_tools & {"keyfile", "netctl_profiles", "freebsd_variables"}
    assert "yaml" not in loaded.split()


def test_a_worker_that_cannot_be_started_is_an_error_and_changes_nothing(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python3")
    with pytest.raises(CommandError, match="/nowhere/python3 could not be started"):
        reset(context, wanted(10))
    monkeypatch.undo()
    assert (context.root / "etc/network/interfaces").read_text() == HEAD
    assert reset(context, wanted(10)) == (0, "")


def test_what_a_file_system_refuses_is_said(context: Context) -> None:
    (context.root / "etc/network/.interfaces.guestagent-new").mkdir()  # in the way of what is staged
    with pytest.raises(CommandError, match=r"stage: .*Now nothing was changed"):
        reset(context, wanted(10))
    assert (context.root / "etc/network/interfaces").read_text() == HEAD


def test_an_agent_ends_at_its_start_what_was_interrupted(context: Context) -> None:
    folder = Folder(context.state_dir)
    entry = entry_for("/etc/hostname", context.root / "etc/hostname", b"new\n", 0o644)
    folder.begin(Record("id", str(context.root), "another start", 0.0, (entry,)))
    (context.root / "etc/hostname").write_text("new\n")
    (context.root / "etc/network/.interfaces.guestagent-new").touch()
    agent = Agent(Config(AgentConfig(context.root, state_dir=context.state_dir, hooks=("net",), commands=("!net",))))
    agent.hooks.startup(agent)
    end = time.monotonic() + 30
    while folder.open_transaction():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert (context.root / "etc/hostname").read_text() == "old\n"


def test_a_recovery_ends_the_transaction_that_it_was_started_for_and_no_later_one(context: Context) -> None:
    folder = Folder(context.state_dir)
    entry = entry_for("/etc/hostname", context.root / "etc/hostname", b"new\n", 0o644)
    folder.begin(Record("later", str(context.root), "another start", 0.0, (entry,)))
    worker.main([str(context.state_dir), "--recover", "earlier"])
    assert folder.open_transaction()
    worker.main([str(context.state_dir), "--recover", "later"])
    assert not folder.open_transaction()


def test_a_recovery_that_starts_late_is_not_taken_for_the_worker_that_somebody_waits_for(context: Context) -> None:
    def launcher(context: Context, argv: Sequence[str]) -> None:
        subprocess.run(launching.worker_command(context.state_dir, recover="earlier"), check=True)
        launching.launch(context, ["sh", "-c", 'sleep 0.3; exec "$@"', "sh", *argv])

    change = read_value([wanted(10)], local_nics(context))
    apply_change(change, context, until=time.monotonic() + 30, launcher=launcher)
    assert "address 10.9.0.10/24" in (context.root / "etc/network/interfaces").read_text()
    assert [path.name for path in Folder(context.state_dir).path.glob("alive*")] == []


def test_a_broken_record_does_not_keep_an_agent_from_starting(context: Context) -> None:
    folder = Folder(context.state_dir)
    folder.path.mkdir()
    folder.record_path.write_text("?")
    agent = Agent(Config(AgentConfig(context.root, state_dir=context.state_dir, hooks=("net",), commands=("!net",))))
    agent.hooks.startup(agent)
    with pytest.raises(CommandError, match=r"record\.json cannot be read"):
        reset(context, wanted(10))


class Served:
    """An agent at work in a guest, asked over its local socket."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        argv = f"{sys.executable} -I -m guestagent_core run --log-file /agent.log --pid-file /agent.pid"
        guest.machine.run("sh", "-c", f"rm -f /agent.pid; {argv} >/dev/null 2>&1 &", check=True)
        guest.machine.run("sh", "-c", f"until [ -S {SOCKET} ] && [ -s /agent.pid ]; do sleep 0.02; done", check=True)

    def publish(self, *records: dict[str, Any], hostname: str = "") -> None:
        self.guest.machine.run("rm", "-rf", f"{STATE}/store", check=True)
        for record in records:
            key = record["mac"].replace(":", "")
            self.guest.machine.write(f"{STATE}/store/vm-data/networking/{key}", json.dumps(record))
        if hostname:
            self.guest.machine.write(f"{STATE}/store/vm-data/hostname", hostname)

    def call(self, name: str = "resetnetwork", value: Any = "") -> Any:
        words = ("-I", "-m", "guestagent_core", "call", name, json.dumps(value), "--timeout", "60")
        return self.guest.machine.python(*words)

    def memory(self) -> int:
        """Returns how much memory the agent has of its own, in KiB: without what it shares with files on the disk."""
        status = self.guest.machine.run("sh", "-c", "cat /proc/$(cat /agent.pid)/status").stdout
        found = re.search(r"RssAnon:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1])

    def log(self) -> str:
        return str(self.guest.machine.read("/agent.log"))


@pytest.mark.real
@pytest.mark.parametrize("tool", TOOLS, ids=[tool.name for tool in TOOLS])
def test_an_agent_answers_as_hosts_expect_and_stays_small(tool: Tool) -> None:
    with Guest(tool) as guest:
        agent = Served(guest)
        # The first command with effects pays for the journal, whichever it is: here one that is refused after that.
        assert "KMS not supported" in agent.call("kmsactivate", KMS).stderr
        before = agent.memory()
        agent.publish(wanted(10), hostname="reset-name")
        done = agent.call()
        assert (done.returncode, done.stdout, done.stderr) == (0, "\n", ""), done.stderr
        assert guest.state() == shown(10)
        assert guest.machine.run("hostname").stdout == "reset-name\n"
        assert agent.memory() - before <= MOST, (before, agent.memory())
        assert agent.call().returncode == 0
        assert "The network is unchanged: eth0, eth1, eth2" in agent.log()
        agent.publish()
        done = agent.call()
        assert done.returncode == 1
        assert "the network is left as it is" in done.stderr
        assert guest.state() == shown(10)


@pytest.mark.real
def test_the_worker_goes_on_when_the_agent_is_killed() -> None:
    with Guest(IFUPDOWN, dad=True) as guest:
        agent = Served(guest)
        agent.publish(wanted(10))
        # With detection of duplicates there is time to kill the agent in the midst of it.
        asking = guest.machine.start(sys.executable, "-I", "-m", "guestagent_core", "call", "resetnetwork")
        guest.machine.run("sh", "-c", f"until grep -q apply {STATE}/net/progress 2>/dev/null; do sleep 0.02; done")
        guest.machine.run("sh", "-c", "kill -9 $(cat /agent.pid)", check=True)
        asking.communicate(timeout=60)
        guest.machine.run("flock", f"{STATE}/net/lock", "true", check=True)
        assert guest.state() == shown(10), guest.last()
        assert Served(guest).call().returncode == 0


@pytest.mark.real
def test_a_starting_agent_takes_back_what_nobody_ended() -> None:
    with Guest(IFUPDOWN) as guest:
        guest.apply(wanted(10))
        guest.kill_at("apply", "agent", "watcher", records=[wanted(20)])
        assert guest.state() != shown(10)
        agent = Served(guest)
        agent.publish(wanted(10))
        assert agent.call().returncode == 0, "it waits for the way back"
        assert guest.state() == shown(10)
        assert "A change of the network was interrupted" in agent.log()
