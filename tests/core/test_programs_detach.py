"""Programs that outlive whoever starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from guestagent_core import CommandError, Context
from guestagent_core.programs import Programs

from .waiting import until

PATIENCE = 60.0  # seconds; how long anything may take before it counts as hanging


def content(file: Path) -> str:
    """What is in ``file``, once there is a whole line."""
    until(lambda: file.exists() and file.read_text().endswith("\n"))
    return file.read_text()


def test_a_detached_program_outlives_its_caller(tmp_path: Path) -> None:
    caller = """if True:
        import sys
        from guestagent_core.programs import Programs
        Programs().detach(sys.argv[1:], service_manager=False)
        """
    go, file = tmp_path / "go", tmp_path / "file"
    os.mkfifo(go)
    order = os.open(go, os.O_RDWR | os.O_NONBLOCK)
    try:
        argv = ["sh", "-c", 'read word <"$1"; echo "$word" >"$2"', "sh", str(go), str(file)]
        subprocess.run([sys.executable, "-c", caller, *argv], check=True, timeout=PATIENCE)
        # The caller is gone; only now may the program do its work.
        os.write(order, b"done\n")
        assert content(file) == "done\n"
    finally:
        os.close(order)


def test_a_detached_program_survives_the_end_of_the_agents_programs(tmp_path: Path) -> None:
    programs = Programs()
    go, file = tmp_path / "go", tmp_path / "file"
    os.mkfifo(go)
    order = os.open(go, os.O_RDWR | os.O_NONBLOCK)
    try:
        argv = ["sh", "-c", 'read word <"$1"; echo "$word" >"$2"', "sh", str(go), str(file)]
        programs.detach(argv, service_manager=False)
        programs.end_all()
        os.write(order, b"done\n")
        assert content(file) == "done\n"
    finally:
        os.close(order)


def test_a_detached_program_is_in_another_session_and_talks_to_nobody(tmp_path: Path) -> None:
    file = tmp_path / "file"
    script = """if True:
        import os, sys
        streams = [os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2)]
        with open(sys.argv[1], "w") as file:
            print(os.getsid(0), *streams, file=file)
        """
    Context(root=tmp_path).detach([sys.executable, "-c", script, str(file)])
    session, *streams = content(file).split()
    assert int(session) != os.getsid(0)
    assert streams == ["/dev/null"] * 3


def test_arguments_reach_a_detached_program_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "file"
    arguments = ["two words", "$HOME `id` $(id)", 'it\'s "quoted"', "a\\b;c&d|e>f", "", "--", "*"]
    script = 'file=$1; shift; printf "<%s>\n" "$@" >"$file.part"; mv "$file.part" "$file"'
    Context(root=tmp_path).detach(["sh", "-c", script, "sh", str(file), *arguments])
    assert content(file).splitlines() == [f"<{argument}>" for argument in arguments]


@pytest.mark.parametrize("program", ["no-such-program", "/no/such/program"])
def test_a_program_that_does_not_exist_cannot_be_detached(tmp_path: Path, program: str) -> None:
    with pytest.raises(CommandError, match=f"^{program} could not be started: not found$"):
        Context(root=tmp_path).detach([program, "argument"])


class RecordingPrograms(Programs):
    """Programs that do not run, so that nothing is asked of this machine's own service manager."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[list[str]] = []

    def run(self, argv: Sequence[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        self.started.append(list(argv))
        return subprocess.CompletedProcess(list(argv), 0, b"", b"")


@pytest.mark.parametrize(
    ("root", "systemd_runs", "starter"), [("/", True, "systemd-run"), ("/", False, "sh"), ("/other", True, "sh")]
)
def test_the_service_manager_is_asked_where_it_runs_and_the_root_is_its_own(
    monkeypatch: pytest.MonkeyPatch, root: str, systemd_runs: bool, starter: str
) -> None:
    monkeypatch.setattr(Path, "is_dir", lambda self: systemd_runs and str(self) == "/run/systemd/system")
    programs = RecordingPrograms()
    Context(root=Path(root), programs=programs).detach(["update", "--now"])
    assert programs.started[0][0] == starter
    assert programs.started[0][-2:] == ["update", "--now"]
