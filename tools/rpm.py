"""Builds the .rpm: ``python tools/rpm.py FOLDER [--version VERSION]``.

What is in it, and for which systems it is, tells :mod:`package_tree`. It is the same for Red Hat, Fedora, SUSE and
their kin, wherever it was built: paths and formats are literal, and no build script of a distribution touches a file.
With the same ``SOURCE_DATE_EPOCH``, the same content gives the same file. Needs ``packaging`` and ``rpmbuild``.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # with PYTHONSAFEPATH=1, Python leaves it out
import package_tree

SCRIPTS = ("post", "preun", "postun", "posttrans")
PRESET = Path("usr/lib/systemd/system-preset/80-guestagent.preset")
LICENSE = Path("usr/share/licenses/guestagent/LICENSE")
DOCUMENTS = Path("usr/share/doc")
OLD_TAGS = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}

SPEC = """\
# No build script, no package of debug symbols: what was tested is what is packaged.
%global __spec_install_post %{{nil}}
%global debug_package %{{nil}}
%global _build_id_links none
# What the rpm of every distribution with such a Python can read.
%global _rpmformat 4
%global _binary_payload w9.gzdio
%global _buildhost localhost
%global use_source_date_epoch_as_buildtime 1
%global clamp_mtime_to_source_date_epoch 1

Name: guestagent
Version: {version}
Release: {release}
Summary: {summary}
License: Apache-2.0, and those of the modules that it brings, which lie beside them
# The modules are private. rpm would offer them to everybody, and look elsewhere for what they need of each other.
AutoReqProv: no
{tags}
# Nothing here needs it, but an image that gets both gets systemd first, and loses it last.
OrderWithRequires(post): systemd
OrderWithRequires(preun): systemd
OrderWithRequires(postun): systemd

%description
{description}

%install
mkdir -p "%{{buildroot}}"
cp -a "{tree}/." "%{{buildroot}}"

{scripts}

%files
%defattr(-,root,root,-)
{files}
"""


def main(folder: Path, version: str) -> Path:
    """Builds the package in ``folder`` and returns its path."""
    with tempfile.TemporaryDirectory(prefix="ga-") as scratch:
        tree = Path(scratch, "tree")
        package_tree.fill(tree)
        preset = package_tree.PACKAGING / "rpm" / PRESET.name
        for source, place in ((preset, PRESET), (package_tree.ROOT / "LICENSE", LICENSE)):
            (tree / place).parent.mkdir(parents=True)
            shutil.copy(source, tree / place)
        package_tree.set_modes(tree)
        return pack(tree, folder, version)


def pack(tree: Path, folder: Path, version: str) -> Path:
    """Makes the package of what is in ``tree``."""
    number, _, release = version.partition("-")
    with tempfile.TemporaryDirectory(prefix="ga-") as scratch:
        spec = Path(scratch, "guestagent.spec")
        text = SPEC.format(
            version=number,
            release=release or "1",
            summary=package_tree.SUMMARY,
            tags="\n".join(tags_of(tree)),
            description=package_tree.DESCRIPTION,
            tree=tree.resolve(),
            scripts="\n".join(scriptlets()),
            files="\n".join(files_of(tree)),
        )
        spec.write_text(text)
        # Its folders are all in the scratch one; there is no database, and nothing of one is needed.
        places = ("--define", f"_topdir {scratch}", "--define", f"_dbpath {scratch}/database")
        package_tree.run("rpmbuild", "-bb", "--quiet", "--nodeps", *places, spec)
        [package] = Path(scratch, "RPMS").rglob("*.rpm")
        return Path(shutil.copy(package, folder))


def tags_of(tree: Path) -> list[str]:
    """Returns the tags that say which systems the package is for."""
    # The program, because that is what the environment needs: python(abi) is provided by others too.
    python = f"Requires: /usr/bin/{package_tree.PYTHON}"
    if not package_tree.is_compiled(tree):
        return ["BuildArch: noarch", python]
    return [python, "Requires: glibc >= {}.{}".format(*glibc_of(tree))]


def glibc_of(tree: Path) -> tuple[int, int]:
    """Returns the oldest glibc that what is compiled works with, as the wheels say that it came in."""
    needed = (0, 0)
    for wheel in (tree / package_tree.SITE).glob("*.dist-info/WHEEL"):
        platforms = re.findall(r"(?m)^Tag: \S+-(\w+)$", wheel.read_text())
        if "any" not in platforms:
            # A wheel with several tags works with each.
            needed = max(needed, min(map(_glibc_of_platform, platforms)))
    return needed


def _glibc_of_platform(platform: str) -> tuple[int, int]:
    if found := re.match(r"manylinux_(\d+)_(\d+)_", platform):
        return int(found[1]), int(found[2])
    if old := OLD_TAGS.get(platform.partition("_")[0]):
        return old
    # Compiled on this machine, for nothing older.
    major, minor = (os.confstr("CS_GNU_LIBC_VERSION") or "").removeprefix("glibc ").split(".")[:2]
    return int(major), int(minor)


def scriptlets() -> list[str]:
    """Returns what rpm runs, as the spec has it."""
    folder = package_tree.PACKAGING / "rpm"
    return [f"%{name}\n" + (folder / name).read_text().replace("%", "%%") for name in SCRIPTS]


def files_of(tree: Path) -> list[str]:
    """Returns the files and folders that are the package's own, as the spec has them."""
    state = package_tree.STATE
    folders = (state, state / "packs", LICENSE.parent, DOCUMENTS / "guestagent")
    lines = [f"/{package_tree.ENVIRONMENT}", *[f"%dir /{folder}" for folder in folders]]
    for path in sorted(tree.rglob("*")):
        place = path.relative_to(tree)
        if place.is_relative_to(package_tree.ENVIRONMENT) or (path.is_dir() and not path.is_symlink()):
            continue
        kind = "%license " if place == LICENSE else "%doc " if place.is_relative_to(DOCUMENTS) else ""
        lines.append(f"{kind}/{place}")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--version", default=package_tree.version_of_the_core(), help="default: that of the core")
    options = parser.parse_args()
    print(main(options.folder, options.version))
