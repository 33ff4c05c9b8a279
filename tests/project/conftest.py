"""An environment of its own, into which the tests install distributions for real."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

VENDOR = Path(__file__).parents[1] / "vendor"


class Environment:
    """A virtual environment that sees what the tests' own has, and takes more."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.python = folder / "bin" / "python"
        purelib = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
        Path(purelib, "beside.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def install(self, source: Path, *options: str) -> None:
        """Installs a distribution from its folder."""
        self._pip("install", "--no-build-isolation", "--no-deps", "--no-index", *options, str(source))

    def uninstall(self, name: str) -> None:
        """Removes a distribution."""
        self._pip("uninstall", "--yes", name)

    def guestagent(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs the command line."""
        return self.run("-m", "guestagent_core", *arguments, **environment)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs Python."""
        command = [str(self.python), *arguments]
        variables = {**os.environ, **environment}
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False)

    def _pip(self, *arguments: str) -> None:
        done = self.run("-m", "pip", "--quiet", "--disable-pip-version-check", *arguments)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "environment")


@pytest.fixture(scope="module")
def shared_environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """One for all tests of a file, which are content with what the first has installed."""
    return Environment(tmp_path_factory.mktemp("shared") / "environment")


@pytest.fixture
def vendor() -> Path:
    return VENDOR
