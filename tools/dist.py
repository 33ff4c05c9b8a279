"""Builds each distribution as it would be published, checks it, and tries it: ``python tools/dist.py [FOLDER]``.

Each wheel is built from the sdist, so that the sdist is complete. All are installed into a new environment from the
built files alone, and the demo is run there. Needs ``build`` and ``twine``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main(folder: Path) -> None:
    """Leaves the files in ``folder``."""
    for project in sorted(ROOT.glob("guestagent_*/pyproject.toml")):
        run(sys.executable, "-m", "build", "--outdir", folder, project.parent)
    files = sorted(folder.iterdir())
    run(sys.executable, "-m", "twine", "check", "--strict", *files)
    with tempfile.TemporaryDirectory(prefix="ga-") as environment:
        run(sys.executable, "-m", "venv", environment)
        python = Path(environment, "bin", "python")
        run(python, "-m", "pip", "install", "--quiet", *[file for file in files if file.suffix == ".whl"])
        run(Path(environment, "bin", "guestagent"), "check")
        run(Path(environment, "bin", "guestagent"), "demo")


def run(*command: object) -> None:
    """Runs a program, in a folder where nothing of the checkout is in the way."""
    print("$", *command, flush=True)
    subprocess.run([str(word) for word in command], cwd=tempfile.gettempdir(), check=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory(prefix="ga-") as scratch:
            main(Path(scratch))
