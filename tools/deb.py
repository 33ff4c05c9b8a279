"""Builds the .deb: ``python tools/deb.py FOLDER [--version VERSION]``.

The package holds the distributions as they are installed in the Python that runs this, with what they need and pip:
what was tested is what is packaged. It is for systems with the minor version of that Python. Needs ``packaging`` and
``dpkg-deb``.
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
from importlib.metadata import Distribution, distribution
from pathlib import Path
from py_compile import PycInvalidationMode

from packaging.requirements import Requirement

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
Architecture: {architecture}
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
        add_distributions(tree)
        version = version or distribution("guestagent_core").version
        add_environment(tree)
        add_services(tree)
        architecture = architecture_of(tree)
        add_control(tree, version, architecture)
        set_modes(tree)
        package = folder / f"guestagent_{version}_{architecture}.deb"
        run("dpkg-deb", "--build", "--root-owner-group", tree, package)
    return package


def add_distributions(tree: Path) -> None:
    """Copies what is installed."""
    for one in needed():
        for file in one.files or ():
            # Programs are made anew; where something was installed from is nobody's business.
            if ".." in file.parts or "__pycache__" in file.parts or file.name == "direct_url.json":
                continue
            place = tree / SITE / file
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(one.locate_file(file)), place)


def needed() -> list[Distribution]:
    """Returns our distributions, all that they need, and pip."""
    ours = sorted(path.parent.name for path in ROOT.glob("guestagent_*/pyproject.toml"))
    pending, found = [*ours, "pip"], dict[str, Distribution]()
    while pending:
        one = distribution(pending.pop())
        if one.name not in found:
            found[one.name] = one
            requirements = map(Requirement, one.requires or ())
            pending += [each.name for each in requirements if not each.marker or each.marker.evaluate({"extra": ""})]
    return list(found.values())


def architecture_of(tree: Path) -> str:
    """Returns the machines that the package is for: all, unless something in it is compiled."""
    if not any((tree / SITE).rglob("*.so")):
        return "all"
    asked = ["dpkg", "--print-architecture"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


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
    found = needed()
    for one in found:
        for entry_point in one.entry_points.select(group="console_scripts"):
            if one.name.startswith("guestagent"):
                program = programs / entry_point.name
                program.write_text(LAUNCHER.format(module=entry_point.module, function=entry_point.attr))
                (tree / "usr/bin" / entry_point.name).symlink_to(f"/{ENVIRONMENT}/bin/{entry_point.name}")
    shutil.copy(PACKAGING / "guestagent-pip", tree / "usr/bin/guestagent-pip")
    pins = sorted(f"{one.name}=={one.version}\n" for one in found)
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


def add_control(tree: Path, version: str, architecture: str) -> None:
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
        architecture=architecture,
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
