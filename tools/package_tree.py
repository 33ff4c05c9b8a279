"""The files that the packages have in common, whatever their format.

A package holds the distributions as they are installed in the Python that runs this, with what they need and pip: what
was tested is what is packaged. It is for systems with the minor version of that Python. Needs ``packaging``.
"""

from __future__ import annotations

import compileall
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from py_compile import PycInvalidationMode

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PACKAGING = ROOT / "packaging"
VERSION = ".".join(map(str, sys.version_info[:2]))
PYTHON = f"python{VERSION}"
ENVIRONMENT = Path("usr/lib/guestagent")
SITE = ENVIRONMENT / "lib" / PYTHON / "site-packages"
STATE = Path("var/lib/guestagent")
SUMMARY = "agent inside a virtual machine, extended with pip"
DESCRIPTION = """\
The host of a virtual machine asks, and this agent answers, with no network
between them: passwords, files, network settings, and what packs add."""

_PACKS = STATE / "packs"
_LAUNCHER = """#!/usr/lib/guestagent/bin/python3 -I
import sys
from {module} import {function}
sys.exit({function}())
"""


def version_of_the_core() -> str:
    """Returns the version of a package that nobody has given another."""
    return distribution("guestagent_core").version


def fill(tree: Path) -> None:
    """Puts everything into ``tree`` that is the same in every format."""
    _add_distributions(tree)
    _add_environment(tree)
    add_service(tree, "guestagent.service", "usr/lib/systemd/system/guestagent.service")
    documents = tree / "usr/share/doc/guestagent"
    documents.mkdir(parents=True)
    shutil.copy(ROOT / "README.md", documents)


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


def is_compiled(tree: Path) -> bool:
    """Whether something in ``tree`` is for one kind of machine only."""
    return any((tree / SITE).rglob("*.so"))


def add_service(tree: Path, name: str, place: str) -> None:
    """Adds a file of ``packaging/services``, which is the package's there, and not that of ``service install``."""
    (tree / place).parent.mkdir(parents=True, exist_ok=True)
    text = (PACKAGING / "services" / name).read_text()
    (tree / place).write_text(re.sub(r"# Written by: .*\n(#\n)?", "", text, count=1))


def set_modes(tree: Path, folders_of_programs: tuple[str, ...] = ()) -> None:
    """Gives everything the mode that it is to be installed with, whatever the umask was.

    :param folders_of_programs: names of the folders, beside ``bin``, whose files are run.
    """
    for path in _all(tree):
        if not path.is_symlink():
            program = path.is_dir() or path.parent.name in ("bin", *folders_of_programs)
            path.chmod(0o700 if path == tree / STATE else 0o755 if program else 0o644)


def run(*command: object) -> None:
    """Runs a program."""
    print("$", *command, flush=True)
    subprocess.run([str(word) for word in command], check=True)


def _add_distributions(tree: Path) -> None:
    for one in needed():
        for file in one.files or ():
            # Programs and compiled modules are made anew; where something was installed from is nobody's business.
            if ".." in file.parts or file.name == "direct_url.json":
                continue
            if file.suffix == ".pyc" or file.name == "__pycache__":  # some records have these, too
                continue
            place = tree / SITE / file
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(one.locate_file(file)), place)


def _add_environment(tree: Path) -> None:
    """Makes a virtual environment of it, with programs, and the folders of packs on its path."""
    programs = tree / ENVIRONMENT / "bin"
    programs.mkdir()
    # Not /usr/bin/python3: where several versions are installed side by side, that is whichever was first.
    (programs / "python3").symlink_to(f"/usr/bin/{PYTHON}")
    (programs / PYTHON).symlink_to("python3")
    settings = f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {VERSION}\n"
    (tree / _PACKS).mkdir(parents=True)
    for environment in (ENVIRONMENT, _PACKS):  # which guestagent-pip tells pip is one
        (tree / environment / "pyvenv.cfg").write_text(settings)
    # Where a distribution keeps the libraries of the machine in lib64, pip puts packs with compiled parts there.
    folders = [f"/{_PACKS}/{library}/{PYTHON}/site-packages\n" for library in ("lib", "lib64")]
    (tree / SITE / "guestagent-packs.pth").write_text("".join(folders))
    (tree / "usr/bin").mkdir()
    found = needed()
    for one in found:
        for entry_point in one.entry_points.select(group="console_scripts"):
            if one.name.startswith("guestagent"):
                program = programs / entry_point.name
                program.write_text(_LAUNCHER.format(module=entry_point.module, function=entry_point.attr))
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


def _all(tree: Path) -> Iterator[Path]:
    yield tree
    yield from tree.rglob("*")
