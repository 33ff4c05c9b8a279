"""Builds the .deb: ``python tools/deb.py FOLDER [--version VERSION]``.

It is for systems with the minor version of the Python that runs this. Needs ``hatchling``, ``pip`` and ``dpkg-deb``.
"""

from __future__ import annotations

import argparse
import compileall
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from py_compile import PycInvalidationMode

ROOT = Path(__file__).parents[1]
PACKAGING = ROOT / "packaging"
PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"
ENVIRONMENT = Path("usr/lib/guestagent")
SITE = ENVIRONMENT / "lib" / PYTHON / "site-packages"
PACKS = f"/var/lib/guestagent/packs/lib/{PYTHON}/site-packages"

LAUNCHER = """#!/usr/lib/guestagent/bin/python3 -I
import sys
from {module} import {function}
sys.exit({function}())
"""
CONTROL = """Package: guestagent
Version: {version}
Architecture: all
Maintainer: {maintainer}
Installed-Size: {size}
Depends: python3 (>= {python}), python3 (<< {following}), init-system-helpers
Section: admin
Priority: optional
Description: agent inside a virtual machine, extended with pip
 The host of a virtual machine asks, and this agent answers, with no network
 between them: passwords, files, network settings, and what packs add.
"""


def main(folder: Path, version: str | None) -> Path:
    """Builds the package in ``folder`` and returns its path."""
    with tempfile.TemporaryDirectory(prefix="ga-") as scratch:
        tree = Path(scratch, "tree")
        install_distributions(tree, Path(scratch, "wheels"))
        version = version or _version(tree)
        add_environment(tree)
        add_services(tree)
        add_control(tree, version)
        set_modes(tree)
        package = folder / f"guestagent_{version}_all.deb"
        run("dpkg-deb", "--build", "--root-owner-group", tree, package)
    return package


def install_distributions(tree: Path, wheels: Path) -> None:
    """Installs our wheels, what they need and pip; nothing may be compiled, or the package would not be for all."""
    projects = sorted(path.parent for path in ROOT.glob("guestagent_*/pyproject.toml"))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, *projects)
    names = [path.name for path in projects]
    options = ("--quiet", "--no-compile", "--find-links", wheels, "--target", tree / SITE)
    run(*pip, "install", *options, *names, "pip")
    shutil.rmtree(tree / SITE / "bin")
    compiled = [path for path in (tree / SITE).rglob("*.so*") if "pip/" not in str(path)]
    if compiled:
        sys.exit(f"These are compiled, so the package would not be for all machines: {compiled}")


def add_environment(tree: Path) -> None:
    """Makes a virtual environment of it, with programs, and the folder of packs on its path."""
    programs = tree / ENVIRONMENT / "bin"
    programs.mkdir()
    (programs / "python3").symlink_to("/usr/bin/python3")
    (programs / PYTHON).symlink_to("python3")
    version = ".".join(map(str, sys.version_info[:2]))
    settings = f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {version}\n"
    (tree / ENVIRONMENT / "pyvenv.cfg").write_text(settings)
    (tree / SITE / "guestagent-packs.pth").write_text(f"{PACKS}\n")
    (tree / "usr/bin").mkdir()
    found = list(distributions(path=[str(tree / SITE)]))
    for distribution in found:
        for entry_point in distribution.entry_points.select(group="console_scripts"):
            if distribution.name.startswith("guestagent"):
                program = programs / entry_point.name
                program.write_text(LAUNCHER.format(module=entry_point.module, function=entry_point.attr))
                (tree / "usr/bin" / entry_point.name).symlink_to(f"/{ENVIRONMENT}/bin/{entry_point.name}")
    shutil.copy(PACKAGING / "guestagent-pip", tree / "usr/bin/guestagent-pip")
    pins = sorted(f"{distribution.name}=={distribution.version}\n" for distribution in found)
    (tree / ENVIRONMENT / "constraints.txt").write_text("".join(pins))
    # Compiled here and for good, so that the agent never writes to its own folder and nothing is left behind.
    compileall.compile_dir(
        str(tree / SITE),
        quiet=1,
        stripdir=str(tree),
        prependdir="/",
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        workers=1,
    )


def add_services(tree: Path) -> None:
    """Adds the service of systemd and that of SysV init, and what Debian wants to be told."""
    for name, place in (
        ("guestagent.service", "usr/lib/systemd/system/guestagent.service"),
        ("guestagent.sysv", "etc/init.d/guestagent"),
    ):
        (tree / place).parent.mkdir(parents=True, exist_ok=True)
        text = (PACKAGING / "services" / name).read_text()
        (tree / place).write_text(re.sub(r"# Written by: .*\n(#\n)?", "", text, count=1))
    documents = tree / "usr/share/doc/guestagent"
    documents.mkdir(parents=True)
    shutil.copy(ROOT / "LICENSE", documents / "copyright")
    shutil.copy(ROOT / "README.md", documents)


def add_control(tree: Path, version: str) -> None:
    """Adds what dpkg reads and runs."""
    control = tree / "DEBIAN"
    control.mkdir()
    for script in (PACKAGING / "debian").iterdir():
        shutil.copy(script, control)
    (control / "conffiles").write_text("/etc/init.d/guestagent\n")
    major, minor = sys.version_info[:2]
    size = sum(path.lstat().st_size for path in tree.rglob("*")) // 1024
    name, address = os.environ.get("DEBFULLNAME", "root"), os.environ.get("DEBEMAIL", "root@localhost")
    text = CONTROL.format(
        version=version,
        maintainer=f"{name} <{address}>",
        size=size,
        python=f"{major}.{minor}",
        following=f"{major}.{minor + 1}",
    )
    (control / "control").write_text(text)


def set_modes(tree: Path) -> None:
    """Gives everything the mode that it is to be installed with, whatever the umask was."""
    for path in _all(tree):
        if not path.is_symlink():
            program = path.is_dir() or path.parent.name in ("bin", "init.d") or path.parent == tree / "DEBIAN"
            plain = path.name in ("control", "conffiles")
            path.chmod(0o755 if program and not plain else 0o644)


def _all(tree: Path) -> Iterator[Path]:
    yield tree
    yield from tree.rglob("*")


def _version(tree: Path) -> str:
    [core] = [one for one in distributions(path=[str(tree / SITE)]) if one.name == "guestagent_core"]
    return core.version


def run(*command: object) -> None:
    """Runs a program."""
    print("$", *command, flush=True)
    subprocess.run([str(word) for word in command], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--version", help="default: that of the core")
    options = parser.parse_args()
    print(main(options.folder, options.version))
