"""The host's side is one file, which runs alone on Python 3.6."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

from .old_agents import FILE, Agent, succeed

STANDARD_LIBRARY = {
    *("argparse", "base64", "collections", "contextlib", "getpass", "json", "os", "secrets", "select", "socket"),
    *("stat", "struct", "subprocess", "sys", "time", "typing", "uuid"),
}  # what of Python 3.6 may be used


def test_the_file_runs_alone(store: Path, tmp_path: Path) -> None:
    Agent(store, succeed("1.39.1"))
    copy = shutil.copy(FILE, tmp_path / "copied.py")
    command = [sys.executable, "-I", str(copy), "--socket", str(store), "7", "version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1.39.1\n"


def test_the_package_runs_without_a_warning() -> None:
    command = [sys.executable, "-W", "error", "-m", "guestagent_xen.host", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_alone_it_says_what_it_needs_to_act_as_a_xapi_host(tmp_path: Path) -> None:
    alone = shutil.copy(FILE, tmp_path / "host.py")
    done = subprocess.run(
        [sys.executable, "-S", alone, "--socket", "/nowhere", "7", "xapi", "show"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "xapi needs the installed package guestagent_xen" in done.stderr


def test_the_file_is_python_3_6_and_needs_its_standard_library_alone() -> None:
    tree = ast.parse(FILE.read_text(), feature_version=(3, 6))
    can_do_without = [
        each
        for node in ast.walk(tree)
        if isinstance(node, ast.Try)
        and any(isinstance(handler.type, ast.Name) and handler.type.id == "ImportError" for handler in node.handlers)
        for each in node.body
    ]
    imported = set()
    for node in ast.walk(tree):
        if node in can_do_without:
            continue
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(str(node.module).partition(".")[0])
        assert not isinstance(node, ast.NamedExpr)
    assert imported <= STANDARD_LIBRARY
