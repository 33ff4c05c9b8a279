"""The agent is killed at every step of every command: what is left then is what docs/explanation/crashes.rst says."""

from __future__ import annotations

import base64
import ctypes
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guestagent_commands_system import switch
from guestagent_commands_system.key_exchange import GENERATOR, PRIME, KeyExchange
from guestagent_commands_system.kms import up2date
from guestagent_core import ChannelRunner
from guestagent_core.calls import Delivery, current_delivery
from guestagent_core.journal import FileJournal

from .conftest import Guest, encrypted
from .shadow_files import PASSWD, is_hash_of, needs_chpasswd

KILLING = Path(__file__).with_name("killing.py")
OLD_SHADOW = "root:*:15000:0:99999:7:::\ndaemon:*:15000:0:99999:7:::\n"


def kill_at_each_step(guest: Guest, name: str, value: Any) -> Iterator[int]:
    """Runs the command again and again, killed at each step, each time with the root as it was; gives the number."""
    as_it_was = guest.root.parent / "as-it-was"
    shutil.copytree(guest.root, as_it_was, symlinks=True)
    for step in range(1, 200):
        for folder in (guest.root, guest.state):
            shutil.rmtree(folder)
        shutil.copytree(as_it_was, guest.root, symlinks=True)
        guest.state.mkdir()
        command = [sys.executable, str(KILLING), str(guest.root), str(guest.state), name, str(step)]
        done = subprocess.run(command, input=json.dumps(value), capture_output=True, text=True, check=False)
        if done.returncode == 0:
            assert step > 3, "these are too few steps"
            return
        assert done.returncode == -signal.SIGKILL, done.stderr
        yield step
    raise AssertionError("It has more steps than that")


def stages(guest: Guest) -> list[Path]:
    return list(guest.root.rglob(".guestagent-*.stage"))


@pytest.mark.parametrize("kind", ["file", "link", "nothing"])
def test_injectfile_leaves_the_old_file_or_the_new_one(guest: Guest, kind: str) -> None:
    path = "/etc/below/motd" if kind == "nothing" else "/etc/motd"
    file = guest.root / path[1:]
    if kind == "file":
        guest.file(path, "old\n", 0o640)
    elif kind == "link":
        guest.file("/etc/target", "old\n", 0o640)
        file.symlink_to("target")
    value = base64.b64encode(path.encode() + b",new\n").decode()
    seen = set()
    for step in kill_at_each_step(guest, "injectfile", value):
        there = file.read_text() if file.exists() else "nothing"
        seen.add(there)
        assert there in ("new\n", "nothing" if kind == "nothing" else "old\n"), step
        if there == "new\n":
            assert not file.is_symlink()
            assert file.stat().st_mode & 0o777 == (0o644 if kind == "nothing" else 0o640)
        for stage in stages(guest):
            assert stage.stat().st_mode & 0o077 == 0 or stage.read_text() == "new\n"
        assert len(stages(guest)) <= 1
        # The host asks again, as it does: the command is run again.
        assert guest.call("injectfile", value) == ("0", "")
        assert file.read_text() == "new\n"
        assert stages(guest) == []
    assert len(seen) == 2, "it was never killed before, or never after, what matters"


def test_password_leaves_the_old_shadow_file_or_the_new_one(guest: Guest) -> None:
    guest.file("/etc/shadow", OLD_SHADOW, 0o640)
    private, peer = 1234567, pow(GENERATOR, 7654321, PRIME)
    shared = pow(KeyExchange(peer, private).public, 7654321, PRIME)
    value = {"public": str(peer), "private": str(private), "password": encrypted("mEoW4567\n", shared)}
    seen = set()
    for step in kill_at_each_step(guest, "password", value):
        content = (guest.root / "etc/shadow").read_text()
        seen.add(content == OLD_SHADOW)
        if content != OLD_SHADOW:
            assert is_hash_of(content.split(":")[1], "mEoW4567"), step
            assert content.partition("\n")[2] == OLD_SHADOW.partition("\n")[2]
        assert (guest.root / "etc/shadow").stat().st_mode & 0o777 == 0o640
        for stage in stages(guest):
            assert stage.stat().st_mode & 0o007 == 0
        # The key is gone with the agent; the host begins again.
        assert guest.set_password("mEoW4567") == ("0", "")
        assert stages(guest) == []
    assert seen == {True, False}


def test_kmsactivate_leaves_the_old_settings_or_the_new_ones(guest: Guest) -> None:
    guest.file("/etc/redhat-release", "Red Hat Enterprise Linux Server release 6.4 (Santiago)\n")
    guest.file("/etc/sysconfig/rhn/up2date", "old\n")
    identity = guest.file("/etc/sysconfig/rhn/systemid", "old\n")
    guest.file("/usr/sbin/rhnreg_ks", f"#!/bin/sh\necho registered >> {guest.root}/log\n", 0o755)
    value = {"activation_key": "K", "profile": "p", "domains": ["d"]}
    seen = set()
    for step in kill_at_each_step(guest, "kmsactivate", value):
        settings = (guest.root / "etc/sysconfig/rhn/up2date").read_text()
        assert settings in ("old\n", up2date(("d",))), step
        assert settings != "old\n" or identity.exists(), "the identity goes when the settings are new"
        assert not (guest.root / "log").exists() or not identity.exists()
        seen.add((settings == "old\n", identity.exists()))
        assert guest.call("kmsactivate", value) == ("0", "")
        assert stages(guest) == []
    assert seen == {(True, True), (False, True), (False, False)}


def test_agentupdate_leaves_what_the_next_one_removes(guest: Guest) -> None:
    source = guest.root.parent / "source"
    source.mkdir()
    (source / "installer.sh").write_text(f"#!/bin/sh\necho installed >> {guest.root}/log\n")
    (source / "installer.sh").chmod(0o755)
    archive = guest.file("/srv/agent.tar")
    subprocess.run(["tar", "-cf", archive, "installer.sh"], cwd=source, check=True)
    digest = hashlib.md5(archive.read_bytes()).hexdigest()
    guest.file("/etc/init.d/guestagent", f"echo restarted >> {guest.root}/restarts\n")
    (guest.root / "usr/share").mkdir(parents=True)
    value = f"file:///srv/agent.tar,{digest}"
    updatable = Guest(guest.root, guest.state, update_options())
    seen = set()
    for _ in kill_at_each_step(guest, "agentupdate", value):
        log = guest.root / "log"
        installed = log.read_text().count("installed") if log.exists() else 0
        seen.add(installed)
        assert not (guest.root / "restarts").exists(), "the agent is restarted only once the answer is out"
        assert updatable.call("agentupdate", value) == ("0", "")
        end = time.monotonic() + 30
        while not (guest.root / "restarts").exists() and time.monotonic() < end:
            time.sleep(0.01)  # else it would come while the next root is there
        assert os.listdir(guest.root / "usr/share") == []
        assert os.listdir(guest.state / "agentupdate") == []
    assert seen == {0, 1}


def test_an_archive_for_the_start_script_is_there_whole_or_not_at_all(guest: Guest) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == guest.root.stat().st_dev:
        pytest.skip("there is no second file system")
    archive = guest.file("/srv/agent.tar")
    subprocess.run(["tar", "-cf", archive, "-C", guest.root, "etc"], check=True)
    guest.file("/etc/init.d/guestagent", "exit 0\n")
    value = f"file:///srv/agent.tar,{hashlib.md5(archive.read_bytes()).hexdigest()}"
    left = guest.root / "var/run/nova-agent.tar.tar"
    seen = set()
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        state = Path(folder, "state")
        state.mkdir()
        for step in kill_at_each_step(Guest(guest.root, state), "agentupdate", value):
            seen.add(left.exists())
            assert not left.exists() or left.read_bytes() == archive.read_bytes(), step
            assert Guest(guest.root, state, update_options()).call("agentupdate", value) == ("0", "")
            assert os.listdir(left.parent) == [left.name]
    assert seen == {False, True}


def update_options() -> Any:
    from guestagent_commands_system.options import UpdateOptions

    return UpdateOptions(enabled=True)


# The journal, across a crash


def ask(guest: Guest, name: str, value: Any) -> Any:
    """Asks as XenStore does: with a request that has a name of its own, and comes again if it is not answered."""
    journal = FileJournal(guest.state, detach=list)
    token = current_delivery.set(Delivery({"id": "request-1", "data": name.encode()}))
    try:
        return ChannelRunner(guest.registry, "xenstore", journal=journal).run_command(name, value)
    finally:
        current_delivery.reset(token)
        journal.close()


def killed_while(work: Callable[[], object]) -> None:
    """Does ``work``, which calls :func:`crash`, in a process of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which have no part in it
        child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def crash(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_an_interrupted_update_is_not_run_again(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    from guestagent_commands_system import update

    updatable = Guest(guest.root, guest.state, update_options())
    monkeypatch.setattr(update, "update", crash)
    value = "file:///srv/agent.tar,0"
    killed_while(lambda: ask(updatable, "agentupdate", value))
    with pytest.raises(Exception, match="was interrupted"):
        ask(updatable, "agentupdate", value)  # which would kill the tests if it ran


def test_an_update_that_is_asked_for_again_after_the_restart_is_answered_and_not_run(guest: Guest) -> None:
    updatable = Guest(guest.root, guest.state, update_options())
    guest.file("/etc/init.d/guestagent", f"echo restarted >> {guest.root}/restarts\n")
    source = guest.file("/installer.sh", f"#!/bin/sh\necho installed >> {guest.root}/log\n", 0o755)
    archive = guest.file("/srv/agent.tar")
    subprocess.run(["tar", "-cf", archive, "installer.sh"], cwd=source.parent, check=True)
    value = f"file:///srv/agent.tar,{hashlib.md5(archive.read_bytes()).hexdigest()}"
    for _ in range(3):
        assert ask(updatable, "agentupdate", value) == (0, "")
    assert (guest.root / "log").read_text() == "installed\n"


def test_a_password_that_was_interrupted_asks_for_a_new_key(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    from guestagent_commands_system import passwords

    guest.file("/etc/shadow", OLD_SHADOW, 0o600)
    ask(guest, "keyinit", str(5**40))
    [exchange] = guest.registry._packs[0]._exchanges.values()  # type: ignore[attr-defined]
    value = encrypted("x\n", pow(exchange.public, 40, PRIME))
    monkeypatch.setattr(passwords, "set_password", crash)
    killed_while(lambda: ask(guest, "password", value))
    monkeypatch.undo()
    after = Guest(guest.root, guest.state)
    with pytest.raises(Exception, match="begin again with keyinit"):
        ask(after, "password", value)
    assert (guest.root / "etc/shadow").read_text() == OLD_SHADOW


# Programs of the system, and the watcher over a new environment

CHANGES = ("rename", "link", "unlink", "fsync", "fchown", "fchmod", "write", "utime", "exit_group")


@pytest.mark.real
def test_chpasswd_itself_leaves_the_old_shadow_file_or_the_new_one(guest: Guest) -> None:
    needs_chpasswd()
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (Debian: strace)")
    guest.file("/etc/passwd", PASSWD)
    hashed = "$6$abcdefgh$k6soSdqCujB6AcFWRhyXqSXOVi.tuA9aWlvIBW4PM/aKeTpCwSj6Sgq5DNg8mMcBA/nPfZAocNqqqR9zuN2A2."
    seen = set()
    for change in CHANGES:
        for number in range(1, 50):
            guest.file("/etc/shadow", OLD_SHADOW, 0o640)
            command = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={change}"]
            command += ["-e", f"inject={change}:signal=KILL:when={number}", "chpasswd", "-e", "-R", str(guest.root)]
            done = subprocess.run(command, input=f"root:{hashed}\n", capture_output=True, text=True, check=False)
            if "ptrace" in done.stderr:
                pytest.skip("strace may not trace processes here")
            if done.returncode == 0:  # there are no more of these
                break
            content = (guest.root / "etc/shadow").read_text()
            seen.add(content == OLD_SHADOW)
            assert content.partition("\n")[2] == OLD_SHADOW.partition("\n")[2]
            assert content == OLD_SHADOW or content.startswith(f"root:{hashed}:"), (change, number)
            # What it has left, its lock among that, is in the way of no later one.
            assert guest.set_password("mEoW4567") == ("0", "")
    assert seen == {True, False}


def test_a_watcher_that_ends_leaves_a_whole_environment(tmp_path: Path) -> None:
    for name, version in (("environment", "old"), (".environment.new", "new")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "version").write_text(version)
    plan = {
        "environment": str(tmp_path / "environment"),
        "other": str(tmp_path / ".environment.new"),
        "restart": ["sh", "-c", "kill -9 $PPID"],
        "socket": str(tmp_path / "agent.sock"),
        "patience": 1,
        "log": str(tmp_path / "outcome.log"),
    }
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    command = [sys.executable, "-I", switch.__file__, "switch", str(tmp_path / "plan.json")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert (tmp_path / "environment/version").read_text() == "new"
    assert (tmp_path / ".environment.new/version").read_text() == "old"


@pytest.mark.parametrize("at_once", [True, False])
def test_folders_are_exchanged_on_any_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not at_once:
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())  # a C library without renameat2
    switch.exchange(tmp_path / "one", tmp_path / "two")
    assert os.listdir(tmp_path / "one") == ["two"]
    assert os.listdir(tmp_path / "two") == ["one"]
    assert sorted(os.listdir(tmp_path)) == ["one", "two"]
    with pytest.raises(OSError, match="No such file"):
        switch.exchange(tmp_path / "one", tmp_path / "three")
    assert os.listdir(tmp_path / "one") == ["two"]
