"""A vendor's hour: what is left to write after ``guestagent new``, how soon its tests are green, and what the pytest
plugin costs.

The example in ``vendor/`` is a pack of two commands, an exchange and their tests. Packages have to be at hand:
hatchling and pytest, besides the distributions.
"""

from __future__ import annotations

import difflib
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from measuring import Row

__all__ = ("measure",)

_WRITTEN = {
    "commands.py": "src/guestagent_acme/commands.py",
    "exchange.py": "src/guestagent_acme/exchange.py",
    "test_contracts.py": "tests/test_contracts.py",
}
_MINE = Path(__file__).parent / "vendor"
_BUDGET = 10.0  # milliseconds that the plugin may cost a start of pytest


def measure(rounds: int) -> list[Row]:
    """Measures whole processes, and counts lines that are not empty."""
    with tempfile.TemporaryDirectory(prefix="ga-") as folder:
        seconds, python, project = from_new_to_green(Path(folder))
        lines = written(project)
        assert passes(python, project), "the example does not pass"
        (Path(folder) / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
        figures = [(started(Path(folder)), started(Path(folder), "-p", "no:guestagent")) for _ in range(rounds + 1)]
        # What disturbs a start makes it longer and never shorter, and what is looked for is small.
        with_plugin, without = (min(column) for column in zip(*figures, strict=True))
    return [
        Row("lines to write: two commands, an exchange, tests", "lines", lines, 60, goal=1.0),
        Row("files to write for that", "files", len(_WRITTEN), 3, goal=1.0),
        Row("from guestagent new to green tests", "s", seconds, 30, goal=1.0),
        Row("a start of pytest, beside one without us + 10 ms", "ms", with_plugin, without + _BUDGET, goal=1.0),
    ]


def from_new_to_green(folder: Path) -> tuple[float, Path, Path]:
    """Returns how many seconds it takes, and the Python and the project that came of it.

    The environment is one that exists: a vendor has it before anything else.
    """
    run(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv"))
    python = folder / "venv/bin/python"
    purelib = sysconfig.get_path("purelib", vars={"base": str(folder / "venv")})
    Path(purelib, "beside.pth").write_text(sysconfig.get_path("purelib") + "\n")
    started_at = time.perf_counter()
    run(str(python), "-m", "guestagent_core", "new", "guestagent_acme", "pack", "exchange", "--in", str(folder))
    project = folder / "guestagent_acme"
    install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-build-isolation", "--no-index")
    run(str(python), *install, "--no-deps", "--editable", str(project))
    assert passes(python, project), "what was made does not pass"
    return time.perf_counter() - started_at, python, project


def written(project: Path) -> int:
    """Puts the example into the project; returns how many lines of it were not there already."""
    count = 0
    for mine, place in _WRITTEN.items():
        before, after = (project / place).read_text(), (_MINE / mine).read_text()
        for line in difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm=""):
            count += line.startswith("+") and not line.startswith("+++") and bool(line[1:].strip())
        (project / place).write_text(after)
    return count


def passes(python: Path, project: Path) -> bool:
    """Returns whether the tests of a project are green."""
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(project), str(project)]
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0


def started(folder: Path, *options: str) -> float:
    """Returns the milliseconds of processor time that pytest takes for a test that does nothing."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Without the plugin of Hypothesis, which takes longer than all the rest, where it is installed.
    quiet = ("-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    run(sys.executable, "-m", "pytest", *quiet, *options, str(folder / "test_nothing.py"))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def run(*command: str) -> None:
    """Runs a program that has to succeed."""
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
