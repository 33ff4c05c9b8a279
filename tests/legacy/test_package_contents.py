"""What is in the packages: whose it is, what it needs, and nothing of the machine that they were built on."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.legacy.formats import FORMATS, PYTHON, ROOT, SITE, Format, Packages

pytestmark = pytest.mark.real


@pytest.fixture(params=FORMATS)
def package_format(request: pytest.FixtureRequest) -> Format:
    return FORMATS[request.param]


@pytest.fixture
def package(package_format: Format, packages: Packages) -> Path:
    return packages(package_format)[0]


@pytest.fixture
def tree(package_format: Format, package: Path, tmp_path: Path) -> Path:
    return package_format.unpack(package, tmp_path / "tree")


def test_all_is_root_s_and_nobody_else_may_write(package_format: Format, package: Path) -> None:
    listing = package_format.listing(package)
    assert len(listing) > 1000
    assert {owner for _, owner, _ in listing} == {"root/root"}
    assert {mode for mode, _, _ in listing} <= {"drwxr-xr-x", "-rwxr-xr-x", "-rw-r--r--", "lrwxrwxrwx", "drwx------"}
    modes = {path: mode for mode, _, path in listing}
    assert modes["/usr/bin/guestagent-pip"] == modes["/usr/lib/guestagent/bin/guestagent"] == "-rwxr-xr-x"
    assert (modes["/var/lib/guestagent"], modes["/var/lib/guestagent/packs"]) == ("drwx------", "drwxr-xr-x")
    assert modes["/usr/lib/systemd/system/guestagent.service"] == "-rw-r--r--"


def test_it_is_for_the_one_python(package_format: Format, package: Path, tree: Path) -> None:
    assert package_format.requirements(package) == package_format.required(tree)
    environment = tree / "usr/lib/guestagent"
    assert (environment / "bin/python3").readlink() == Path(f"/usr/bin/{PYTHON}")
    assert f"version = {PYTHON.removeprefix('python')}\n" in (environment / "pyvenv.cfg").read_text()


def test_the_scripts_are_those_of_a_shell(package_format: Format, package: Path) -> None:
    for name in package_format.scripts:
        script = package_format.script(package, name)
        assert "systemctl" in script or "systemd" in script
        done = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), name


def test_it_names_no_folder_of_its_making(tree: Path) -> None:
    places = [place.encode() for place in (sys.prefix, str(ROOT), f"{tempfile.gettempdir()}/ga-")]
    for path in tree.rglob("*"):
        if path.is_symlink():
            assert not str(path.readlink()).startswith((sys.prefix, tempfile.gettempdir()))
        elif path.is_file():
            content = path.read_bytes()
            assert not [place for place in places if place in content], path


def test_it_is_compiled_once_and_for_all(tree: Path) -> None:
    """So the agent, which runs as root, writes nothing into its own folder."""
    sources = set((tree / SITE).rglob("*.py"))
    compiled = {path.parent.parent / f"{path.name.partition('.')[0]}.py" for path in tree.rglob("*.pyc")}
    assert len(compiled) > 1000
    assert {source for source in sources - compiled if "." not in source.stem} == set()
