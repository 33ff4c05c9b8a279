"""agentupdate with wheels: a real agent, in a real environment, replaces itself, or stays."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from guestagent_core.client import LocalClient
from guestagent_core.errors import ExchangeError

ROOT = Path(__file__).parents[2]
NAMES = ("guestagent_core", "guestagent_json", "guestagent_commands_system")
PATIENCE = 60.0  # seconds

# The agent of the guest is started with the variable, and that of a trial without.
ENDS_IN_THE_GUEST = "import os\nif os.environ.get('IN_THE_GUEST'): raise SystemExit('not here')\n"
ENDS_ALWAYS = "raise SystemExit('nowhere')\n"

SCRIPT = """\
#!/bin/sh
unset STATE_DIRECTORY RUNTIME_DIRECTORY
cd {folder}
if test -e pid; then
    pid=$(cat pid)
    kill "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
fi
IN_THE_GUEST=1 environment/bin/guestagent run --config config.toml --log-file log --pid-file pid >>output 2>&1 &
"""

CONFIG = """\
[agent]
root = "{folder}/root"
[[channel]]
exchange = "local"
[commands.system.agentupdate]
enabled = true
patience = 15
"""


def build(source: Path, target: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run(
        [*command, "--disable-pip-version-check", "-w", target, *(source / name for name in NAMES)], check=True
    )


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes wheels of all that is here in another version, with some code in front of the agent's own."""
    folder = tmp_path_factory.mktemp("releases")

    def make(version: str, code: str = "") -> Path:
        target = folder / version
        if not target.exists():
            source = folder / f"source-{version}"
            for name in NAMES:
                shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "dist"))
                project = source / name / "pyproject.toml"
                project.write_text(project.read_text().replace("3.0.0", version))
            core = source / "guestagent_core/src/guestagent_core"
            (core / "version.py").write_text(f'__all__ = ("VERSION",)\nVERSION = "{version}"\n')
            agent = core / "agent.py"
            head, future, tail = agent.read_text().partition("from __future__ import annotations\n")
            agent.write_text(head + future + code + tail)
            build(source, target)
        return target

    return make


class Machine:
    """A guest in a folder, with an environment for its agent and a script that restarts it."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        self.folder = folder
        self.environment = folder / "environment"
        subprocess.run([sys.executable, "-m", "venv", self.environment], check=True)
        beside = folder / "beside"  # what guestagent needs, but nothing of guestagent
        beside.mkdir()
        for path in Path(sysconfig.get_path("purelib")).iterdir():
            if not path.name.startswith(("guestagent_", "__editable__", "pip", "setuptools")):
                (beside / path.name).symlink_to(path)
        base = {"base": str(self.environment), "platbase": str(self.environment)}
        Path(sysconfig.get_path("purelib", vars=base), "beside.pth").write_text(f"{beside}\n")
        pip = [str(self.environment / "bin/python"), "-I", "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--no-index", "--no-deps", *map(str, wheels.glob("*.whl"))], check=True)
        (folder / "root/etc/init.d").mkdir(parents=True)
        self.script = folder / "root/etc/init.d/guestagent"
        self.script.write_text(SCRIPT.format(folder=folder))
        (folder / "config.toml").write_text(CONFIG.format(folder=folder))
        self.socket = folder / "root/run/guestagent/agent.sock"
        self.outcome = folder / "root/var/lib/guestagent/agentupdate/outcome.log"

    def start(self) -> None:
        subprocess.run(["sh", self.script, "restart"], check=True)
        self.wait_for("3.0.0")

    def call(self, name: str, value: object = "") -> tuple[str, str]:
        with LocalClient(self.socket, timeout=PATIENCE) as client:
            answer = json.loads(client.request(json.dumps({"name": name, "value": value}).encode()))
        return answer["returncode"], answer["message"]

    def update(self, wheels: Path, *names: str) -> tuple[str, str]:
        """Sends an archive of wheels."""
        archive = self.folder / "root/srv/agent.tar"
        archive.parent.mkdir(exist_ok=True)
        with tarfile.open(archive, "w") as tar:
            for wheel in wheels.glob("*.whl"):
                if not names or wheel.name.startswith(names):
                    tar.add(wheel, f"wheels/{wheel.name}")
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        return self.call("agentupdate", f"file:///srv/agent.tar,{digest}")

    def wait_for(self, version: str) -> None:
        """Waits until an agent answers that version."""
        end, answered = time.monotonic() + PATIENCE, ""
        while time.monotonic() < end:
            try:
                answered = self.call("version")[1]
                if answered == version:
                    return
            except ExchangeError as error:
                answered = str(error)
            time.sleep(0.05)
        raise AssertionError(f"{version} does not answer, but: {answered}\n{(self.folder / 'output').read_text()}")

    def wait_for_outcome(self) -> str:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if self.outcome.exists() and not self.other.exists():
                return self.outcome.read_text()
            time.sleep(0.05)
        raise AssertionError("The update has no outcome")

    @property
    def other(self) -> Path:
        return self.folder / ".environment.new"

    def installed(self) -> set[str]:
        found = (self.environment / "lib").rglob("guestagent_*.dist-info")
        return {re.sub(r".*-(\d[\d.]*)\.dist-info", r"\1", path.name) for path in found}

    def end(self) -> None:
        pid = self.folder / "pid"
        if pid.exists():
            os.kill(int(pid.read_text()), 9)


@pytest.fixture(scope="module")
def machine(releases: Callable[..., Path]) -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="ga-") as folder:  # the path of a socket has to be short
        machine = Machine(Path(folder), releases("3.0.0"))
        try:
            machine.start()
            yield machine
        finally:
            machine.end()


def test_an_agent_that_does_not_come_up_never_takes_the_place(machine: Machine, releases: Callable[..., Path]) -> None:
    code, message = machine.update(releases("3.0.2", ENDS_ALWAYS))
    assert code == "500"
    assert message.startswith("The new agent does not come up: ")
    assert "nowhere" in message
    assert machine.installed() == {"3.0.0"}
    assert not machine.other.exists()
    assert not machine.outcome.exists()
    assert machine.call("version") == ("0", "3.0.0")


def test_an_agent_that_does_not_come_up_in_the_guest_is_taken_out_again(
    machine: Machine, releases: Callable[..., Path]
) -> None:
    assert machine.update(releases("3.0.3", ENDS_IN_THE_GUEST)) == ("0", "")
    said = machine.wait_for_outcome()
    assert (
        "the new agent did not answer, and was taken out again; the agent that was there answers again: 3.0.0" in said
    )
    machine.wait_for("3.0.0")
    assert machine.installed() == {"3.0.0"}


def test_wheels_that_do_not_go_together_are_refused(machine: Machine, releases: Callable[..., Path]) -> None:
    code, message = machine.update(releases("3.0.1"), "guestagent_core")
    assert code == "500"
    assert message.startswith("The wheels do not go together: ")
    assert "guestagent" in message
    assert machine.installed() == {"3.0.0"}
    assert not machine.other.exists()


def test_what_is_no_wheel_is_refused(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "guestagent_core-9.0.0-py3-none-any.whl").write_text("rubbish")
    code, message = machine.update(tmp_path)
    assert code == "500"
    assert "pip" in message or "python" in message
    assert machine.installed() == {"3.0.0"}
    assert not machine.other.exists()


def test_an_agent_that_is_killed_at_work_has_changed_nothing(machine: Machine, releases: Callable[..., Path]) -> None:
    asking = threading.Thread(target=lambda: suppressed(lambda: machine.update(releases("3.0.1"))))
    asking.start()
    end = time.monotonic() + PATIENCE
    while not machine.other.exists() and time.monotonic() < end:
        time.sleep(0.001)
    os.kill(int((machine.folder / "pid").read_text()), 9)
    asking.join()
    assert machine.other.exists()
    assert machine.installed() == {"3.0.0"}
    (machine.folder / "pid").unlink()
    machine.start()
    assert machine.update(releases("3.0.2", ENDS_ALWAYS))[0] == "500"
    assert not machine.other.exists(), "the next update removes what was left"


# The last one, because the others begin with 3.0.0 and leave it there.


def test_the_agent_is_replaced_by_wheels(machine: Machine, releases: Callable[..., Path]) -> None:
    assert machine.update(releases("3.0.1")) == ("0", "")
    machine.wait_for("3.0.1")
    assert machine.wait_for_outcome().endswith("the new agent answers: 3.0.1\n")
    assert machine.installed() == {"3.0.1"}
    script = (machine.environment / "bin/guestagent").read_text()
    assert script.startswith(f"#!{machine.environment}/bin/python\n"), "it names the environment by its final name"
    assert stat_of(machine.outcome) == "600"
    left = {path.name for path in machine.outcome.parent.iterdir()}
    assert left == {"outcome.log", "plan.json", "switch.py"}
    # And it goes on from there.
    assert machine.update(releases("3.0.2", ENDS_ALWAYS))[0] == "500"
    assert machine.call("version") == ("0", "3.0.1")


def stat_of(path: Path) -> str:
    return f"{path.stat().st_mode & 0o777:o}"


def suppressed(call: Callable[[], object]) -> None:
    with suppress(ExchangeError):
        call()
