"""What dpkg and rpm want to be told, so that the packages of both formats are held to the same tests."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.legacy.machine import Machine

from guestagent_core import __version__

ROOT = Path(__file__).parents[2]
PYTHON = f"python3.{sys.version_info[1]}"
SITE = f"usr/lib/guestagent/lib/{PYTHON}/site-packages"
STAND_IN = """\
Name: stand-in
Version: 1
Release: 1
Summary: What a Debian has, for the database of rpm
License: Apache-2.0
BuildArch: noarch
AutoReqProv: no
Provides: /bin/sh
Provides: /usr/bin/{python}
Provides: glibc = {glibc}
%description
%files
"""


class Format(ABC):
    """The package of one format, and the programs for it."""

    name: str
    builder: str
    """The program that ``tools`` builds it with."""
    upgrade: tuple[str, ...]
    """The command that installs a package, be it newer or older than what is there."""
    upgraded: str
    """What that says when it does so."""
    verify: tuple[str, ...]
    removal: tuple[tuple[tuple[str, ...], str], ...]
    """Each step of the removal, and a pattern of what it leaves."""
    removed: str
    """What the removal says."""
    scripts: tuple[str, ...]

    def build(self, folder: Path) -> list[Path]:
        """Returns a package, and one of the next version; skips the test if there is no program for it."""
        if shutil.which(self.builder) is None:
            pytest.skip(f"{self.builder} is not installed")
        _run(sys.executable, ROOT / f"tools/{self.name}.py", folder, "--version", f"{__version__}-1")
        [first] = folder.glob(f"*.{self.name}")
        # The next version is the same content: put together once, it is packed twice.
        tree = self.unpack(first, folder / "tree")
        (tree / "usr/lib/guestagent/second").touch()
        return [first, self.pack_next(tree, folder)]

    @abstractmethod
    def unpack(self, package: Path, tree: Path) -> Path:
        """Returns ``tree``, with the files of the package in it."""

    @abstractmethod
    def pack_next(self, tree: Path, folder: Path) -> Path:
        """Returns a package of the next version with what :meth:`unpack` has left in ``tree``."""

    @abstractmethod
    def script(self, package: Path, name: str) -> str:
        """Returns one of the :attr:`scripts`."""

    @abstractmethod
    def listing(self, package: Path) -> list[list[str]]:
        """Returns mode, owner and path of each file."""

    @abstractmethod
    def requirements(self, package: Path) -> set[str]:
        """Returns what the package says that it requires."""

    @abstractmethod
    def required(self, tree: Path) -> set[str]:
        """Returns what it has to say if it holds the files in ``tree``."""

    @abstractmethod
    def prepare(self, machine: Machine) -> None:
        """Makes the machine one that the package can be installed on."""


class Deb(Format):
    """The .deb, which the Debian of the tests is made for."""

    name = "deb"
    builder = "dpkg-deb"
    upgrade = ("dpkg", "--install")
    upgraded = "Setting up guestagent"
    verify = ("dpkg", "--verify", "guestagent")
    removal = (
        (("dpkg", "--remove", "guestagent"), r"/var/lib/guestagent/.*|/etc/init\.d/guestagent|/etc/rc\d\.d/.*"),
        (("dpkg", "--purge", "guestagent"), "nothing"),
    )
    removed = ""
    scripts = ("postinst", "prerm", "postrm")

    def unpack(self, package: Path, tree: Path) -> Path:
        _run("dpkg-deb", "--raw-extract", package, tree)
        return tree

    def pack_next(self, tree: Path, folder: Path) -> Path:
        control = tree / "DEBIAN/control"
        control.write_text(control.read_text().replace(f"{__version__}-1", f"{__version__}-2"))
        _run("dpkg-deb", "--build", "-Znone", "--root-owner-group", tree, folder / "next.deb")
        return folder / "next.deb"

    def script(self, package: Path, name: str) -> str:
        return _run("dpkg-deb", "--info", package, name)

    def listing(self, package: Path) -> list[list[str]]:
        lines = [line.split() for line in _run("dpkg-deb", "--contents", package).splitlines()]
        return [[mode, owner, path[1:].rstrip("/")] for mode, owner, _, _, _, path, *_ in lines]

    def requirements(self, package: Path) -> set[str]:
        return set(_run("dpkg-deb", "--field", package, "Depends").strip().split(", "))

    def required(self, tree: Path) -> set[str]:
        minor = sys.version_info[1]
        return {f"python3 (>= 3.{minor})", f"python3 (<< 3.{minor + 1})", "init-system-helpers"}

    def prepare(self, machine: Machine) -> None:
        """Nothing is to be done: what it requires, dpkg knows to be there."""


class Rpm(Format):
    """The .rpm, which needs no more of its distribution than rpm and the one Python."""

    name = "rpm"
    builder = "rpmbuild"
    upgrade = ("rpm", "--upgrade", "--oldpackage", "--verbose")
    upgraded = f"guestagent-{__version__}-1"
    verify = ("rpm", "--verify", "guestagent")
    removal = ((("rpm", "--erase", "guestagent"), "nothing"),)
    removed = "guestagent: the pack acme_slow-1.0 is removed with it\n"
    scripts = ("POSTIN", "PREUN", "POSTUN", "POSTTRANS")

    def unpack(self, package: Path, tree: Path) -> Path:
        tree.mkdir()
        _run("sh", "-ec", 'rpm2archive - <"$0" | tar -xz -C "$1"', package, tree)
        return tree

    def pack_next(self, tree: Path, folder: Path) -> Path:
        return Path(_tool().pack(tree, folder, f"{__version__}-2"))

    def query(self, package: Path, form: str) -> str:
        """Returns what the package says of itself."""
        # The machine that runs the tests has no database.
        database = package.parent / "database"
        return _run("rpm", "--dbpath", database, "--query", "--queryformat", form, "--package", package)

    def script(self, package: Path, name: str) -> str:
        return self.query(package, f"%{{{name}}}")

    def listing(self, package: Path) -> list[list[str]]:
        form = "[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} %{FILENAMES}\\n]"
        return [line.split(maxsplit=2) for line in self.query(package, form).splitlines()]

    def requirements(self, package: Path) -> set[str]:
        found = self.query(package, "[%{REQUIRENAME} %{REQUIREFLAGS:depflags} %{REQUIREVERSION}\\n]").splitlines()
        return {" ".join(line.split()) for line in found if not line.startswith("rpmlib(")}

    def required(self, tree: Path) -> set[str]:
        compiled = list((tree / SITE).rglob("*.so"))
        if not compiled:
            return {"/bin/sh", f"/usr/bin/{PYTHON}"}
        # What the linker asks for; what the wheels promise is this or more.
        asked = [re.findall(rb"GLIBC_(\d+)\.(\d+)", file.read_bytes()) for file in compiled]
        promised = _tool().glibc_of(tree)
        assert max((int(major), int(minor)) for versions in asked for major, minor in versions) <= promised
        return {"/bin/sh", f"/usr/bin/{PYTHON}", "glibc >= {}.{}".format(*promised)}

    def prepare(self, machine: Machine) -> None:
        # What is there has come by dpkg, so the database of rpm is empty.
        glibc = machine.run("getconf", "GNU_LIBC_VERSION").stdout.split()[1]
        (machine.shared / "stand-in.spec").write_text(STAND_IN.format(python=PYTHON, glibc=glibc))
        machine.run("rpmbuild", "-bb", "--nodeps", "--define", "_topdir /srv/shared/made", "/srv/shared/stand-in.spec")
        machine.run("rpm", "--install", "/srv/shared/made/RPMS/noarch/stand-in-1-1.noarch.rpm")


Packages = Callable[[Format], list[Path]]
FORMATS: dict[str, Format] = {"deb": Deb(), "rpm": Rpm()}


def _tool() -> Any:
    spec = importlib.util.spec_from_file_location("rpm", ROOT / "tools/rpm.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
