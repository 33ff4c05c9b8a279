"""Builds the .deb: ``python tools/deb.py FOLDER [--version VERSION]``.

What is in it, and for which systems it is, tells :mod:`package_tree`. Needs ``packaging`` and ``dpkg-deb``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # with PYTHONSAFEPATH=1, Python leaves it out
import package_tree

CONTROL = """Package: guestagent
Version: {version}
Architecture: {architecture}
Maintainer: {maintainer}
Installed-Size: {size}
Depends: python3 (>= {python}), python3 (<< {following}), init-system-helpers
Section: admin
Priority: optional
Description: {summary}
{description}
"""


def main(folder: Path, version: str) -> Path:
    """Builds the package in ``folder`` and returns its path."""
    with tempfile.TemporaryDirectory(prefix="ga-") as scratch:
        tree = Path(scratch, "tree")
        package_tree.fill(tree)
        package_tree.add_service(tree, "guestagent.sysv", "etc/init.d/guestagent")
        shutil.copy(package_tree.ROOT / "LICENSE", tree / "usr/share/doc/guestagent/copyright")
        architecture = architecture_of(tree)
        package_tree.set_modes(tree, ("init.d",))
        add_control(tree, version, architecture)
        package = folder / f"guestagent_{version}_{architecture}.deb"
        package_tree.run("dpkg-deb", "--build", "--root-owner-group", tree, package)
    return package


def architecture_of(tree: Path) -> str:
    """Returns the machines that the package is for: all, unless something in it is compiled."""
    if not package_tree.is_compiled(tree):
        return "all"
    asked = ["dpkg", "--print-architecture"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def add_control(tree: Path, version: str, architecture: str) -> None:
    """Adds what dpkg reads and runs."""
    size = sum(path.lstat().st_size for path in tree.rglob("*")) // 1024
    control = tree / "DEBIAN"
    control.mkdir()
    for script in (package_tree.PACKAGING / "debian").iterdir():
        shutil.copy(script, control)
    package_tree.set_modes(control, (control.name,))
    major, minor = sys.version_info[:2]
    name, address = os.environ.get("DEBFULLNAME", "root"), os.environ.get("DEBEMAIL", "root@localhost")
    text = CONTROL.format(
        version=version,
        architecture=architecture,
        maintainer=f"{name} <{address}>",
        size=size,
        python=f"{major}.{minor}",
        following=f"{major}.{minor + 1}",
        summary=package_tree.SUMMARY,
        description="\n".join(f" {line}" for line in package_tree.DESCRIPTION.splitlines()),
    )
    for file, content in (("control", text), ("conffiles", "/etc/init.d/guestagent\n")):
        (control / file).write_text(content)
        (control / file).chmod(0o644)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--version", default=package_tree.version_of_the_core(), help="default: that of the core")
    options = parser.parse_args()
    print(main(options.folder, options.version))
