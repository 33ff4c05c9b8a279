"""agentupdate: the installer of an archive runs, and the agent restarts; what of that was recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from guestagent_commands_system.options import UpdateOptions
from guestagent_core import Context

from .conftest import Guest
from .updates import INSTALLER, URL, archive, leftovers, log_of, with_installer


def test_it_is_off_until_the_configuration_turns_it_on(guest: Guest, new_guest: Callable[..., Guest]) -> None:
    assert guest.call("agentupdate", f"{URL},0") == ("404", "No such agent command 'agentupdate'")
    assert "agentupdate" not in guest.registry.specs
    assert "agentupdate" in Guest(guest.root, guest.state, UpdateOptions(enabled=True)).registry.specs
    assert "agentupdate" not in Guest(guest.root, guest.state, UpdateOptions(enabled=False)).registry.specs


@pytest.mark.parametrize("name", ["installer.sh", "nova-agent/installer.sh"])
@pytest.mark.parametrize("form", ["text", "object"])
def test_the_installer_runs_and_the_agent_restarts(updatable: Guest, name: str, form: str) -> None:
    digest = with_installer(updatable, name=name)
    value = f"{URL},{digest}" if form == "text" else {"url": URL, "md5sum": digest}
    assert updatable.call("agentupdate", value) == ("0", "")
    assert log_of(updatable, 2) == ["installer / 0 ", "restart restart"]
    assert leftovers(updatable) == []


def test_the_installer_is_found_below_a_dot(updatable: Guest) -> None:
    archive(updatable, {"installer.sh": (INSTALLER % (updatable.root / "log"), 0o755)})
    digest = archive(updatable, {}, "./installer.sh")
    assert updatable.call("agentupdate", f"{URL},{digest}") == ("0", "")
    assert log_of(updatable, 2) == ["installer / 0 ", "restart restart"]


def test_an_installer_two_folders_down_is_left_to_the_start_script(updatable: Guest) -> None:
    digest = with_installer(updatable, name="a/b/installer.sh")
    assert updatable.call("agentupdate", f"{URL},{digest}") == ("0", "")
    assert log_of(updatable, 1) == ["restart restart"]
    left = updatable.root / "var/run/nova-agent.tar.gz"
    assert hashlib.md5(left.read_bytes()).hexdigest() == digest
    assert leftovers(updatable) == []


def test_a_failing_installer_is_told_as_recorded(
    updatable: Guest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    detached: list[Sequence[str]] = []
    monkeypatch.setattr(updatable.context.programs, "detach", lambda argv, **more: detached.append(argv))
    caplog.set_level("INFO")
    digest = with_installer(updatable, "echo it is like this\necho and like that >&2\nexit 7\n")
    assert updatable.call("agentupdate", f"{URL},{digest}") == ("500", "Agent installer script failed: 7")
    assert "installer: it is like this" in caplog.text
    assert "installer: and like that" in caplog.text
    assert log_of(updatable, 1) == ["installer / 0 "]
    assert detached == [], "and the agent does not restart"
    assert leftovers(updatable) == []
    assert updatable.call("agentupdate", f"{URL},{with_installer(updatable)}") == ("0", "")
    assert len(detached) == 1, "as it would have"


def test_an_installer_that_may_not_be_run_is_told_as_recorded(updatable: Guest) -> None:
    digest = with_installer(updatable, mode=0o644)
    assert updatable.call("agentupdate", f"{URL},{digest}") == ("500", "[Errno 13] Permission denied")
    assert leftovers(updatable) == []


def test_without_a_start_script_it_is_404_as_recorded(updatable: Guest) -> None:
    (updatable.root / "etc/init.d/nova-agent").unlink()
    digest = with_installer(updatable)
    assert updatable.call("agentupdate", f"{URL},{digest}") == ("404", "No init script found to restart")
    assert log_of(updatable, 1) == ["installer / 0 "]
    assert leftovers(updatable) == []


@pytest.mark.parametrize("script", ["/etc/init.d/guestagent", "/etc/rc.d/nova-agent", "/etc/nova-agent.init"])
def test_each_kind_of_start_script_is_found(updatable: Guest, script: str) -> None:
    (updatable.root / "etc/init.d/nova-agent").unlink()
    updatable.file(script, f'echo "$0 $1" >> {updatable.root}/log\n')
    digest = with_installer(updatable)
    assert updatable.call("agentupdate", f"{URL},{digest}") == ("0", "")
    assert log_of(updatable, 2)[1] == f"{updatable.root}{script} restart"


def test_what_a_crash_has_left_goes_with_the_next_update(updatable: Guest) -> None:
    for path in (
        "/usr/share/nova-agent.12345/installer.sh",
        "/usr/share/nova-agent.old/mine",
        "/usr/share/nova-agent/1",
    ):
        updatable.file(path, "x")
    folder = updatable.state / "agentupdate"
    (folder / "unpacked").mkdir(parents=True)
    (folder / "agent-77.tar").write_text("half")
    (folder / "agent-77.log").write_text("half, of an archive that is named like that")
    (folder / "outcome.log").write_text("kept\n")
    digest = with_installer(updatable)
    assert updatable.call("agentupdate", f"{URL},{digest}") == ("0", "")
    assert sorted(leftovers(updatable)) == ["nova-agent", "nova-agent.old", "outcome.log"]


def test_the_service_manager_is_chosen_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the root itself; which files are there, is said, and programs are only noted."""
    from subprocess import CompletedProcess

    from guestagent_commands_system.restart import restart_command

    class Machine(Context):
        there: tuple[str, ...] = ()
        cgroup = ""

        def path(self, guest_path: object, *, follow: bool = True) -> Path:
            path = Path(f"{tmp_path}{guest_path}")
            path.parent.mkdir(parents=True, exist_ok=True)
            return path

        def run(self, argv: object, **more: object) -> CompletedProcess[bytes]:
            assert isinstance(argv, list)
            assert argv[:3] == ["systemctl", "cat", "--"]
            return CompletedProcess(argv, 0 if argv[3] == "mine.service" else 1, b"", b"")

    machine = Machine()
    assert machine.root == Path("/")
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/system.slice/mine.service\n")
    assert restart_command(machine, ["guestagent"]) == ["systemctl", "restart", "--", "mine.service"]
    (tmp_path / "proc/self/cgroup").write_text("0::/user.slice/user-0.slice/session-1.scope\n")
    assert restart_command(machine, ["other", "mine"]) == ["systemctl", "restart", "--", "mine.service"]
    (tmp_path / "run/systemd/system").rmdir()
    script = tmp_path / "etc/init.d/guestagent"
    script.parent.mkdir(parents=True)
    script.touch()
    assert restart_command(machine, ["guestagent"]) == ["sh", str(script), "restart"]
    (tmp_path / "run/openrc").mkdir()
    assert restart_command(machine, ["guestagent"]) == ["rc-service", "guestagent", "restart"]
