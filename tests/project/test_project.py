"""What holds for the project as a whole."""

from __future__ import annotations

import importlib.util
import pkgutil
import re
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = sorted(path.parent.name for path in ROOT.glob("guestagent_*/pyproject.toml"))


def modules() -> list[str]:
    """Returns every module of every distribution."""
    names = []
    for name in DISTRIBUTIONS:
        package = import_module(name)
        names.append(name)
        names += [module.name for module in pkgutil.walk_packages(package.__path__, f"{name}.")]
    return names


def bump_tool(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bump", root / "tools" / "bump.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", modules())
def test_each_module_imports_alone_and_does_nothing(name: str) -> None:
    program = (
        "import sys, threading, logging\n"
        f"import {name}\n"
        "assert threading.active_count() == 1, 'a thread was started'\n"
        "assert not logging.getLogger().handlers, 'logging was configured'\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", modules())
def test_all_names_what_is_public(name: str) -> None:
    module = import_module(name)
    assert isinstance(module.__all__, tuple)
    assert list(module.__all__) == sorted(
        module.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name)
    )
    defined = {
        key
        for key, value in vars(module).items()
        if getattr(value, "__module__", None) == name and not key.startswith("_") and not key.endswith("T")
    }
    assert set(module.__all__) >= {key for key in defined if not isinstance(vars(module)[key], ModuleType)}
    for key in module.__all__:
        assert hasattr(module, key), f"{name}.__all__ names {key}, which is not there"


@pytest.mark.parametrize("name", modules())
def test_what_is_tested_is_what_was_installed(name: str) -> None:
    file = import_module(name).__file__
    assert file is not None
    assert Path(file).is_relative_to(sys.prefix), f"{name} comes from {file}, not from an installed wheel"


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_each_distribution_is_complete(name: str) -> None:
    folder = ROOT / name
    for file in ("pyproject.toml", "README.md", "LICENSE", f"src/{name}/py.typed"):
        assert (folder / file).is_file(), f"{name} has no {file}"
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_all_versions_agree() -> None:
    found = bump_tool(ROOT).versions()
    assert {version for held in found.values() for version in held} == {version("guestagent_core")}
    assert all(found.values()), f"a place holds no version: {found}"


def test_the_bump_tool_writes_every_place(tmp_path: Path) -> None:
    for path in (
        *ROOT.glob("guestagent_*/pyproject.toml"),
        *ROOT.glob("guestagent_*/src/*/version.py"),
        ROOT / "tools/bump.py",
    ):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    tool = bump_tool(tmp_path)
    tool.bump("4.5.6")
    assert {version for held in tool.versions().values() for version in held} == {"4.5.6"}


def test_the_core_brings_neither_discovery_nor_the_agent() -> None:
    program = "import sys, guestagent_core\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    brought = set(done.stdout.split())
    assert "guestagent_core.dispatcher" in brought
    for name in ("guestagent_core.agent", "guestagent_core.discovery", "stevedore", "pluggy", "asyncio", "subprocess"):
        assert name not in brought


@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="this is no git checkout")
def test_no_file_names_a_place_of_one_machine() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    places = re.compile(r"(?<![\w/])/(?:root|home|work|opt)/[\w.]")
    for name in files:
        if (ROOT / name).is_file() and Path(name) != Path(__file__).relative_to(ROOT):
            for line in (ROOT / name).read_text(errors="replace").splitlines():
                assert not places.search(line), f"{name}: {line}"
