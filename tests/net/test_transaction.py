"""The transaction itself, with ifupdown: it is done, or taken back, whoever fails or is killed."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.net import lab

from guestagent_commands_net.backends import Plan, Step, Steps
from guestagent_commands_net.expectations import Expectation, ExpectedRoute
from guestagent_commands_net.transaction.record import FileEntry, Outcome, Record
from guestagent_commands_net.transaction.steps import STEPS

pytestmark = pytest.mark.real

STATE = "/var/lib/guestagent"
INTERFACES = "/etc/network/interfaces"
HEAD = "auto lo\niface lo inet loopback\n"


def configured(number: int) -> str:
    return (
        HEAD
        + f"""auto eth0
iface eth0 inet static
    address 10.9.0.{number}/24
    gateway 10.9.0.1
iface eth0 inet6 static
    address fd09::{number}/64
    dad-attempts 0
"""
    )


def expected(number: int) -> Expectation:
    return Expectation(
        "eth0", (f"10.9.0.{number}/24", f"fd09::{number}/64"), (ExpectedRoute("0.0.0.0/0", "10.9.0.1"),), 1500
    )


def record(before: int, after: int, **changes: object) -> Record:
    made = Record(
        id="test",
        root="/",
        boot_id=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        until=time.monotonic() + 20,
        files=(FileEntry(INTERFACES, INTERFACES, configured(before).encode(), configured(after).encode()),),
        validate=(Step(("ifquery", "-i", f"{STATE}/net/check{INTERFACES}", "eth0"), "eth0"),),
        plan=Plan(
            Steps((Step(("ifdown", "eth0"), "eth0"),), (Step(("ifup", "eth0"), "eth0"),)),
            Steps((Step(("ifdown", "eth0"), "eth0"),), (Step(("ifup", "eth0"), "eth0"),)),
        ),
        expected=(expected(after),),
        snapshot=(expected(before),),
        names=("eth0",),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def machine() -> Iterator[lab.Machine]:
    with lab.Machine(files={INTERFACES: configured(10)}) as made:
        made.run("ifup", "-a", check=True)
        assert state_of(made) == 10
        yield made


def state_of(machine: lab.Machine) -> int | None:
    """Returns the number of the configuration that the files and ``ip -j`` agree on, None if they do not."""
    for number in (10, 20):
        if machine.read(INTERFACES) == configured(number):
            kernel = machine.addresses("eth0"), machine.routes("eth0"), "UP" in machine.link("eth0")["flags"]
            if kernel == ({f"10.9.0.{number}/24", f"fd09::{number}/64"}, {"default via 10.9.0.1"}, True):
                return number
    return None


def begin(machine: lab.Machine, what: Record) -> None:
    machine.write(f"{STATE}/net/record.json", json.dumps(what.to_json()), 0o600)


def work(machine: lab.Machine, *arguments: str) -> None:
    machine.python("-I", "-m", "guestagent_commands_net.transaction.worker", STATE, *arguments, check=True)


def outcome(machine: lab.Machine) -> Outcome:
    ended = Outcome.from_json(json.loads(machine.read(f"{STATE}/net/last.json")))
    kept = ["last.json", "lock", *(["replaced.json"] if ended.result == "committed" else [])]
    assert machine.run("ls", f"{STATE}/net").stdout.split() == kept, "nothing else is left behind"
    assert machine.run("sh", "-c", "ls -A /etc/network | grep guestagent").stdout == ""
    return ended


def test_a_change_is_made(machine: lab.Machine) -> None:
    begin(machine, record(10, 20))
    work(machine)
    assert outcome(machine).result == "committed"
    assert outcome(machine).names == ("eth0",)
    assert state_of(machine) == 20
    assert machine.run("sh", "-c", f"stat -c %a {STATE}/net/*.json").stdout.split() == ["600", "600"]


def test_what_the_tools_checker_refuses_changes_nothing(machine: lab.Machine) -> None:
    made = record(10, 20)
    wrong = made.files[0]._replace(after=b"iface eth0 inet statik\n")
    begin(machine, replace(made, files=(wrong,)))
    with lab.Deletions(machine, "eth0") as deleted:
        work(machine)
    assert outcome(machine).result == "refused"
    assert outcome(machine).step == "validate"
    assert "eth0: ifquery failed with exit status 1" in outcome(machine).error
    assert deleted.lines == []
    assert state_of(machine) == 10


def test_a_file_system_without_room_changes_nothing(machine: lab.Machine) -> None:
    begin(machine, record(10, 20))
    machine.run("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", "/mnt", check=True)
    machine.run("mount", "--bind", "/etc/network", "/etc/network", check=True)
    machine.run("mount", "-o", "remount,ro,bind", "/etc/network", check=True)
    work(machine)
    machine.run("umount", "/etc/network", check=True)
    assert (outcome(machine).result, outcome(machine).step) == ("refused", "stage")
    assert "Read-only file system" in outcome(machine).error
    assert state_of(machine) == 10


def test_a_tool_that_fails_is_taken_back(machine: lab.Machine) -> None:
    made = record(10, 20)
    fails = Step(("sh", "-c", "ifup eth0; echo no luck >&2; exit 3"), "eth0")
    begin(machine, replace(made, plan=replace(made.plan, apply=Steps(made.plan.apply.before, (fails,)))))
    work(machine)
    ended = outcome(machine)
    assert (ended.result, ended.step, ended.left) == ("rolled back", "apply", ())
    assert "eth0: sh failed with exit status 3: no luck" in ended.error
    assert state_of(machine) == 10


def test_a_tool_that_lies_is_found_out(machine: lab.Machine) -> None:
    made = record(10, 20)
    lies = Steps(made.plan.apply.before, (Step(("true",), "eth0"),))
    begin(machine, replace(made, until=time.monotonic() + 3, plan=replace(made.plan, apply=lies)))
    work(machine)
    ended = outcome(machine)
    assert (ended.result, ended.step) == ("rolled back", "verify")
    assert "eth0: it is down; eth0: the address 10.9.0.20/24 is missing" in ended.error
    assert state_of(machine) == 10


def test_the_harder_way_is_for_what_differs_after_the_gentle_one(machine: lab.Machine) -> None:
    made = record(10, 20)
    harder = (Step(("ifup", "eth0"), "eth0"), Step(("touch", "/wrong"), "eth1"))
    steps = Steps(made.plan.apply.before, (Step(("true",), "eth0"),), harder)
    begin(machine, replace(made, plan=replace(made.plan, apply=steps)))
    work(machine)
    assert outcome(machine).result == "committed"
    assert state_of(machine) == 20
    assert machine.run("test", "-e", "/wrong").returncode == 1


def test_when_the_tool_fails_on_the_way_back_too_netlink_rescues(machine: lab.Machine) -> None:
    made = record(10, 20)
    fails = (Step(("false",), "eth0"),)
    plan = Plan(Steps(made.plan.apply.before, fails), Steps(fails, fails))
    machine.run("ip", "route", "add", "10.200.0.0/24", "via", "10.9.0.1", "metric", "7", check=True)
    kept = expected(10)._replace(routes=(*expected(10).routes, ExpectedRoute("10.200.0.0/24", "10.9.0.1", 7)))
    begin(machine, replace(made, plan=plan, snapshot=(kept,)))
    # The way back is short here: nothing but netlink will do it.
    work(machine)
    ended = outcome(machine)
    assert (ended.result, ended.step, ended.left) == ("rescued", "apply", ())
    assert machine.read(INTERFACES) == configured(10)
    assert machine.addresses("eth0") == {"10.9.0.10/24", "fd09::10/64"}
    assert machine.routes("eth0") == {"default via 10.9.0.1", "10.200.0.0/24 via 10.9.0.1"}


def test_an_address_that_somebody_else_has_is_an_error_of_its_own(machine: lab.Machine) -> None:
    machine.run(*machine.far, "ip", "addr", "add", "fd09::20/64", "dev", "br0", "nodad", check=True)
    made = record(10, 20)
    file = made.files[0]._replace(after=configured(20).replace("dad-attempts 0", "dad-attempts 60").encode())
    begin(machine, replace(made, files=(file,)))
    work(machine)
    ended = outcome(machine)
    # ifup has failed half-way: it knows nothing of the interface, and so ifdown takes nothing away.
    assert ended.result == "rescued"
    assert "eth0: the address fd09::20/64 is taken: duplicate address detection" in ended.error
    assert state_of(machine) == 10


def test_an_interface_without_a_cable_is_configured_all_the_same(machine: lab.Machine) -> None:
    machine.run(*machine.far, "ip", "link", "set", "p0", "down", check=True)
    begin(machine, record(10, 20))
    work(machine)
    assert outcome(machine).result == "committed"
    assert machine.read(INTERFACES) == configured(20)


def test_what_somebody_else_changed_meanwhile_is_left_alone(machine: lab.Machine) -> None:
    made = record(10, 20)
    edits = Step(("sh", "-c", f"echo '# mine' >> {INTERFACES}; exit 1"), "eth0")
    begin(machine, replace(made, plan=replace(made.plan, apply=Steps(made.plan.apply.before, (edits,)))))
    work(machine)
    ended = outcome(machine)
    assert ended.result == "broken"
    assert any("was changed by somebody else" in line for line in ended.left)
    assert machine.read(INTERFACES) == configured(20) + "# mine\n"


def wait_for_the_watcher(machine: lab.Machine) -> None:
    """Waits until nobody has the lock of the transaction any more."""
    machine.run("flock", f"{STATE}/net/lock", "true", check=True)


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_that_is_killed_leaves_the_old_or_the_new(machine: lab.Machine, step: str) -> None:
    begin(machine, record(10, 20))
    killed = machine.python(f"{lab.HERE}/killing_worker.py", STATE, step)
    assert killed.returncode == -9 or killed.returncode == 137
    wait_for_the_watcher(machine)
    if STEPS.index(step) <= STEPS.index("arm"):
        work(machine, "--recover")  # what the agent does, when it sees the end or when it starts
    ended = outcome(machine)
    assert state_of(machine) == (20 if step == "committed" else 10)
    changed = STEPS.index("arm") < STEPS.index(step) < STEPS.index("committed")
    assert ended.result == ("committed" if step == "committed" else "rolled back" if changed else "refused")
    assert step == "committed" or "ended from outside" in ended.error


@pytest.mark.parametrize("step", STEPS)
def test_when_the_dead_man_is_killed_too_the_next_start_ends_it(machine: lab.Machine, step: str) -> None:
    begin(machine, record(10, 20))
    machine.python(f"{lab.HERE}/killing_worker.py", STATE, step, "watcher")
    wait_for_the_watcher(machine)
    work(machine, "--recover")
    outcome(machine)
    assert state_of(machine) == (20 if step == "committed" else 10)


def test_a_way_back_that_is_killed_is_gone_again(machine: lab.Machine) -> None:
    made = record(10, 20)
    fails = Steps(made.plan.apply.before, (Step(("false",), "eth0"),))
    begin(machine, replace(made, plan=replace(made.plan, apply=fails)))
    machine.python(f"{lab.HERE}/killing_worker.py", STATE, "roll back")
    wait_for_the_watcher(machine)
    assert outcome(machine).result == "rolled back"
    assert state_of(machine) == 10


def test_a_worker_that_hangs_is_killed_and_taken_back(machine: lab.Machine) -> None:
    # The dead man waits 35 s longer than the change may take; without a check nothing needs that time here.
    begin(machine, record(10, 20, until=time.monotonic() - 32, validate=()))
    # Behind a shell, because nsenter stops when what it started does.
    machine.run("sh", "-c", f"{sys.executable} {lab.HERE}/killing_worker.py {STATE} before stop & wait", timeout=30)
    wait_for_the_watcher(machine)
    assert "did not come to an end in time" in outcome(machine).error
    assert state_of(machine) == 10


def test_a_program_that_was_left_running_does_not_go_on(machine: lab.Machine) -> None:
    made = record(10, 20)
    late = "touch /begun; sleep 2; ip addr add 10.9.0.99/24 dev eth0; touch /late"
    steps = Steps(made.plan.apply.before, (Step(("sh", "-c", late), "eth0"),))
    begin(machine, replace(made, plan=replace(made.plan, apply=steps)))
    work = f"{sys.executable} -I -m guestagent_commands_net.transaction.worker {STATE}"
    kill = f"{work} & while ! [ -e /begun ]; do sleep 0.02; done; kill -9 $!"
    machine.run("sh", "-c", kill, check=True)
    wait_for_the_watcher(machine)
    time.sleep(2.2)
    assert machine.run("test", "-e", "/late").returncode == 1
    assert state_of(machine) == 10


@pytest.mark.parametrize("swapped", [False, True])
def test_after_a_loss_of_power_the_old_files_are_back(machine: lab.Machine, swapped: bool) -> None:
    begin(machine, record(10, 20, boot_id="another start of this machine"))
    machine.write(f"{STATE}/net/progress", "".join(f"{step}\n" for step in STEPS[: STEPS.index("apply")]))
    if swapped:
        machine.run("ifdown", "eth0", check=True)
        machine.write(INTERFACES, configured(20))
        machine.run("ifup", "eth0", check=True)
    work(machine, "--recover")
    assert outcome(machine).result == ("rolled back" if swapped else "refused")
    assert state_of(machine) == 10


def test_a_record_of_another_form_is_left_for_somebody_who_knows_it(machine: lab.Machine) -> None:
    machine.write(f"{STATE}/net/record.json", '{"format": 99}', 0o600)
    done = machine.python("-I", "-m", "guestagent_commands_net.transaction.worker", STATE)
    assert done.returncode != 0
    assert shlex.quote("form") in done.stderr
    assert machine.read(f"{STATE}/net/record.json") == '{"format": 99}'
